"""Evidence of a wrong optimizer, schedule or clipping: a mistake is made on purpose, and compared.

A rule here is a hypothesis: what a mistaken one would give for the very case. It holds if it explains
the difference from what is right, element by element, on every disagreeing case. The weights themselves
are no measure: a wrong eps changes them by 1e-11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.comparison import Kind
from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.finding import Finding
from crosscheck.implementations import reference
from crosscheck.implementations.numpy_layer import NumpyImplementation
from crosscheck.panel import Panel
from crosscheck.spec import Array, Values

#: A mistake explains a difference up to this share of it.
ALIKE = 1e-3
#: At most this many of the disagreeing comparisons are looked at for a cause.
LOOK_AT = 40


@dataclass(frozen=True)
class Evidence:
    """One disagreeing comparison with both arrays."""

    case: Case
    quantity: str
    got: Array
    expected: Array
    panel: Panel


@dataclass(frozen=True)
class Rule:
    """A stable name, and from all evidence of a finding to the sentence that explains it, or None."""

    slug: str
    holds: Callable[[list[Evidence]], str | None]


#: What a mistaken optimizer would give for the quantity of the evidence, or None: it does not apply.
Hypothesis = Callable[[Evidence], Array | None]


def gather(finding: Finding, panel: Panel) -> list[Evidence]:
    """One comparison per case of values, with a framework; of float64 where there is any."""
    found: dict[str, Evidence] = {}
    for c in finding.comparisons:
        if c.got is None or c.expected is None or c.got.shape != c.expected.shape:
            continue
        if c.kind in (Kind.VALUE, Kind.NON_FINITE) and c.left == panel.subject.name:
            found.setdefault(c.case.id, Evidence(c.case, c.quantity, c.got, c.expected, panel))
    exact = [e for e in found.values() if e.case.dtype == "float64"]
    return (exact or [*found.values()])[:LOOK_AT]


def _explains(e: Evidence, made: Array | None) -> bool:
    """Whether a mistaken optimizer gives what was got, up to a thousandth of the difference."""
    if made is None or made.shape != e.got.shape:
        return False
    finite = np.isfinite(e.got)
    if not np.array_equal(finite, np.isfinite(made)):
        return False
    if not finite.any():
        return True
    difference = float(np.max(np.abs(e.got - e.expected)[finite]))
    return float(np.max(np.abs(e.got - made)[finite])) <= ALIKE * difference


def explains(hypothesis: Hypothesis, say: str) -> Callable[[list[Evidence]], str | None]:
    """A rule's test: the sentence, if the hypothesis gives what was got in every case."""

    def holds(evidence: list[Evidence]) -> str | None:
        with np.errstate(all="ignore"):
            return say if all(_explains(e, hypothesis(e)) for e in evidence) else None

    return holds


def run(
    e: Evidence,
    *,
    values: Values | None = None,
    made: type | None = None,
    named: str | None = None,
    **options: Any,
) -> Array | None:
    """What reference_nn's optimizer, schedule or clipping gives for the case, with something changed.

    Args:
        e: the case and the quantity.
        values: other arrays.
        made: another class.
        named: the one of another entry, with the options that it has.
        options: other options.

    Returns:
        None if it has no such option, or nothing is different from the case's own options.
    """
    from crosscheck.families import catalogue

    problem = e.case.problem
    layer = catalogue[named] if named else problem.layer
    if not set(options) <= set(layer.options):
        return None
    if options and all(problem.options.get(k) == v for k, v in options.items()):
        return None
    kept = {k: v for k, v in problem.options.items() if k in layer.options}
    who = NumpyImplementation(made, layer.convention) if made else reference(layer)
    if who is None:
        return None
    try:
        changed = replace(
            layer, inputs=problem.inputs, parameters=problem.parameters, outputs=problem.outputs
        ).problem({**kept, **options}, problem.sizes)
        given = e.case.arrays(memory="plain") if values is None else values
        return who.bind(changed).forward(given).get(e.quantity)
    except (ImplementationError, NotOffered):
        return None


def other_options(
    values: Mapping[str, Sequence[Any]],
    evidence: list[Evidence],
    who: Mapping[Any, str] = {},
    otherwise: str = "what the other framework has under this name; see the ledger of differences",
) -> str | None:
    """A rule's test: whether another value of one option gives what was got.

    Args:
        values: option → the values that are tried.
        evidence: as for any rule.
        who: (option, value) → whose value that is.
        otherwise: whose it is where `who` does not say.
    """
    for name, several in values.items():
        for value in several:
            say = f"it is right with {name}={value!r}: {who.get((name, value), otherwise)}."
            said = explains(partial(_with_option, name=name, value=value), say)(evidence)
            if said is not None:
                return said
    return None


def _with_option(e: Evidence, name: str, value: Any) -> Array | None:
    return run(e, **{name: value})
