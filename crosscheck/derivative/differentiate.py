"""Probes that together move every block once: noise, complex step, ladder, verdict on kinks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from crosscheck.derivative.ascent import CONFIRM_SMOOTH, Ascent, Counted, Point
from crosscheck.derivative.complex_step import complex_step
from crosscheck.derivative.direction import draw, moves
from crosscheck.derivative.guards import base_point
from crosscheck.derivative.ladder import (
    CONFIRM,
    EXPONENTS,
    ROUNDING,
    Below,
    Rung,
    best,
    climb,
    jump,
    unexplained,
)
from crosscheck.derivative.line import UNIT_ROUNDOFF, Line
from crosscheck.derivative.noise import noise_around
from crosscheck.derivative.probe import Array, Forward, Probe, Status, Values

#: Where a complex step is worse than this share of the natural size it is taken once more in extended
#: precision: if that is at hand already, and if it has to be made.
FINE, COARSE = 1e-15, 1e-11
#: An estimate worse than this share of the natural size is no plateau.
NO_PLATEAU = 1e-3
#: A derivative smaller than this share of the function's own size may be nothing but noise.
SMALL_SLOPE = 1e-6


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
    counted = Counted(forward)
    base, problem = base_point(counted, values, cotangents)
    directions = [draw(values, group, rng) for group in _grouped(moving, groups)]
    if problem is not None:
        status, reason = problem
        return (*refused, *(_without(d, 2, status, reason) for d in directions))
    whole = {name: v for direction in directions for name, v in direction.items()}
    joint = Line(counted, values, whole, cotangents, base)
    noise, extended = noise_around(joint, complex_steps)
    point, found = Point(counted, joint, noise, extended, budget), list(refused)
    lines = [Line(counted, values, direction, cotangents, base) for direction in directions]
    steps = [complex_step(line) if noise.imaginary is not None else None for line in lines]
    together = _confirmed_together(point, steps)
    before = 0
    for number, (line, step) in enumerate(zip(lines, steps, strict=True)):
        if together and step is not None:
            probe = _by_complex_step(line, step, noise.imaginary, point)
        else:
            share = (point.left() - point.extended.reserve) // (len(lines) - number)
            probe = _probe(line, step, point, share, together is None)
        found.append(replace(probe, evaluations=counted.calls - before))
        before = counted.calls
    return tuple(found)


def _confirmed_together(point: Point, steps: Sequence[tuple[float, float] | None]) -> bool | None:
    """Whether differences along all blocks at once confirm the complex steps of all probes.

    Their sum is the derivative along the joint direction. A wrong one shows in it as long as it is
    large enough, which is asked of each; where it is not, or a kink lies within the steps, every
    probe has to be confirmed by itself. None if that was not tried.
    """
    known = [step for step in steps if step is not None]
    joint, noise = point.joint, point.noise
    if len(known) < 2 or len(known) < len(steps) or noise.low:
        return None
    if not moves(joint.values, joint.direction, 2.0 ** -EXPONENTS[0]):
        return None
    # A sum over m inputs moves by sqrt(m) steps, and n elements are about m² weights.
    count = sum(v.size for v in joint.direction.values())
    shift = 1 + round(np.log2(count) / 4)
    exponents = [exponent + shift for exponent in EXPONENTS]
    total, smallest = sum(value for value, _ in known), min(size for _, size in known)

    def confirmed(rungs: list[Rung], rounding: float, last: bool) -> bool:
        found = best(rungs, rounding)
        enough = CONFIRM * smallest
        if not last:  # a further step may be sharper
            enough = min(enough, CONFIRM_SMOOTH * found.size)
        return (
            jump(rungs, rounding) is None
            and found.error <= enough
            and abs(total - found.value) <= found.error
        )

    def done(rungs: list[Rung]) -> bool:
        return confirmed(rungs, noise.real, len(rungs) == len(exponents))

    if climb(joint, [], exponents, point.budget, done):
        return True
    # Kinks within the large steps, or curvature: with more digits the steps may be far smaller.
    wide, lower = point.extended.joint, Below.of(count, wide=True)
    if wide is None or not lower.confirm(point.extended.noise, smallest):
        return False
    return climb(
        wide, [], (*lower.first, *lower.down), wide.evaluations + point.left(),
        lambda rungs: confirmed(rungs, point.extended.noise, True),
    )  # fmt: skip


def _grouped(names: Sequence[str], groups: int) -> list[list[str]]:
    """The names dealt into at most `groups` groups."""
    count = min(groups, len(names))
    return [list(names[i::count]) for i in range(count)]


def _by_complex_step(
    line: Line, step: tuple[float, float], noise: float | None, point: Point
) -> Probe:
    """The probe of a complex step that differences have confirmed; `noise` is that of the step."""
    value, size = step
    _, magnitude = line.weigh(dict(line.base))
    error = 2 * ROUNDING * (noise or 0.0)  # its noise comes from few samples
    error += UNIT_ROUNDOFF * magnitude
    enough = FINE if point.extended.at_hand else COARSE
    if error > enough * size and point.left() > point.extended.reserve:
        wide = point.extended.complex_step(line)
        if wide is not None:
            off, value = abs(wide[0] - value), wide[0]
            error = point.extended.share * max(error, off)
    error += UNIT_ROUNDOFF * 4 * max(size, abs(value))
    error += 0.0 if size else _of_rest(line)
    return Probe(line.direction, value, error, "complex step", 0, size)


def _of_rest(line: Line) -> float:
    """What the derivative may be where nothing moves: a rounding of numbers of order one.

    A loss of exactly 0 is the logarithm of a 1 that has lost what made it more than that.
    """
    return UNIT_ROUNDOFF * math.sqrt(sum(float(np.vdot(c, c)) for c in line.cotangents.values()))


def _probe(
    line: Line, imaginary: tuple[float, float] | None, point: Point, budget: int, large: bool
) -> Probe:
    """A probe by itself; `large` says whether large steps may settle."""
    direction = line.direction
    if not moves(line.values, direction, 2.0 ** -EXPONENTS[0]):
        return _without(
            direction, 0, Status.NO_STEP,
            "a step within the spread of the values is below their resolution",
        )  # fmt: skip
    ascent = Ascent(line, imaginary, point, budget)
    ascent.climb(large)
    rungs, noise = ascent.rungs, ascent.noise
    if not rungs:
        return _without(direction, 0, Status.NON_FINITE, "the forward overflows next to the point")
    kink = jump(rungs, noise.real)
    if kink is not None:
        reason = f"the one-sided derivatives differ (by {kink:.1e}): the point lies on a kink"
        return _without(direction, 0, Status.KINK, reason)
    if imaginary is not None and ascent.confirms():
        return _by_complex_step(line, imaginary, point.noise.imaginary, point)
    real = ascent.best()
    _, magnitude = line.weigh(dict(line.base))
    natural = max(real.size, SMALL_SLOPE * magnitude)
    if real.error > NO_PLATEAU * natural and not noise.low:
        within = real.error / natural if natural else math.inf
        reason = (
            "no plateau: differences over ever smaller steps do not settle "
            f"(within {within:.0e}); the point lies too close to a kink, or "
            "the function is so flat there that its rounding is larger than its slope"
        )
        return _without(direction, 0, Status.KINK, reason)
    status = Status.LOW_PRECISION if noise.low else Status.SMOOTH
    # A jump too small to be called a kink moves the slope by half of it.
    error = real.error + unexplained(rungs, noise.real) + 4 * UNIT_ROUNDOFF * real.size
    error += 0.0 if real.size else _of_rest(line)
    method = "extrapolated central differences"
    return Probe(direction, real.value, error, method, 0, real.size, None, status)


def _without(direction: Mapping[str, Array], spent: int, status: Status, reason: str) -> Probe:
    return Probe(direction, float("nan"), float("inf"), "none", spent, 0.0, reason, status)
