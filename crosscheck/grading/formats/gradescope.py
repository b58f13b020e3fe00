"""Gradescope's ``results.json`` (https://gradescope-autograders.readthedocs.io/en/latest/specs/)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crosscheck.grading.formats import Facts, Results, Slugs, marks, replaced


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``gradescope/STUDENT/results.json``."""
    slugs = Slugs()
    for student, result in results():
        path = folder / "gradescope" / slugs.of(student) / "results.json"
        replaced(path, json.dumps(one(result)) + "\n")
    return ["gradescope/"]


def one(result: Mapping[str, Any]) -> dict[str, Any]:
    """One student's results. Texts are declared to be plain text, so that no markup is obeyed."""
    tests = [
        {
            "name": f"{item}: {quantity}" if quantity else item,
            "name_format": "text",
            "number": str(index),
            "score": earned,
            "max_score": points,
            "status": "passed" if earned == points else "failed",
            "output": told,
            "output_format": "text",
            "visibility": "visible",
            "tags": [status],
        }
        for index, (item, quantity, earned, points, status, told) in enumerate(marks(result), 1)
    ]
    return {
        "score": result["earned"],
        "output": "\n".join([*result["problems"], *result["notes"]]),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {"exercise": result["exercise"], "isolation": result["isolation"]},
    }
