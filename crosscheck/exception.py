"""What is compared when the subject raises: its outputs' shapes, if its forward alone gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crosscheck.case import Case
from crosscheck.comparison import Comparison, Kind, Outcome, Verdict
from crosscheck.evaluation import Bound, Evaluation, ImplementationError, first_line
from crosscheck.tolerance import quantities


def of_an_exception(
    name: str,
    subject: Bound,
    case: Case,
    error: ImplementationError,
    answers: Mapping[str, Evaluation | ImplementationError],
) -> list[Comparison]:
    """Wrong shapes of the forward, which made its backward raise; else the exception itself.

    Args:
        name, subject: the subject, bound.
        case: the case.
        error: what it raised.
        answers: everybody's, the subject's among them. Where nobody can answer, nobody is wrong.
    """
    misshapen = [*_misshapen(name, subject, case, error, answers)]
    if misshapen:
        return misshapen
    others = [answer for who, answer in answers.items() if who != name]
    if others and all(isinstance(answer, ImplementationError) for answer in others):
        outcome = Outcome(Verdict.UNCHECKED, reason="every witness refuses this case")
    else:
        outcome = Outcome(Verdict.DISAGREE, kind=Kind.RAISED, reason=str(error))
    return [Comparison(case, "output", name, "itself", outcome)]


def _misshapen(
    name: str,
    subject: Bound,
    case: Case,
    error: ImplementationError,
    answers: Mapping[str, Evaluation | ImplementationError],
) -> Iterator[Comparison]:
    try:
        outputs = subject.forward(case.arrays())
    except ImplementationError:
        return
    shapes = case.problem.shapes()
    trusted = next(((k, a) for k, a in answers.items() if isinstance(a, Evaluation)), None)
    then = first_line(error)
    for quantity in case.problem.outputs:
        array = outputs.get(quantity)
        if array is None or array.shape == shapes[quantity]:
            continue
        reason = f"shape {array.shape}, should be {shapes[quantity]}; then {then}"
        outcome = Outcome(Verdict.DISAGREE, kind=Kind.SHAPE, reason=reason)
        who, expected = "itself", None
        if trusted is not None:
            who, expected = trusted[0], quantities(trusted[1]).get(quantity)
        yield Comparison(case, quantity, name, who, outcome, got=array, expected=expected)
