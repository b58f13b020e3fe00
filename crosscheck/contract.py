"""The contract of a layer: what has to hold besides the numbers.

Inputs, parameters and upstream gradient are not changed; a second call gives the same; two
instances share nothing; what is returned shares no memory with what was given and is a plain array;
backward belongs to the inputs it is given, whatever was called in between; nothing is printed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.comparison import Comparison, Kind, Outcome, Verdict
from crosscheck.evaluation import Bound, Evaluation, Implementation, ImplementationError
from crosscheck.spec import Values
from crosscheck.tolerance import quantities

#: The clause that is about manners, not about numbers.
SILENT = "prints nothing"
CLAUSES = (
    "inputs unchanged",
    "upstream unchanged",
    "second call gives the same",
    "two instances share nothing",
    "returns no alias",
    "returns plain arrays",
    "backward belongs to its inputs",
    SILENT,
)


def check_contract(subject: Implementation, case: Case) -> list[Comparison]:
    """One comparison per clause, with the subject left and ``contract`` right.

    Args:
        subject: the implementation under test.
        case: with plain memory: a read-only array cannot be changed anyway.

    Returns:
        Nothing if the subject cannot evaluate the case at all: that is reported elsewhere.
    """
    try:
        bound = subject.bind(case.problem)
        values, upstream = case.arrays(), case.upstream()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            first = bound.vjp(values, upstream)
    except ImplementationError:
        return []
    # An implementation in another process says what shared memory there; none of it does here.
    aliases: Mapping[str, str] = dict(getattr(bound, "aliases", {}))
    kept = {name: array.copy() for name, array in quantities(first).items()}

    def clause(name: str, reason: str | None) -> Comparison:
        outcome = (
            Outcome(Verdict.AGREE)
            if reason is None
            else Outcome(Verdict.DISAGREE, kind=Kind.CONTRACT, reason=reason)
        )
        return Comparison(case, f"contract: {name}", subject.name, "contract", outcome)

    checks: tuple[Callable[[], str | None], ...] = (
        lambda: _changed(
            values,
            case.arrays(),
            "changes its {kind} {name}, and with it what its backward gets",
            case,
        ),
        lambda: _changed(
            upstream, case.upstream(), "changes the upstream gradient of {name}", case
        ),
        lambda: _repeated(bound, case, kept) or _remembers(subject, bound, case),
        lambda: _independent(subject, case),
        lambda: None if case.problem.layer.views else _alias(first, values, upstream, aliases),
        lambda: _special(bound),
        lambda: _interleaved(bound, case, kept),
        lambda: _printed(printed.getvalue()),
    )
    # The clauses that call again come last in time: aliases and changes are judged on the first call.
    answers = {index: checks[index]() for index in (0, 1, 4, 5, 7, 2, 6, 3)}
    return [clause(CLAUSES[index], answers[index]) for index in range(len(CLAUSES))]


def _changed(after: Values, before: Values, what: str, case: Case) -> str | None:
    for name, array in before.items():
        if name in case.problem.buffers:
            continue
        if not np.array_equal(after[name], array, equal_nan=array.dtype.kind == "f"):
            kind = "parameter" if name in case.problem.parameters else "input"
            return what.format(kind=kind, name=name)
    return None


def _same(found: Evaluation, kept: Values) -> str | None:
    arrays = quantities(found)
    for name, array in kept.items():
        if name not in arrays or not np.array_equal(
            arrays[name], array, equal_nan=array.dtype.kind == "f"
        ):
            return name
    return None


def _repeated(bound: Bound, case: Case, kept: Values) -> str | None:
    again = getattr(bound, "again", bound.vjp)
    try:
        found = again(case.arrays(), case.upstream())
    except ImplementationError as error:
        return f"a second call raised: {error}"
    name = _same(found, kept)
    if name is None:
        return None
    array, before = quantities(found).get(name), kept[name]
    if array is not None and array.shape == before.shape and np.allclose(array, 2 * before):
        return (
            f"{name} is twice as large after a second call: it accumulates instead of overwriting"
        )
    return f"{name} is another after a second call with the same arguments"


def _remembers(subject: Implementation, bound: Bound, case: Case) -> str | None:
    """Whether an object that was used answers other arguments as a new one does."""
    other = _others(case.arrays())
    try:
        used = getattr(bound, "again", bound.vjp)(_others(case.arrays()), case.upstream())
        fresh = subject.bind(case.problem).vjp(other, case.upstream())
    except ImplementationError as error:
        return f"a second call with other arguments raised: {error}"
    name = _same(used, {k: array.copy() for k, array in quantities(fresh).items()})
    if name is None:
        return None
    return (
        f"{name} of a second call with other arguments is not what a new object gives: it remembers"
    )


def _independent(subject: Implementation, case: Case) -> str | None:
    """Evaluate one instance, use another on other values, look at the first one's answer."""
    try:
        one = subject.bind(case.problem)
        first = one.vjp(case.arrays(), case.upstream())
        own = {name: array.copy() for name, array in quantities(first).items()}
        subject.bind(case.problem).vjp(_others(case.arrays()), case.upstream())
        first = getattr(one, "reread", lambda: first)()
    except ImplementationError as error:
        return f"a second instance raised: {error}"
    name = _same(first, own)
    return None if name is None else f"{name} of one instance changes when another one is used"


def _others(values: Values) -> dict[str, Any]:
    """Turned round and halved: other values, and still probabilities where they were."""
    return {k: np.flip(a) / 2 if a.dtype.kind == "f" else a for k, a in values.items()}


def _interleaved(bound: Bound, case: Case, kept: Values) -> str | None:
    """Forward here, forward elsewhere, backward here: a layer that two places of a network use."""
    between = getattr(bound, "between", None)
    if between is None:
        return None
    values = case.arrays()
    inputs = {name: values[name] for name in case.problem.inputs}
    try:
        if _same(bound.vjp(case.arrays(), case.upstream()), kept) is not None:
            return None  # not even the same call gives the same: another clause says so
        found = between(values, {**values, **_others(inputs)}, case.upstream())
    except ImplementationError as error:
        return f"raised when another forward came before its backward: {error}"
    if found is None:
        return None
    wrong = _same(found, {k: a for k, a in kept.items() if k.startswith("grad_")})
    if wrong is None:
        return None
    return f"gives another {wrong} when another forward comes between forward and backward"


def _special(bound: Bound) -> str | None:
    """np.matrix and masked arrays follow other rules of arithmetic."""
    for name, kind in getattr(bound, "special", {}).items():
        return f"returns a numpy.{kind} for {name}, not a plain array"
    return None


def _printed(text: str) -> str | None:
    if not text.strip():
        return None
    first = text.strip().splitlines()[0][:60]
    return f"prints while it computes: {first!r}"


def _alias(
    found: Evaluation, values: Values, upstream: Values, aliases: Mapping[str, str]
) -> str | None:
    for name, source in aliases.items():
        return f"gives {name} as a view of {source}: changing one changes the other"
    given = {**values, **{f"the upstream gradient of {k}": a for k, a in upstream.items()}}
    for name, array in quantities(found).items():
        for source, memory in given.items():
            if array.size and name != source and np.shares_memory(array, memory):
                return f"gives {name} as a view of {source}: changing one changes the other"
    return None
