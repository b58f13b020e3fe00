"""PrairieLearn's external grading results (https://docs.prairielearn.com/externalGrading/)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crosscheck.grading.formats import Facts, Results, Slugs, marks, replaced


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``prairielearn/STUDENT.json``."""
    slugs = Slugs()
    for student, result in results():
        path = folder / "prairielearn" / f"{slugs.of(student)}.json"
        replaced(path, json.dumps(one(result)) + "\n")
    return ["prairielearn/"]


def one(result: Mapping[str, Any]) -> dict[str, Any]:
    """One student's results; the score is a share of 1."""
    points = result["points"]
    return {
        "gradable": bool(result.get("graded", True)),
        "score": result["earned"] / points if points else 0.0,
        "message": "\n".join(result["problems"]),
        "output": "\n".join(result["notes"]),
        "images": [],
        "tests": [
            {
                "name": f"{item}: {quantity}" if quantity else item,
                "description": status,
                "points": earned,
                "max_points": worth,
                "message": told,
                "output": "",
                "images": [],
            }
            for item, quantity, earned, worth, status, told in marks(result)
        ],
    }
