"""What the ledger knows of a case: where PyTorch and JAX differ by convention, either of them is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crosscheck.case import Case
from crosscheck.comparison import NUMERIC, Comparison, Outcome, Verdict, compare_arrays
from crosscheck.differences import ANY, Difference
from crosscheck.evaluation import Evaluation, ImplementationError
from crosscheck.tolerance import Rounding, quantities

if TYPE_CHECKING:
    from crosscheck.panel import Panel


def known_differences(
    panel: Panel, case: Case, found: Sequence[Comparison], mine: Evaluation, rounding: Rounding
) -> list[Comparison]:
    """The comparisons, those that an entry of the ledger explains marked as such.

    With both frameworks they must really differ here, and the subject agree with one of them: then
    the disagreements are known. With one framework or none nobody can say so: where the subject
    disagrees with it, or gives a gradient that is not the derivative, but gives what that framework
    or reference_nn does, that is unchecked for want of the other.

    Args:
        panel: who was asked.
        case: the case.
        found: all comparisons of the case.
        mine: what the subject gives for the case.
        rounding: as measured on the case.
    """
    result = [*found]

    def follows(quantity: str) -> bool:
        return _follows_reference(panel, case, mine, quantity, rounding)

    # An entry for this kind of case says more than one for all.
    for entry in sorted(panel.differences, key=lambda entry: ANY in entry.kinds):
        if case.kind not in entry.kinds and ANY not in entry.kinds:
            continue
        for quantity in entry.quantities:
            of = [c for c in found if c.quantity == quantity]
            if len(panel.oracles) > 1:
                explained = _of_both(panel, entry, of)
            else:
                explained = _of_few(panel, entry, case, of, follows)
            result = [explained.get(id(c), c) for c in result]
    return result


def _of_both(panel: Panel, entry: Difference, of: Sequence[Comparison]) -> dict[int, Comparison]:
    subject = panel.subject.name
    split = any(c.verdict is Verdict.DISAGREE for c in of if subject not in (c.left, c.right))
    answers = [c.verdict for c in of if c.left == subject and c.right in panel.oracles]
    absent = all(verdict is Verdict.UNCHECKED for verdict in answers)  # it does not give this
    if not (split and (absent or Verdict.AGREE in answers)):
        return {}
    return {id(c): replace(c, known=entry.slug) for c in of if c.verdict is Verdict.DISAGREE}


def _of_few(
    panel: Panel,
    entry: Difference,
    case: Case,
    of: Sequence[Comparison],
    follows: Callable[[str], bool],
) -> dict[int, Comparison]:
    """With at most one framework."""
    subject = panel.subject.name
    wrong = [c for c in of if c.verdict is Verdict.DISAGREE]
    against = next((c for c in of if c.left == subject and c.right in panel.oracles), None)
    if against is None or against.verdict is not Verdict.AGREE:
        # A convention's gradient may be no derivative; the framework that has it would confirm it.
        convention = case.problem.options.get(entry.option or "", entry.follows)
        if entry.derivative and (entry.option is None or convention in panel.oracles):
            wrong = [c for c in wrong if not (c.left == subject and c.right == NUMERIC)]
        if not wrong or not follows(wrong[0].quantity):
            return {}
    only = f"only {next(iter(panel.oracles))} is there" if panel.oracles else "neither is there"
    reason = f"PyTorch and JAX differ here ({entry.slug}), and {only}"
    outcome = Outcome(Verdict.UNCHECKED, reason=reason)
    return {id(c): replace(c, outcome=outcome) for c in wrong}


def _follows_reference(
    panel: Panel, case: Case, mine: Evaluation, quantity: str, rounding: Rounding
) -> bool:
    """Whether the subject gives what reference_nn does, if it is not reference_nn itself."""
    if panel.fallback is None:
        return True
    try:
        answer = panel.fallback.bind(case.problem).vjp(case.arrays(), case.upstream())
    except ImplementationError:
        return False
    got, expected = (quantities(a).get(quantity) for a in (mine, answer))
    if got is None or expected is None:
        return False
    tolerance = rounding.tolerance(quantity, case.dtype)
    return compare_arrays(got, expected, tolerance).verdict is not Verdict.DISAGREE
