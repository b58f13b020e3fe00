"""Probes that together move every block once: guards, noise, ladder, complex step, verdict on kinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from crosscheck.derivative.complex_step import complex_step
from crosscheck.derivative.direction import draw, moves
from crosscheck.derivative.ladder import ENOUGH, EXPONENTS, Estimate, best, climb, one_sided_gap
from crosscheck.derivative.line import UNIT_ROUNDOFF, Line, NotFinite
from crosscheck.derivative.probe import Array, Forward, Probe, Status, Values

#: The real difference that confirms a complex step is at least this good.
CONFIRM = 1e-7
#: An estimate worse than this share of the natural size is no plateau.
NO_PLATEAU = 1e-3
#: A derivative smaller than this share of the function's own size may be nothing but noise.
SMALL_SLOPE = 1e-6
#: Unit roundoff of float32, for forwards that insist on it.
SINGLE = 2.0**-24


def differentiate(
    forward: Forward,
    values: Values,
    names: Sequence[str],
    cotangents: Values,
    rng: np.random.Generator,
    *,
    groups: int = 3,
    budget: int = 48,
    complex_steps: bool = True,
) -> tuple[Probe, ...]:
    """Directional derivatives of ``f = Σ_k <cotangent_k, output_k>`` that cover all named blocks.

    Args:
        forward: from the arrays to the outputs, by name. Exceptions pass through unchanged.
        values: every array that it takes; real ones float64. Not modified.
        names: the blocks to differentiate with respect to.
        cotangents: output name → array of the output's shape.
        rng: draws the directions.
        groups: at most this many probes; with more names, names share one.
        budget: forward evaluations at most, over all probes.
        complex_steps: whether to try the complex step.

    Returns:
        One `Probe` per group. Each has a value and an error estimate, or a reason.
    """
    integer = [name for name in names if values[name].dtype.kind != "f"]
    moving = [name for name in names if values[name].dtype.kind == "f" and values[name].size]
    refused = tuple(
        _without(
            {name: np.zeros(values[name].shape)}, 0, Status.INTEGER,
            f"{name} is {values[name].dtype}: whole numbers have no derivative",
        )
        for name in integer
    )  # fmt: skip
    if not moving:
        return refused
    base, problem = _base(forward, values, cotangents)
    directions = [draw(values, group, rng) for group in _grouped(moving, groups)]
    if problem is not None:
        status, reason = problem
        return (*refused, *(_without(d, 3, status, reason) for d in directions))
    whole = {name: v for direction in directions for name, v in direction.items()}
    spent = 3
    noise, low = 0.0, False
    joint = Line(forward, values, whole, cotangents, base)
    try:
        noise = joint.noise()
        low = _low_precision(joint, base)
    except NotFinite:
        pass
    if low:
        noise = max(noise, SINGLE * joint.weigh(dict(base))[1])
    spent += joint.evaluations
    found = []
    for number, direction in enumerate(directions):
        line = Line(forward, values, direction, cotangents, base)
        share = (budget - spent) // (len(directions) - number)
        probe = _probe(line, noise, share, complex_steps and not low, low, 0 if number else spent)
        spent += line.evaluations
        found.append(probe)
    return (*refused, *found)


def _grouped(names: Sequence[str], groups: int) -> list[list[str]]:
    """The names dealt into at most `groups` groups."""
    count = min(groups, len(names))
    return [list(names[i::count]) for i in range(count)]


def _base(
    forward: Forward, values: Values, cotangents: Values
) -> tuple[dict[str, Array], tuple[Status, str] | None]:
    """The outputs at the point, and what forbids differentiating them."""
    given = {name: array.copy() for name, array in values.items()}
    first = {k: np.array(v) for k, v in forward(given).items() if k in cotangents}
    for name, array in values.items():
        if not np.array_equal(given[name], array, equal_nan=array.dtype.kind == "f"):
            return first, (Status.MUTATES, f"the forward changes its argument {name}")
    second = forward({name: array.copy() for name, array in values.items()})
    for name, array in first.items():
        if not np.array_equal(array, second[name], equal_nan=array.dtype.kind == "f"):
            return first, (
                Status.NOISY,
                f"the forward returns another {name} at every call with the same arguments: "
                "it draws random numbers, or keeps state",
            )
        if not np.isfinite(array).all():
            return first, (Status.NON_FINITE, f"{name} is NaN or infinite at the point itself")
    return first, None


def _low_precision(line: Line, base: Mapping[str, Array]) -> bool:
    """Whether the forward computes in float32 whatever it is given."""
    if any(array.dtype in (np.float32, np.float16) for array in base.values()):
        return True
    moved = line.at(2.0**-7 * 1.0123)
    inexact = [a[a != a.astype(np.float32)].size for a in moved.values()]
    total = sum(array.size for array in moved.values())
    return (
        total > 0
        and sum(inexact) == 0
        and any(not np.array_equal(moved[k], base[k]) for k in moved)
    )


def _probe(
    line: Line, noise: float, budget: int, complex_steps: bool, low: bool, before: int
) -> Probe:
    direction = line.direction

    def cost() -> int:
        return before + line.evaluations

    if not moves(line.values, direction, 2.0 ** -EXPONENTS[0]):
        return _without(
            direction, cost(), Status.NO_STEP,
            "a step within the spread of the values is below their resolution",
        )  # fmt: skip
    imaginary = complex_step(line) if complex_steps else None
    start = line.evaluations
    quick = 1e-4 if low else CONFIRM if imaginary is not None else ENOUGH
    rungs = climb(line, noise, budget - start, quick)
    if imaginary is not None and rungs and not _confirms(best(rungs, noise), imaginary):
        rungs = climb(line, noise, budget - (line.evaluations - start), ENOUGH, tuple(rungs))
    if not rungs:
        return _without(
            direction, cost(), Status.NON_FINITE, "the forward overflows next to the point"
        )
    real = best(rungs, noise)
    _, magnitude = line.weigh(dict(line.base))
    jump = one_sided_gap(rungs, noise)
    if jump is not None:
        reason = f"the one-sided derivatives differ (by {jump:.1e}): the point lies on a kink"
        return _without(direction, cost(), Status.KINK, reason)
    if imaginary is not None and _confirms(real, imaginary):
        value, size = imaginary
        relative = 4 * UNIT_ROUNDOFF + (noise / magnitude if magnitude else 0.0)
        error = relative * max(size, abs(value))
        return Probe(direction, value, error, "complex step", cost(), size)
    natural = max(real.size, SMALL_SLOPE * magnitude)
    if real.error > NO_PLATEAU * natural and not low:
        reason = (
            "no plateau: differences over ever smaller steps do not settle "
            f"(within {real.error / natural:.0e}); the point lies too close to a kink"
        )
        return _without(direction, cost(), Status.KINK, reason)
    status = Status.LOW_PRECISION if low else Status.SMOOTH
    error = real.error + 4 * UNIT_ROUNDOFF * real.size
    method = "extrapolated central differences"
    return Probe(direction, real.value, error, method, cost(), real.size, None, status)


def _confirms(real: Estimate, imaginary: tuple[float, float]) -> bool:
    """Whether a real difference is sharp enough to confirm the complex step, and does."""
    size = max(real.size, imaginary[1])
    return real.error <= 10 * CONFIRM * size and abs(imaginary[0] - real.value) <= real.error


def _without(direction: Mapping[str, Array], spent: int, status: Status, reason: str) -> Probe:
    return Probe(direction, float("nan"), float("inf"), "none", spent, 0.0, reason, status)
