"""A report as a small piece of plain data, so that it survives the way from an xdist worker."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from crosscheck.comparison import NUMERIC, Comparison, Verdict
from crosscheck.report import Report

#: JSON of one check. See `digest`.
Result: TypeAlias = "dict[str, Any]"


def digest(report: Report, setting: str) -> Result:
    """What the summary needs of a report.

    Returns:
        ``layer``, ``subject``, ``verdict``, ``witnesses`` (name → version or why not), ``checks``,
        ``cases``, ``setting``, ``unchecked`` (reason → count), ``notes``, and ``quantities``:
        name → ``against`` (witness → [agree, disagree, unchecked, known]), ``worst`` (error in
        units of the tolerance), ``closest`` (the same of the agreements: [share, witness, case])
        and ``limits`` (smallest and largest detection limit in float64: [limit, witness, case]).
    """
    subject = report.subject
    mine = [c for c in report.comparisons if c.left == subject]
    names = dict.fromkeys(c.quantity for c in mine if not c.quantity.startswith("contract"))
    contract = [c for c in mine if c.quantity.startswith("contract")]
    groups = {name: [c for c in mine if c.quantity == name] for name in names}
    return {
        "layer": report.layer.name,
        "subject": subject,
        "verdict": report.verdict.value,
        "witnesses": dict(report.witnesses),
        "setting": setting,
        "checks": len(report.comparisons),
        "cases": len(report.cases),
        "seconds": round(report.seconds, 4),
        "unchecked": report.unchecked(),
        "notes": [*report.notes],
        "forward_unseen": forward_unseen(report),
        "quantities": {
            **{name: _quantity(group) for name, group in groups.items()},
            **({"contract": _quantity(contract)} if contract else {}),
        },
    }


def _quantity(comparisons: Iterable[Comparison]) -> dict[str, Any]:
    against: dict[str, list[int]] = {}
    closest: list[Any] | None = None
    worst: float | None = None
    limits: list[list[Any]] = []
    place = {Verdict.AGREE: 0, Verdict.DISAGREE: 1, Verdict.UNCHECKED: 2}
    for c in comparisons:
        counts = against.setdefault(c.right, [0, 0, 0, 0])
        counts[3 if c.known else place[c.verdict]] += 1
        margin = c.margin
        if margin is not None and math.isfinite(margin) and c.known is None:
            worst = max(margin, worst or 0.0)
            if c.verdict is Verdict.AGREE and (closest is None or margin > closest[0]):
                closest = [margin, c.right, c.case.id]
        limit = c.relative_limit
        if c.verdict is Verdict.AGREE and limit is not None and c.case.dtype == "float64":
            if limit < 1:  # else the quantity all but vanishes, and a share of it says nothing
                limits.append([limit, c.right, c.case.id])
    ends = [min(limits), max(limits)] if limits else []
    return {"against": against, "worst": worst, "closest": closest, "limits": ends}


def forward_unseen(report: Report) -> str:
    """Why no other implementation was asked about the forward; empty where one was."""
    there = [
        name
        for name in ("torch", "jax")
        if report.witnesses.get(name, "not asked") not in ("not installed", "no twin", "not asked")
    ]
    if there:
        return ""
    return ", ".join(f"{n}: {report.witnesses.get(n, 'not asked')}" for n in ("torch", "jax"))


def nobody_saw(report: Report, chosen: Any) -> str:
    """Why nobody looked at the forward, where that is no choice; empty otherwise.

    Args:
        report: the report.
        chosen: the witnesses that somebody chose; then what these cannot see is no surprise.
    """
    unseen = forward_unseen(report)
    if unseen and "not installed" in unseen and not chosen:
        return f"nobody to compare the forward with ({unseen})"
    return ""


def nobody_checked(report: Report) -> str:
    """Why some quantity was confirmed by nobody in any case; empty if all were by somebody."""
    quantities: dict[str, list[Comparison]] = {}
    for comparison in report.comparisons:
        if report.subject in (comparison.left, comparison.right):
            quantities.setdefault(comparison.quantity, []).append(comparison)
    for quantity, group in quantities.items():
        if all(c.verdict is Verdict.UNCHECKED for c in group):
            reasons = dict.fromkeys(c.reason for c in group)
            return f"{quantity}: {'; '.join(reasons)}"
    return ""


def properties(report: Report) -> list[tuple[str, object]]:
    """For junit XML: who was checked against whom, the closest call and the limit."""
    asked = ", ".join(f"{name} {v}" for name, v in report.witnesses.items() if name != NUMERIC)
    found: list[tuple[str, object]] = [
        ("crosscheck", f"{report.subject} as {report.layer.name}: {report.verdict.value}"),
        ("crosscheck.against", asked + (", numeric" if NUMERIC in report.witnesses else "")),
        ("crosscheck.checks", str(len(report.comparisons))),
    ]
    if report.limit is not None:
        found.append(("crosscheck.limit", f"{report.limit:.3g}"))
    worst = report.worst
    if worst is not None and worst.margin is not None:
        found.append(("crosscheck.closest", f"{worst.margin:.3g} of the tolerance: "
                      f"{worst.quantity} against {worst.right} in {worst.case.id}"))  # fmt: skip
    return found
