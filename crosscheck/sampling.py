"""The cases of a layer: sizes drawn pairwise distinct, then the shapes where mistakes hide.

For the default options: distinct sizes; each axis in turn 1; all sizes equal; the same distinct
arrays strided and read-only; and the layer's special points. For every other option combination:
distinct sizes. Every draw is named by the seed, the layer and the kind of case alone, so that one
case can be repeated without drawing those before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.errors import CaseError, UsageError, unknown
from crosscheck.spec import Array, Layer, Problem

#: Axes are drawn from here unless the layer says otherwise.
DEFAULT_RANGE = (2, 7)
#: An input this many times larger still has finite answers where a framework's are.
EXTREME = 1e4


def generator(seed: int, *words: object) -> np.random.Generator:
    """A generator named by a seed and words; independent of the order of use."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, words)).encode())])


def draw_sizes(
    layer: Layer,
    options: Mapping[str, Any],
    rng: np.random.Generator,
    fixed: Mapping[str, int] | None = None,
    *,
    equal: bool = False,
) -> Problem | None:
    """A problem with sizes in the layer's ranges, pairwise distinct as far as the ranges allow.

    Args:
        layer, options: what to draw for.
        rng: where randomness comes from.
        fixed: sizes that are given.
        equal: all drawn sizes are the same instead.

    Returns:
        None if no sizes were found that fit together under `layer.valid`.

    Raises:
        UsageError: `fixed` names no axis of the layer.
    """
    axes = layer.axes(options)
    fixed = dict(fixed or {})
    for name in fixed:
        if name not in axes:
            raise unknown(f"axis of {layer.name}", name, axes)
    tried: set[tuple[int, ...]] = set()
    for attempt in range(400):
        sizes: dict[str, int] = {}
        common = int(rng.integers(3, 6))
        for axis in axes:
            low, high = layer.sizes.get(axis, DEFAULT_RANGE)
            if axis in fixed:
                sizes[axis] = fixed[axis]
            elif equal:
                sizes[axis] = min(max(common, low), high)
            else:
                # After many misses distinctness gives way, never validity.
                free = [n for n in range(low, high + 1) if attempt > 300 or n not in sizes.values()]
                free = free or [*range(low, high + 1)]
                sizes[axis] = free[rng.integers(0, len(free))]  # rng.choice, five times as fast
        if tuple(sizes.values()) in tried:
            continue
        tried.add(tuple(sizes.values()))
        problem = layer.problem(options, sizes)
        if misfit(problem) is None:
            return problem
    return None


def misfit(problem: Problem) -> str | None:
    """Why sizes and options do not fit together, or None."""
    if problem.layer.valid is not None:
        reason = problem.layer.valid(problem)
        if reason is not None:
            return reason
    try:
        shapes = problem.shapes()
    except UsageError as error:
        return str(error)
    empty = [name for name, shape in shapes.items() if 0 in shape]
    return f"{', '.join(empty)} would be empty" if empty else None


def draw_values(problem: Problem, rng: np.random.Generator) -> dict[str, Array]:
    """An array for everything that is given, representable in float32."""
    return {
        name: representable(tensor.domain.draw(rng, tensor.shape(problem), problem))
        for name, tensor in problem.given.items()
    }


def draw_cotangents(problem: Problem, rng: np.random.Generator) -> dict[str, Array]:
    """A random cotangent per differentiable output: signs times U[0.5, 1.5], never ones."""
    result = {}
    for name in problem.differentiable_outputs:
        shape = problem.outputs[name].shape(problem)
        raw = rng.choice([-1.0, 1.0], size=shape) * rng.uniform(0.5, 1.5, shape)
        result[name] = representable(np.asarray(raw))
    return result


def representable(array: Array) -> Array:
    """Real values rounded to float32, kept as float64; others as they are."""
    array = np.asarray(array)
    return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array


def build(
    problem: Problem, seed: int, kind: str, *, draw: str | None = None, special: str | None = None
) -> Case:
    """The case of a problem under a seed, float64 and plain.

    Args:
        problem: layer, options and sizes.
        seed: names the draw.
        kind: what the case is called.
        draw: names the draw when it is not `kind`: a second case with the same arrays.
        special: the special point of the layer to move to.
    """
    rng = generator(seed, problem.layer.name, problem.label(), draw or kind)
    values = draw_values(problem, rng)
    cotangents = draw_cotangents(problem, rng)
    at_kink = False
    if special is not None:
        change = problem.layer.special[special]
        values = {k: representable(a) for k, a in change(rng, problem, values).items()}
        at_kink = getattr(change, "at_kink", False)
    return Case(problem, values, cotangents, kind=kind, seed=seed, at_kink=at_kink)


def option_sets(layer: Layer, seed: int, pairs: int = 4) -> Iterator[dict[str, Any]]:
    """The defaults, each declared variant, and random pairs of variants that do not conflict."""
    yield {}
    yield from (dict(variant) for variant in layer.variants)
    if not layer.pairs or len(layer.variants) < 2:
        return
    rng = generator(seed, layer.name, "pairs")
    seen: list[dict[str, Any]] = [dict(variant) for variant in layer.variants]
    for _ in range(20 * pairs):
        first, second = rng.choice(len(layer.variants), size=2, replace=False)
        one, two = layer.variants[int(first)], layer.variants[int(second)]
        merged = {**one, **two}
        if set(one) & set(two) or merged in seen:
            continue
        if draw_sizes(layer, merged, generator(seed, "probe")) is None:
            continue
        seen.append(merged)
        yield merged
        pairs -= 1
        if pairs == 0:
            return


def cases(
    layer: Layer,
    *,
    options: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    seed: int = 0,
    extra: int = 0,
) -> Iterator[Case]:
    """Every case of a check, in order; deterministic in the arguments.

    Args:
        layer: what to check.
        options: check this combination only; by default all declared combinations.
        sizes: sizes that are given; the others are drawn.
        dtypes: the dtypes to present the arrays in.
        seed: names all draws.
        extra: further cases of randomly drawn sizes, for every option combination.

    Raises:
        UsageError: an unknown option or axis.
        CaseError: no sizes fit the options.
    """
    combinations: Iterable[Mapping[str, Any]] = (
        [options] if options is not None else option_sets(layer, seed)
    )
    for index, combination in enumerate(combinations):
        # Inputs of another rank are another way to be used, and what is written for it has no other.
        whole = index == 0 or set(combination) <= set(layer.forms)
        for case in _shapes(layer, combination, dict(sizes or {}), seed, whole, extra):
            for dtype in dtypes:
                yield case.with_values(dtype=dtype)


def _shapes(
    layer: Layer,
    options: Mapping[str, Any],
    fixed: Mapping[str, int],
    seed: int,
    whole: bool,
    extra: int,
) -> Iterator[Case]:
    def drawn(kind: str, given: Mapping[str, int], equal: bool = False) -> Problem | None:
        rng = generator(seed, layer.name, sorted(options.items()), "sizes", kind)
        return draw_sizes(layer, options, rng, given, equal=equal)

    distinct = drawn("distinct", fixed)
    if distinct is None:
        largest = {axis: layer.sizes.get(axis, DEFAULT_RANGE)[1] for axis in layer.axes(options)}
        reason = misfit(layer.problem(options, {**largest, **fixed}))
        raise CaseError(
            f"{layer.problem(options).label()}: no sizes fit these options"
            + (f" with {dict(fixed)}" if fixed else "")
            + (f": {reason}" if reason else "")
        )
    first = build(distinct, seed, "distinct")
    yield first
    if whole:
        yield from (first.with_values(memory=memory) for memory in ("strided", "readonly"))
        seen = {tuple(distinct.sizes.items())}
        for kind, given, equal in (
            *(
                (f"{axis}=1", {**fixed, axis: 1}, False)
                for axis in distinct.sizes
                if axis not in fixed
            ),
            ("square", fixed, True),
        ):
            problem = drawn(kind, given, equal)
            if problem is not None and tuple(problem.sizes.items()) not in seen:
                seen.add(tuple(problem.sizes.items()))
                yield build(problem, seed, kind)
        for name in layer.special:
            yield build(distinct, seed, name, special=name)
    for number in range(extra):
        problem = drawn(f"random{number}", fixed)
        if problem is not None:
            yield build(problem, seed, f"random{number}")


def kernel_of(problem: Problem) -> dict[str, int]:
    """The sizes of the kernel's axes; empty if there is none."""
    return {axis: n for axis, n in problem.sizes.items() if axis.startswith("kernel_")}


def with_even_kernel(problem: Problem) -> Problem | None:
    """The problem with the smallest size for all axes of the kernel; None if it has no kernel."""
    kernel = kernel_of(problem)
    if not kernel:
        return None
    even = dict.fromkeys(kernel, min(kernel.values()))
    return problem.layer.problem(problem.options, {**problem.sizes, **even})


def evened(case: Case) -> Case | None:
    """The case of the same kind with one size for all axes of a kernel; None if it does not fit."""
    even = with_even_kernel(case.problem)
    if even is None or misfit(even) is not None:
        return None
    special = case.kind if case.kind in case.problem.layer.special else None
    drawn = build(even, case.seed or 0, case.kind, special=special)
    return drawn.with_values(dtype=case.dtype, memory=case.memory)


def redraw(case: Case, attempt: int) -> Case:
    """The same problem and kind with other values: the drawn point sat too close to a kink."""
    special = case.kind if case.kind in case.problem.layer.special else None
    seed = case.seed or 0
    return build(case.problem, seed, case.kind, draw=f"{case.kind}#{attempt}", special=special)
