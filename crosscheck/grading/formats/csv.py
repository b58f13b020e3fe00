"""Tables: nbgrader's export, Canvas's gradebook, and one row per quantity.

A cell that a spreadsheet would take for a formula is written as text: whoever handed a name or a
message in must not run anything in the teacher's spreadsheet.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from crosscheck.grading.formats import Facts, Results, marks, number
from crosscheck.isolation.text import one_line

#: A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")
NBGRADER = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score",
)  # fmt: skip


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``nbgrader.csv``, ``canvas.csv`` and ``quantities.csv``."""
    title = one_line(facts.title)
    points = number(facts.points)
    _table(
        folder / "nbgrader.csv",
        NBGRADER,
        (
            (
                title,
                "",
                "",
                student,
                "",
                "",
                "",
                number(r["earned"]),
                "0",
                number(r["earned"]),
                points,
            )
            for student, r in results()
        ),
    )
    _table(
        folder / "canvas.csv",
        ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", title),
        _canvas(points, results()),
    )
    _table(
        folder / "quantities.csv",
        ("student", "item", "quantity", "earned", "points", "status", "told", "isolation"),
        (
            (student, item, quantity, number(earned), number(worth), status, told, r["isolation"])
            for student, r in results()
            for item, quantity, earned, worth, status, told in marks(r)
        ),
    )
    return ["nbgrader.csv", "canvas.csv", "quantities.csv"]


def _canvas(points: str, results: Results) -> Iterable[tuple[str, ...]]:
    yield "    Points Possible", "", "", "", "", points
    for student, result in results:
        number_in_it = re.search(r"_(\d+)$", student)
        yield (
            student, number_in_it[1] if number_in_it else "", "", student, "",
            number(result["earned"]),
        )  # fmt: skip


def _table(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("w", encoding="utf-8", newline="") as handle:  # a course may be large
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([cell(text) for text in header])
        for row in rows:
            writer.writerow([cell(text) for text in row])
    os.replace(fresh, path)


@lru_cache(maxsize=1024)  # nine cells in ten have been seen before
def cell(text: str) -> str:
    """Text that a spreadsheet shows and never computes. Numbers stay numbers."""
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text
    shown = one_line(text, 1000) if text.strip() else text
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown
