"""Probes that together move every block once: guards, noise, ladder, complex step, verdict on kinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crosscheck.derivative.complex_step import STEP, complex_step
from crosscheck.derivative.direction import draw, moves
from crosscheck.derivative.ladder import (
    ENOUGH,
    EXPONENTS,
    ROUNDING,
    Below,
    Estimate,
    Rung,
    best,
    climb,
    is_small,
    jump,
    unexplained,
)
from crosscheck.derivative.line import UNIT_ROUNDOFF, Line, NotFinite
from crosscheck.derivative.probe import Array, Forward, Probe, Status, Values

#: The real difference that confirms a complex step is at least this good: between kinks, and where
#: the function is smooth within large steps.
CONFIRM, CONFIRM_SMOOTH = 1e-6, 1e-11
#: Where three large steps settle worse than this, a fourth does not confirm a complex step.
HOPEFUL = 1e-4
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
    budget: int = 60,
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
        return (*refused, *(_without(d, 2, status, reason) for d in directions))
    whole = {name: v for direction in directions for name, v in direction.items()}
    joint = Line(forward, values, whole, cotangents, base)
    noise, found = _noise(joint, complex_steps), list(refused)
    lines = [Line(forward, values, direction, cotangents, base) for direction in directions]
    steps = [complex_step(line) if noise.imaginary is not None else None for line in lines]
    confirmed = _confirmed_together(joint, steps, noise, budget)
    spent = 2 + joint.evaluations
    for number, (line, step) in enumerate(zip(lines, steps, strict=True)):
        before = 0 if number else spent
        if confirmed and step is not None:
            probe = _by_complex_step(line, step, noise, before)
        else:
            share = (budget - spent) // (len(lines) - number)
            probe = _probe(line, step, noise, share, before)
        spent += line.evaluations
        found.append(probe)
    return tuple(found)


def _confirmed_together(
    joint: Line, steps: Sequence[tuple[float, float] | None], noise: _Noise, budget: int
) -> bool:
    """Whether differences along all blocks at once confirm the complex steps of all probes.

    Their sum is the derivative along the joint direction. A wrong one shows in it as long as it is
    large enough, which is asked of each; where it is not, or a kink lies within the large
    steps, every probe has to be confirmed by itself.
    """
    known = [step for step in steps if step is not None]
    if len(known) < 2 or len(known) < len(steps) or noise.low:
        return False
    if not moves(joint.values, joint.direction, 2.0 ** -EXPONENTS[0]):
        return False
    # A sum over m inputs moves by sqrt(m) steps, and n elements are about m² weights.
    count = sum(v.size for v in joint.direction.values())
    shift = 1 + round(np.log2(count) / 4)
    exponents = [exponent + shift for exponent in EXPONENTS]
    total, smallest = sum(value for value, _ in known), min(size for _, size in known)

    def done(rungs: list[Rung]) -> bool:
        found = best(rungs, noise.real)
        enough = CONFIRM * smallest
        if len(rungs) < len(exponents):  # a further step may be sharper
            enough = min(enough, CONFIRM_SMOOTH * found.size)
        return (
            jump(rungs, noise.real) is None
            and found.error <= enough
            and abs(total - found.value) <= found.error
        )

    return climb(joint, [], exponents, budget, done)


def _another(one: Array, other: Array) -> bool:
    """Whether two outputs differ by more than a sum in another order would make them."""
    if one.dtype.kind not in "fc" or one.shape != other.shape:
        return not np.array_equal(one, other)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - other)
    rounding = 2.0**10 * float(np.finfo(one.dtype).eps) * np.max(np.abs(one), initial=0.0)
    return bool(np.any(difference > rounding) or np.any(np.isnan(one) != np.isnan(other)))


@dataclass(frozen=True)
class _Noise:
    """What rounding does: in f, in its complex step (None: not available), and whether to float32."""

    real: float
    imaginary: float | None
    low: bool


def _noise(joint: Line, complex_steps: bool) -> _Noise:
    """Measured along all blocks at once, for all probes."""
    try:
        usable = complex_steps and complex_step(joint) is not None
        real, imaginary = joint.noise(STEP if usable else 0.0)
        return _single(joint, _Noise(real, imaginary if usable else None, False))
    except NotFinite:
        return _Noise(0.0, None, False)


def _single(line: Line, noise: _Noise) -> _Noise:
    """The noise, or that of float32 where the forward turns out to compute in it."""
    try:
        if not _low_precision(line, line.base):
            return noise
    except NotFinite:
        return noise
    return _Noise(max(noise.real, SINGLE * line.weigh(dict(line.base))[1]), None, True)


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
        if _another(array, second[name]):
            return first, (
                Status.NOISY,
                f"the forward returns another {name} at every call with the same arguments: "
                "it draws random numbers, or keeps state",
            )
        if not np.isfinite(array).all():
            return first, (Status.NON_FINITE, f"{name} is NaN or infinite at the point itself")
    return first, None


def _low_precision(line: Line, base: Mapping[str, Array]) -> bool:
    """Whether the forward computes in float32 (or less) whatever it is given.

    Its outputs are then float32, or numbers of float32 in a wider array, or stand still while the
    arguments move by less than float32 resolves.
    """
    if any(array.dtype in (np.float32, np.float16) for array in base.values()):
        return True
    # Not a smaller step: what float64 rounds would hold a difference of large numbers still as well.
    far, near = line.at(2.0**-12 * 1.0123), line.at(2.0**-30)
    # What moves by several roundings of float32 is neither saturated nor at rest; around 0 every
    # step is resolved, and what stands still there is flat.
    moved = {
        k: (base[k] != 0) & (np.abs(far[k] - base[k]) > 4 * SINGLE * np.abs(base[k])) for k in far
    }
    count = sum(int(np.count_nonzero(m)) for m in moved.values())
    stuck = sum(int(np.count_nonzero(m & (near[k] == base[k]))) for k, m in moved.items())
    inexact = [
        np.count_nonzero(far[k][m] != far[k][m].astype(np.float32)) for k, m in moved.items()
    ]
    return count > 0 and (sum(inexact) == 0 or stuck > count / 2)


def _by_complex_step(line: Line, step: tuple[float, float], noise: _Noise, before: int) -> Probe:
    """The probe of a complex step that differences have confirmed."""
    value, size = step
    _, magnitude = line.weigh(dict(line.base))
    error = 2 * ROUNDING * (noise.imaginary or 0.0)  # its noise comes from few samples
    error += UNIT_ROUNDOFF * (4 * max(size, abs(value)) + magnitude)
    return Probe(line.direction, value, error, "complex step", before + line.evaluations, size)


def _probe(
    line: Line, imaginary: tuple[float, float] | None, noise: _Noise, budget: int, before: int
) -> Probe:
    direction = line.direction

    def cost() -> int:
        return before + line.evaluations

    if not moves(line.values, direction, 2.0 ** -EXPONENTS[0]):
        return _without(
            direction, cost(), Status.NO_STEP,
            "a step within the spread of the values is below their resolution",
        )  # fmt: skip

    def done(rungs: list[Rung]) -> bool:
        found = best(rungs, noise.real)
        if jump(rungs, noise.real) is not None:
            return False
        if imaginary is None:
            return found.error <= ENOUGH * found.size
        enough = CONFIRM if is_small(rungs[-1]) else CONFIRM_SMOOTH
        return found.error <= enough * found.size and _confirms(found, imaginary)

    rungs: list[Rung] = []
    settled = climb(line, rungs, EXPONENTS[:3], budget, done)
    if not settled and rungs:
        found = best(rungs, noise.real)
        if imaginary is None or found.error <= HOPEFUL * found.size:
            settled = climb(line, rungs, EXPONENTS[3:], budget, done)
    if not settled and rungs and not noise.low:
        # Small steps drown in the rounding of a float32 forward, or do not move it at all.
        found = best(rungs, noise.real)
        if imaginary is None or abs(imaginary[0] - found.value) > found.error:
            noise = _single(line, noise)
        if not noise.low:
            lower = Below.of(sum(v.size for v in direction.values()))
            if not climb(line, rungs, lower.first, budget, done):
                climb(line, rungs, lower.then(rungs, noise.real), budget, done)
    if not rungs:
        return _without(
            direction, cost(), Status.NON_FINITE, "the forward overflows next to the point"
        )
    real = best(rungs, noise.real)
    _, magnitude = line.weigh(dict(line.base))
    kink = jump(rungs, noise.real)
    if kink is not None:
        reason = f"the one-sided derivatives differ (by {kink:.1e}): the point lies on a kink"
        return _without(direction, cost(), Status.KINK, reason)
    near = imaginary is not None and _confirmed_by(rungs[-1], imaginary, noise)
    if imaginary is not None and (near or _confirms(real, imaginary)):
        return _by_complex_step(line, imaginary, noise, before)
    natural = max(real.size, SMALL_SLOPE * magnitude)
    if real.error > NO_PLATEAU * natural and not noise.low:
        reason = (
            "no plateau: differences over ever smaller steps do not settle "
            f"(within {real.error / natural:.0e}); the point lies too close to a kink, or "
            "the function is so flat there that its rounding is larger than its slope"
        )
        return _without(direction, cost(), Status.KINK, reason)
    status = Status.LOW_PRECISION if noise.low else Status.SMOOTH
    # A jump too small to be called a kink moves the slope by half of it.
    error = real.error + unexplained(rungs, noise.real) + 4 * UNIT_ROUNDOFF * real.size
    method = "extrapolated central differences"
    return Probe(direction, real.value, error, method, cost(), real.size, None, status)


def _confirms(real: Estimate, imaginary: tuple[float, float]) -> bool:
    """Whether a real difference is sharp enough to confirm the complex step, and does."""
    size = max(real.size, imaginary[1])
    return real.error <= CONFIRM * size and abs(imaginary[0] - real.value) <= real.error


def _confirmed_by(smallest: Rung, imaginary: tuple[float, float], noise: _Noise) -> bool:
    """Whether the smallest step alone confirms the complex step, to the last of its digits.

    Beside a kink that all larger steps cross, extrapolation over them misleads.
    """
    rounding = ROUNDING * noise.real / smallest.step
    size = max(smallest.size, imaginary[1])
    sharp = is_small(smallest) and rounding <= CONFIRM * size
    return sharp and abs(imaginary[0] - smallest.slope) <= rounding + UNIT_ROUNDOFF * size


def _without(direction: Mapping[str, Array], spent: int, status: Status, reason: str) -> Probe:
    return Probe(direction, float("nan"), float("inf"), "none", spent, 0.0, reason, status)
