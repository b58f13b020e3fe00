"""The report as a page: what a template is given. One self-contained file, no script, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscheck.comparison import NUMERIC, Comparison, Kind, Verdict
from crosscheck.errors import UsageError
from crosscheck.report.following import following
from crosscheck.report.heatmap import Panel, panels
from crosscheck.report.where import evidence, worst_elements
from crosscheck.versions import versions

if TYPE_CHECKING:
    from crosscheck.finding import Finding
    from crosscheck.report import Report

#: What stands beside a verdict, so that its colour is not needed to read it.
SIGNS = {"agree": "✓", "disagree": "✗", "unchecked": "?", "differs": "≠"}
#: Elements listed of a wrong array, and cases listed of a finding.
WORST, CASES = 6, 8


@dataclass(frozen=True)
class Mark:
    """One cell of the table: what a witness says of one quantity, over all cases.

    Attributes:
        word: ``agree``, ``disagree``, ``unchecked``; ``differs`` where the ledger knows why; ``""``
            where nothing was asked.
        margin: the largest error in units of its tolerance, None if there is none.
        detail: the same with numbers, for the pointer.
    """

    word: str
    margin: float | None
    detail: str

    @property
    def bar(self) -> int:
        """The margin as a share of a bar in percent: 1e-4 of the tolerance is 0, ten times 100."""
        if self.margin is None or not self.margin > 0:
            return 0
        return int(np.clip(20 * (np.log10(self.margin) + 4), 2, 100))


@dataclass(frozen=True)
class Row:
    """One quantity of one layer."""

    quantity: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Ratio:
    """How large a wrong quantity is against the right one, in one case."""

    case: str
    sizes: str
    ratio: str


def to_page(reports: Sequence[Report], title: str = "crosscheck") -> str:
    """One HTML page for any number of reports.

    Raises:
        UsageError: jinja2, the extra ``report``, is not installed.
    """
    environment = _environment()
    worst_first = {Verdict.DISAGREE: 0, Verdict.UNCHECKED: 1, Verdict.AGREE: 2}
    ordered = sorted(reports, key=lambda r: worst_first[r.verdict])
    text: str = environment.get_template("page.html.jinja").render(
        title=title,
        counts={v.value: sum(r.verdict is v for r in reports) for v in Verdict},
        checks=sum(len(r.comparisons) for r in reports),
        cases=sum(len(r.cases) for r in reports),
        versions=versions(),
        layers=[view(report) for report in ordered],
        signs=SIGNS,
    )
    return text


def to_fragment(report: Report) -> str:
    """The same for one report, to be put into a notebook's cell.

    Raises:
        UsageError: jinja2 is not installed.
    """
    template = _environment().get_template("fragment.html.jinja")
    text: str = template.render(layer=view(report), signs=SIGNS)
    return text


@cache
def _environment() -> Any:
    try:
        import jinja2
    except ImportError:
        raise UsageError("an HTML report needs jinja2: pip install 'crosscheck[report]'") from None
    return jinja2.Environment(
        loader=jinja2.PackageLoader("crosscheck.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def view(report: Report) -> Mapping[str, Any]:
    """Everything a template shows of one report, as plain values."""
    names = [*report.witnesses]
    worst = report.worst
    return {
        "name": report.layer.name,
        "subject": report.subject,
        "verdict": report.verdict.value,
        "witnesses": dict(report.witnesses),
        "columns": [*names, "contract"],
        "rows": _rows(report, names),
        "cases": len(report.cases),
        "checks": len(report.comparisons),
        "worst": None if worst is None else worst.margin,
        "worst_where": "" if worst is None else f"{worst.quantity} of {worst.case.id}",
        "limit": report.limit,
        "findings": [
            {**_finding(report, finding), "follows": reason}
            for finding, reason in zip(report.findings, following(report.findings), strict=True)
        ],
        "unchecked": report.unchecked(),
        "notes": report.notes,
        "script": _script(report),
        "seconds": report.seconds,
    }


def _script(report: Report) -> str:
    """The script of a disagreeing report, nothing where its code cannot be written down."""
    from crosscheck.report.source import NoSource

    if report.verdict is not Verdict.DISAGREE:
        return ""
    try:
        return report.script()
    except NoSource:
        return ""


def _rows(report: Report, names: Sequence[str]) -> list[Row]:
    by: dict[str, list[Comparison]] = {}
    for comparison in report.comparisons:
        if comparison.left == report.subject:
            name = "contract" if comparison.right == "contract" else comparison.quantity
            by.setdefault(name, []).append(comparison)
    rows = []
    for quantity, group in by.items():
        marks = tuple(_mark([c for c in group if c.right == name]) for name in (*names, "contract"))
        rows.append(Row(quantity, marks))
    return rows


def _mark(group: Sequence[Comparison]) -> Mark:
    if not group:
        return Mark("", None, "")
    words = [
        "differs" if c.verdict is Verdict.DISAGREE and c.known else c.verdict.value for c in group
    ]
    word = next(w for w in ("disagree", "unchecked", "differs", "agree") if w in words)
    margins = [c.margin for c in group if c.margin is not None]
    margin = max(margins, default=None)
    detail = f"{len(group)} comparisons"
    if margin is not None:
        detail += f", largest error {margin:.2g} of its tolerance"
    limits = [c.relative_limit for c in group if c.relative_limit is not None]
    if limits and word == "agree":
        detail += f"; an error of {max(limits):.0e} of the norm would have shown"
    return Mark(word, margin, detail)


def _finding(report: Report, finding: Finding) -> Mapping[str, Any]:
    shown = evidence(finding)
    if shown is not None and (shown.got is None or shown.expected is None):
        shown = None
    return {
        "code": finding.code,
        "quantity": finding.quantity,
        "message": finding.message,
        "cause": finding.cause,
        "explanation": finding.explanation,
        "certainty": finding.certainty,
        "evidence": finding.evidence,
        "hint": finding.hint,
        "answer": finding.answer,
        "against": dict(finding.against),
        "panels": _panels(shown),
        "shapes": _shapes(shown),
        "elements": _elements(shown),
        "where": "" if shown is None else shown.case.id,
        "ratios": _ratios(finding),
        "cases": list(dict.fromkeys(c.case.id for c in finding.comparisons))[:CASES],
        "repeat": _repeat(report, finding),
    }


def _panels(shown: Comparison | None) -> list[Panel]:
    if shown is None or shown.got is None or shown.expected is None:
        return []
    return panels(shown.got, shown.expected, shown.right)


def _shapes(shown: Comparison | None) -> tuple[str, str] | None:
    if shown is None or shown.got is None or shown.expected is None:
        return None
    if shown.got.shape == shown.expected.shape:
        return None
    return str(shown.got.shape), str(shown.expected.shape)


def _elements(shown: Comparison | None) -> list[tuple[str, str, str, str]]:
    """The worst elements: where, got, expected, difference."""
    if shown is None or shown.got is None or shown.expected is None or _shapes(shown):
        return []
    return worst_elements(shown.got, shown.expected, WORST)


def _ratios(finding: Finding) -> list[Ratio]:
    """got = ratio · expected, where one number fits every element of a case; one line a case."""
    found: dict[str, Ratio] = {}
    for c in finding.comparisons:
        if c.kind is not Kind.VALUE or c.right == NUMERIC or c.got is None or c.expected is None:
            continue
        got, expected = c.got.astype(np.float64).ravel(), c.expected.astype(np.float64).ravel()
        square = float(expected @ expected)
        if not np.isfinite(square) or square == 0 or not np.isfinite(got).all():
            continue
        k = float(got @ expected) / square
        if np.max(np.abs(got - k * expected)) > 1e-3 * np.max(np.abs(got), initial=0.0):
            return []
        sizes = ", ".join(f"{name}={n}" for name, n in c.case.problem.sizes.items())
        found.setdefault(c.case.id, Ratio(c.case.id, sizes, f"{k:.6g}"))
    return list(found.values())[:CASES] if len(found) > 1 else []


def _repeat(report: Report, finding: Finding) -> str:
    from crosscheck.report.text import repeat_line

    failing = next((c for c in finding.comparisons if c.kind is not Kind.CONTROL), None)
    return "" if failing is None else repeat_line(report, failing)
