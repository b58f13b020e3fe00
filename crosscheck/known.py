"""What the ledger knows of a case: where PyTorch and JAX differ by convention, either of them is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crosscheck.case import Case
from crosscheck.comparison import NUMERIC, Comparison, Outcome, Verdict, compare_arrays
from crosscheck.differences import ANY, Difference
from crosscheck.spec import Array

if TYPE_CHECKING:
    from crosscheck.panel import Panel

Reference = Callable[[Case], Mapping[str, Array]]


def known_differences(
    panel: Panel, case: Case, found: Sequence[Comparison], reference: Reference
) -> list[Comparison]:
    """The comparisons, those that an entry of the ledger explains marked as such.

    With both frameworks they must really differ here, and the subject agree with one of them: then
    the disagreements are known. With one framework alone nobody can say so: where the subject
    disagrees with it, but gives what reference_nn does, that is unchecked for want of the other.

    Args:
        panel: who was asked.
        case: the case.
        found: all comparisons of the case.
        reference: what reference_nn gives for the case, by quantity; asked only if it is needed.
    """
    result = [*found]
    for entry in panel.differences:
        if case.kind not in entry.kinds and ANY not in entry.kinds:
            continue
        for quantity in entry.quantities:
            of = [c for c in found if c.quantity == quantity]
            if len(panel.oracles) > 1:
                explained = _of_both(panel, entry, of)
            else:
                explained = _of_one(panel, entry, case, of, reference)
            result = [explained.get(id(c), c) for c in result]
    return result


def _of_both(panel: Panel, entry: Difference, of: Sequence[Comparison]) -> dict[int, Comparison]:
    subject = panel.subject.name
    split = any(c.verdict is Verdict.DISAGREE for c in of if subject not in (c.left, c.right))
    follows = any(
        c.verdict is Verdict.AGREE for c in of if c.left == subject and c.right in panel.oracles
    )
    if not (split and follows):
        return {}
    return {id(c): replace(c, known=entry.slug) for c in of if c.verdict is Verdict.DISAGREE}


def _of_one(
    panel: Panel, entry: Difference, case: Case, of: Sequence[Comparison], reference: Reference
) -> dict[int, Comparison]:
    subject = panel.subject.name
    against = next((c for c in of if c.left == subject and c.right in panel.oracles), None)
    if against is None or against.verdict is not Verdict.DISAGREE or against.got is None:
        return {}
    if panel.fallback is not None:
        expected = reference(case).get(against.quantity)
        if expected is None:
            return {}
        same = compare_arrays(against.got, expected, against.tolerance or 0.0)
        if same.verdict is Verdict.DISAGREE:
            return {}
    outcome = Outcome(
        Verdict.UNCHECKED,
        reason=f"PyTorch and JAX differ here ({entry.slug}), and only {against.right} is there",
    )
    return {
        id(c): replace(c, outcome=outcome)
        for c in of
        if c.verdict is Verdict.DISAGREE and not (c.left == subject and c.right == NUMERIC)
    }
