"""GitHub Classroom's autograding results
(https://github.com/classroom-resources/autograding-grading-reporter), one file per student.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crosscheck.grading.formats import Facts, Results, Slugs, marks, replaced


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``github/STUDENT.json``."""
    slugs = Slugs()
    for student, result in results():
        path = folder / "github" / f"{slugs.of(student)}.json"
        replaced(path, json.dumps(one(result)) + "\n")
    return ["github/"]


def one(result: Mapping[str, Any]) -> dict[str, Any]:
    """One student's results."""
    tests = [
        {
            "name": f"{item}: {quantity}" if quantity else item,
            "status": "pass" if earned == points else "fail",
            "score": earned,
            "message": told,
            "test_code": "",
            "filename": "",
            "line_no": 0,
            "execution_time": "0ms",
        }
        for item, quantity, earned, points, _, told in marks(result)
    ]
    full = result["earned"] == result["points"]
    broken = not result.get("graded", True)
    return {
        "version": 1,
        "status": "error" if broken else "pass" if full else "fail",
        "max_score": result["points"],
        "tests": tests,
    }
