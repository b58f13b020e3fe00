"""Hypothesis draws cases: options, sizes, dtypes, memory layouts, special values; and shrinks them.

    from hypothesis import given
    from crosscheck.strategies import cases

    @given(case=cases("Conv2d"))
    def test_conv(crosscheck, case):
        crosscheck(case, MyConv2d)

Needs the extra ``hypothesis``. Outside of pytest: ``crosscheck.check(case, MyConv2d)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.case import DTYPES, MEMORY, Case
from crosscheck.errors import CaseError, UsageError, unknown
from crosscheck.families import catalogue
from crosscheck.sampling import DEFAULT_RANGE, build, misfit
from crosscheck.spec import Array, Layer, Problem

try:
    from hypothesis import assume
    from hypothesis import strategies as st
except ImportError:
    raise UsageError(
        "crosscheck.strategies needs Hypothesis: pip install 'crosscheck[hypothesis]'"
    ) from None

#: Values at which formulas break: planted into single elements where the domain allows them.
SPECIAL = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 10.0, -10.0, 100.0, -100.0)
#: Elements of a case that get such a value, at most.
PLANTED = 3


def cases(
    layer: str | Layer,
    *,
    options: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    dtypes: Sequence[str] = DTYPES,
    memory: Sequence[str] = MEMORY,
    special: bool = True,
) -> st.SearchStrategy[Case]:
    """Cases of a layer.

    What is drawn shrinks to: the default options, the smallest sizes, float64, plain memory, no
    special values, seed 0.

    Args:
        layer: a name in the catalogue, or a `Layer` of your own.
        options: this combination only; by default any that the layer declares.
        sizes: axis name → size, for axes that should not be drawn.
        dtypes: the dtypes to draw from; the first is the simplest.
        memory: the memory layouts to draw from: ``plain``, ``strided``, ``readonly``.
        special: whether to move to the layer's special points (ties, kinks, extremes) and to
            plant special values into single elements of real inputs and parameters.

    Raises:
        UsageError: an unknown layer, option, axis, dtype or memory layout.
    """
    spec = catalogue[layer] if isinstance(layer, str) else layer
    if not isinstance(spec, Layer):
        raise UsageError(f"layer: expected a name or a crosscheck.Layer, got {spec!r}")
    for kind, given, known in (("dtype", dtypes, DTYPES), ("memory", memory, MEMORY)):
        for name in given:
            if name not in known:
                raise unknown(kind, name, known)
    spec.problem(options)  # refuses an unknown option now
    for name in sizes or {}:
        if name not in spec.axes(options):
            raise unknown(f"axis of {spec.name}", name, spec.axes(options))
    return _cases(
        spec,
        [dict(options)] if options is not None else [{}, *map(dict, spec.variants)],
        dict(sizes or {}),
        tuple(dtypes),
        tuple(memory),
        special,
    )


@st.composite
def _cases(
    draw: st.DrawFn,
    layer: Layer,
    options: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, int],
    dtypes: Sequence[str],
    memory: Sequence[str],
    special: bool,
) -> Case:
    problem = draw(_problems(layer, options, fixed))
    seed = draw(st.integers(0, 2**16), label="seed")
    point = draw(st.sampled_from([None, *layer.special])) if special and layer.special else None
    case = build(problem, seed, point or "drawn", special=point)
    if special:
        edits = draw(st.lists(_edits(problem), max_size=PLANTED), label="planted")
        try:
            case = _planted(case, edits)
        except CaseError:  # what a layer forbids together is not a case
            assume(False)
    return case.with_values(
        dtype=draw(st.sampled_from(dtypes)), memory=draw(st.sampled_from(memory))
    )


@st.composite
def _problems(
    draw: st.DrawFn,
    layer: Layer,
    options: Sequence[Mapping[str, Any]],
    fixed: Mapping[str, int],
) -> Problem:
    chosen = draw(st.sampled_from(options), label="options")
    sizes = dict(fixed)
    for axis in layer.axes(chosen):
        if axis not in sizes:
            low, high = layer.sizes.get(axis, DEFAULT_RANGE)
            # Sizes of 1 are where broadcasting hides, and the smallest there are.
            sizes[axis] = draw(st.integers(min(1, low), high), label=axis)
    problem = layer.problem(chosen, sizes)
    assume(misfit(problem) is None)
    return problem


def _edits(problem: Problem) -> st.SearchStrategy[tuple[str, int, float]]:
    """(name, flat position, value): one element of a real input or parameter, within its domain."""
    real = [
        name
        for name in problem.differentiable
        # A value of its own would break what the elements of these keep together.
        if problem.given[name].domain.name.startswith(("normal", "uniform", "positive"))
    ]
    if not real:
        return st.nothing()

    def of(name: str) -> st.SearchStrategy[tuple[str, int, float]]:
        tensor = problem.given[name]
        size = int(np.prod(tensor.shape(problem), dtype=np.int64))
        low, high = tensor.domain.low, tensor.domain.high
        values = [value for value in SPECIAL if low < value < high]
        if not values:
            return st.nothing()
        return st.tuples(st.just(name), st.integers(0, size - 1), st.sampled_from(values))

    return st.sampled_from(real).flatmap(of)


def _planted(case: Case, edits: Sequence[tuple[str, int, float]]) -> Case:
    """The case with single elements replaced; at a kink, perhaps, so the values are given, not drawn."""
    if not edits:
        return case
    values: dict[str, Array] = {name: np.array(array) for name, array in case.values.items()}
    for name, position, value in edits:
        values[name].flat[position] = value
    # Without a seed the point is not drawn anew when it is too close to a kink, but unchecked.
    return case.with_values(values=values, seed=None, kind=f"{case.kind},planted")
