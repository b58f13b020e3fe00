"""Partial credit: what each quantity of an item comes to.

A quantity is judged by itself. What follows from a mistake that is punished already is not punished
again: a gradient that is the derivative of the forward that was written earns its points though that
forward is wrong; and each layer is given inputs and weights of its own, so that none inherits an error.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crosscheck.comparison import NUMERIC, Comparison, Kind, Verdict
from crosscheck.contract import SILENT
from crosscheck.exercises.exercise import CONTRACT, Exercise, Item
from crosscheck.finding import Finding
from crosscheck.mismatch import CODE as MISMATCH
from crosscheck.report import Report


class Status(enum.Enum):
    """What a quantity comes to."""

    RIGHT = "right"
    FOLLOWS = "follows"  # differs only because the forward, punished already, does
    MISMATCH = "convention-mismatch"
    WRONG = "wrong"
    RAISED = "raised"
    MISSING = "missing"
    UNCHECKED = "unchecked"


#: The statuses that earn all points.
EARNS = (Status.RIGHT, Status.FOLLOWS)


@dataclass(frozen=True)
class Mark:
    """What one quantity earns.

    Attributes:
        quantity: ``output``, ``grad_x``, …, ``contract``.
        status: what it comes to.
        points: what it is worth.
        earned: what it earns.
        finding: what is wrong, with cause and evidence; None where nothing is.
        reason: the submission's own exception, or why it could not be checked.
    """

    quantity: str
    status: Status
    points: float
    earned: float
    finding: Finding | None = field(default=None, repr=False)
    reason: str = ""


@dataclass(frozen=True)
class ItemResult:
    """What one item comes to.

    Attributes:
        item: what was asked.
        marks: one per quantity that is worth points or is looked at, in order.
        notes: how it was called, where that was not stated.
        problem: why it could not be judged at all; "" if it could.
    """

    item: Item
    marks: tuple[Mark, ...]
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def earned(self) -> float:
        """The points that it earns."""
        return sum(mark.earned for mark in self.marks)

    @property
    def points(self) -> float:
        """The points that it is worth."""
        return sum(mark.points for mark in self.marks)


@dataclass(frozen=True)
class Result:
    """What a submission comes to.

    Attributes:
        exercise: what was asked.
        name: whose it is.
        items: in the exercise's order.
        problems: why it, or a part of it, could not be read or run.
        notes: what was done on reading.
        printed: what it printed, capped.
        seed: names the cases.
        witnesses: whom it was compared with.
        seconds: how long it took.
    """

    exercise: Exercise
    name: str
    items: tuple[ItemResult, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    printed: str = ""
    seed: int = 0
    witnesses: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def earned(self) -> float:
        """All points earned."""
        return sum(item.earned for item in self.items)

    @property
    def points(self) -> float:
        """All points that there are."""
        return self.exercise.points

    @property
    def verdict(self) -> Verdict:
        """Disagree if anything is wrong, else unchecked if anything was not checked, else agree."""
        statuses = {mark.status for item in self.items for mark in item.marks if mark.points}
        if statuses - {*EARNS, Status.UNCHECKED}:
            return Verdict.DISAGREE
        return Verdict.UNCHECKED if Status.UNCHECKED in statuses or not statuses else Verdict.AGREE


def mark(exercise: Exercise, item: Item, report: Report) -> ItemResult:
    """What an item earns, by the report of its check.

    Values are judged on plain arrays; what fails only on read-only or strided ones breaks the contract.
    """
    findings = {finding.quantity: finding for finding in reversed(report.findings)}
    subject = report.subject
    of: dict[str, list[Comparison]] = {}
    for comparison in report.comparisons:
        if subject in (comparison.left, comparison.right) and comparison.known is None:
            of.setdefault(comparison.quantity, []).append(comparison)
    raised = [c for c in of.get("output", ()) if c.kind is Kind.RAISED]
    raised += [
        c
        for cs in of.values()
        for c in cs
        if c.kind is Kind.RAISED and not any(c is r for r in raised)
    ]
    marks = []
    wrong_outputs = {
        quantity
        for quantity in of
        if not quantity.startswith(("grad_", CONTRACT))
        and any(
            c.verdict is Verdict.DISAGREE and c.kind is not Kind.RAISED
            for c in _plain(of[quantity])
        )
    }
    remembers = f"{CONTRACT}: second call gives the same" in findings
    for quantity, points in item.points.items():
        if quantity == CONTRACT:
            status, finding, reason = _contract(of, findings, report.notes)
            if status is Status.UNCHECKED and raised:
                status, reason = Status.RAISED, raised[0].reason
        else:
            status, reason = _status(
                subject, _plain(of.get(quantity, ())), _plain(raised), bool(wrong_outputs)
            )
            if status is Status.FOLLOWS and _zero(of.get(quantity, ())) and not _computes(of):
                status = Status.WRONG  # all derivatives of nothing are zero: none is an answer
            finding = findings.get(quantity)
            if finding is not None and finding.code == MISMATCH and status is not Status.RIGHT:
                status = Status.MISMATCH
            if status is Status.WRONG and remembers and finding is not None:
                if finding.code == "not-its-own-derivative":
                    status = Status.FOLLOWS  # the forward answers what it was asked before
        earned = points if status in EARNS else 0.0
        earned = points * exercise.mismatch if status is Status.MISMATCH else earned
        kept = None if status in (Status.RIGHT, Status.UNCHECKED) else finding
        marks.append(Mark(quantity, status, points, earned, kept, reason))
    return ItemResult(item, tuple(marks), report.notes)


def failed(item: Item, reason: str, status: Status = Status.MISSING) -> ItemResult:
    """An item that could not be judged at all."""
    marks = tuple(Mark(q, status, points, 0.0, reason=reason) for q, points in item.points.items())
    return ItemResult(item, marks, problem=reason)


def _plain(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [c for c in comparisons if c.case.memory == "plain"]


def _status(
    subject: str,
    comparisons: Sequence[Comparison],
    raised: Sequence[Comparison],
    forward_wrong: bool,
) -> tuple[Status, str]:
    """What the comparisons of one quantity come to, and the reason if it is somebody's exception."""
    wrong = [c for c in comparisons if c.verdict is Verdict.DISAGREE and c.kind is not Kind.RAISED]
    agrees = [c for c in comparisons if c.verdict is Verdict.AGREE]
    missing = [c for c in wrong if c.kind is Kind.MISSING]
    if not wrong and not agrees:  # without an oracle a gradient that is not there is unchecked
        missing = [
            c for c in comparisons if c.reason.startswith((f"{subject}.", f"{subject} leaves"))
        ]
    if missing:
        reason = missing[0].reason
        return (
            Status.MISSING if reason.startswith(f"{subject} leaves no") else Status.RAISED
        ), reason
    if raised:
        return Status.RAISED, raised[0].reason
    oracles = [c for c in wrong if c.right != NUMERIC]
    numeric = [c for c in comparisons if c.right == NUMERIC]
    if not wrong:
        return (Status.RIGHT, "") if agrees else (Status.UNCHECKED, _why(comparisons))
    if forward_wrong and numeric:
        # In every case where it differs it must be known to be the derivative of what was written.
        consistent = {c.case.id for c in numeric if c.verdict is Verdict.AGREE}
        own = not any(c.verdict is Verdict.DISAGREE for c in numeric) and all(
            c.case.id in consistent for c in oracles
        )
        if own or not oracles:
            return Status.FOLLOWS, ""
    return Status.WRONG, ""


def _oracles(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [c for c in _plain(comparisons) if c.right != NUMERIC]


def _zero(comparisons: Sequence[Comparison]) -> bool:
    """Whether a gradient is zero everywhere where the oracles' is not."""
    wrong = [c for c in _oracles(comparisons) if c.verdict is Verdict.DISAGREE]
    return bool(wrong) and not any(c.got is None or c.got.any() for c in wrong)


def _computes(of: Mapping[str, Sequence[Comparison]]) -> bool:
    """Whether any gradient is both not zero and the derivative of the forward that was written."""
    return any(
        _oracles(comparisons)
        and not _zero(comparisons)
        and not any(c.right == NUMERIC and c.verdict is Verdict.DISAGREE for c in comparisons)
        for quantity, comparisons in of.items()
        if quantity.startswith("grad_")
    )


def _why(comparisons: Sequence[Comparison]) -> str:
    return next((c.reason for c in comparisons if c.reason), "there was nobody to compare it with")


def _contract(
    of: Mapping[str, Sequence[Comparison]],
    findings: Mapping[str, Finding],
    notes: Sequence[str],
) -> tuple[Status, Finding | None, str]:
    # What is printed is shown to its author; it costs no points.
    clauses = {q: cs for q, cs in of.items() if q.startswith(CONTRACT) and not q.endswith(SILENT)}
    broken = [findings[q] for q in clauses if q in findings]
    real = [finding for finding in broken if finding.code != MISMATCH]
    if real:
        return Status.WRONG, real[0], ""
    for quantity, comparisons in of.items():
        special = [
            c
            for c in comparisons
            if c.case.memory != "plain" and c.verdict is Verdict.DISAGREE and c.right != NUMERIC
        ]
        same = [c for c in _plain(comparisons) if c.verdict is Verdict.DISAGREE]
        if special and not same and not quantity.startswith(CONTRACT):
            how = {"readonly": "read-only", "strided": "not contiguous"}[special[0].case.memory]
            said = f"{quantity} fails when the arrays are {how}"
            if special[0].kind in (Kind.RAISED, Kind.MISSING) and special[0].reason:
                said += f": {special[0].reason}"
            return Status.WRONG, findings.get(quantity), said
    if broken:
        return Status.MISMATCH, broken[0], ""
    turned = [note for note in notes if note.startswith(MISMATCH)]
    if turned:
        return Status.MISMATCH, None, turned[0].partition(": ")[2]
    return (Status.RIGHT if clauses else Status.UNCHECKED), None, ""


def plain(result: Result) -> dict[str, Any]:
    """The result as plain data: no expected value is in it."""
    from crosscheck.exercises.feedback import hint

    return {
        "format": "crosscheck-result",
        "format_version": 1,
        "exercise": result.exercise.title,
        "submission": result.name,
        "verdict": result.verdict.value,
        "earned": round(result.earned, 6),
        "points": result.points,
        "seed": result.seed,
        "witnesses": dict(result.witnesses),
        "seconds": round(result.seconds, 3),
        "problems": list(result.problems),
        "notes": list(result.notes),
        "items": [
            {
                "item": found.item.title,
                "layer": found.item.layer.name,
                "earned": round(found.earned, 6),
                "points": found.points,
                "problem": found.problem,
                "notes": list(found.notes),
                "quantities": [
                    {
                        "quantity": m.quantity,
                        "status": m.status.value,
                        "points": m.points,
                        "earned": round(m.earned, 6),
                        "code": m.finding.code if m.finding else None,
                        "cause": m.finding.cause if m.finding else None,
                        "hint": hint(m, result.exercise.show),
                    }
                    for m in found.marks
                ],
            }
            for found in result.items
        ],
    }
