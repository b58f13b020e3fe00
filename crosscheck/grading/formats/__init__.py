"""What results are written as. One file a format; each takes results one at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from crosscheck.errors import UsageError, unknown

#: Format → the module that writes it, and what for.
FORMATS = {
    "csv": "a table for nbgrader, one for Canvas, one with every quantity",
    "gradescope": "results.json per student, for a Gradescope autograder",
    "github": "results per student, for GitHub Classroom's autograding reporter",
    "prairielearn": "results per student, for PrairieLearn's external grader",
    "junit": "one JUnit XML file, for CI systems",
    "html": "one page for the class, and one per student",
}

Results = Iterable[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Facts:
    """What is known of the class as a whole.

    Attributes:
        title: the exercise's.
        points: what could be earned.
        students: how many there are.
        mean: of the points earned.
        level: the isolation that every submission had at least.
        groups: near-identical failures.
    """

    title: str
    points: float
    students: int
    mean: float
    level: str
    groups: tuple[dict[str, Any], ...]


def chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    """The formats to write.

    Raises:
        UsageError: there is no such format.
        MissingFramework: one needs a package that is not installed.
    """
    wanted = tuple(FORMATS) if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in FORMATS:
            raise unknown("format", name, FORMATS)
    if "html" in wanted:
        from importlib.util import find_spec

        from crosscheck.errors import MissingFramework

        if find_spec("jinja2") is None:
            if names is None:
                return tuple(name for name in wanted if name != "html")
            raise MissingFramework("format html needs jinja2: pip install 'crosscheck[grade]'")
    return wanted


def write(
    names: Sequence[str], folder: Path, facts: Facts, results: Callable[[], Results]
) -> tuple[str, ...]:
    """Write the formats; the same results give the same bytes.

    Args:
        names: of `FORMATS`.
        folder: where to.
        facts: of the class.
        results: begins anew, in the order of the students, at every call.

    Returns:
        What a person would open first: paths relative to the folder.

    Raises:
        UsageError: something cannot be written.
    """
    files: list[str] = []
    for name in names:
        module = import_module(f"crosscheck.grading.formats.{name}")
        try:
            files += module.write(folder, facts, results)
        except OSError as error:
            raise UsageError(f"{folder}: cannot write {name}: {error.strerror or error}") from None
    return tuple(files)


class Slugs:
    """File names out of students' names: safe on every system, and no two alike."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, student: str) -> str:
        """The next student's."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", student).strip("._")[:80] or "student"
        slug, number = plain, 1
        while slug.casefold() in self._taken:
            number += 1
            slug = f"{plain}-{number}"
        self._taken.add(slug.casefold())
        return slug


def replaced(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    data = content.encode("utf-8")
    try:
        fresh.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(data)
    os.replace(fresh, path)


def marks(result: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float, str, str]]:
    """Item, quantity, earned, points, status, and what the student is told, of every mark."""
    for item in result["items"]:
        if item["problem"] or not item["quantities"]:
            status = "failed"
            yield item["item"], "", item["earned"], item["points"], status, item["problem"]
            continue
        for mark in item["quantities"]:
            yield (
                item["item"], mark["quantity"], mark["earned"], mark["points"], mark["status"],
                mark["hint"],
            )  # fmt: skip


def number(value: float) -> str:
    """Points without needless digits."""
    return f"{value:.4f}".rstrip("0").rstrip(".")
