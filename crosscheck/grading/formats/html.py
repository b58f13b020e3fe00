"""Pages: one for the class, one per student. No script, nothing from the network, all text escaped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from crosscheck.grading.formats import Facts, Results, Slugs, number, replaced
from crosscheck.isolation.text import one_line

SIGNS = {
    "right": ("✓", "good", "right"),
    "follows": ("✓", "good", "follows your forward"),
    "convention-mismatch": ("≠", "other", "another convention"),
    "wrong": ("✗", "bad", "wrong"),
    "raised": ("✗", "bad", "fails"),
    "missing": ("✗", "bad", "missing"),
    "unchecked": ("?", "other", "unchecked"),
}
#: So many names of a group are listed on the class's page.
NAMED = 60


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``index.html`` and ``students/STUDENT.html``."""
    page = _environment().get_template("student.html")
    named = {student for group in facts.groups for student in group["students"][:NAMED]}
    slugs: dict[str, str] = {}
    taken = Slugs()
    for student, result in results():
        slug = taken.of(student)
        if student in named:
            slugs[student] = slug
        text = page.render(student=student, result=result, signs=SIGNS)
        replaced(folder / "students" / f"{slug}.html", text)

    def rows() -> Iterator[dict[str, Any]]:
        taken = Slugs()  # the same order, the same names
        for student, result in results():
            slug = taken.of(student)
            yield {"student": student, "page": f"students/{slug}.html", **_row(result)}

    fresh = folder / ".index.html.new"
    with fresh.open("w", encoding="utf-8", newline="\n") as handle:
        template = _environment().get_template("class.html")
        for part in template.generate(
            facts=facts, rows=rows(), slugs=slugs, bins=_bins(facts, results()), named=NAMED
        ):
            handle.write(part)
    os.replace(fresh, folder / "index.html")
    return ["index.html"]


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    points = result["points"]
    return {
        "earned": result["earned"],
        "share": 100 * result["earned"] / points if points else 0.0,
        "items": [(i["item"], i["earned"], i["points"]) for i in result["items"]],
        "problem": next(iter(result["problems"]), ""),
    }


def _bins(facts: Facts, results: Results) -> list[dict[str, Any]]:
    """How many students earned each tenth of the points."""
    counts = [0] * 10
    for _, result in results:
        share = result["earned"] / facts.points if facts.points else 0.0
        counts[min(9, int(10 * share + 1e-9))] += 1
    most = max([*counts, 1])
    return [
        {"count": count, "height": 100 * count / most, "low": number(facts.points * i / 10),
         "high": number(facts.points * (i + 1) / 10)}
        for i, count in enumerate(counts)
    ]  # fmt: skip


@cache
def _environment() -> Any:
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters["number"] = number
    found.filters["line"] = one_line
    return found
