"""Extrapolated central differences over a ladder of steps, with an error estimate.

Central differences have an error series in h², so Neville's scheme in h² over consecutive steps
removes one term per column (Richardson 1911; Ridders 1982). Every entry of the tableau is a candidate:
its estimated error is what its neighbours differ by (truncation) plus what rounding does to its
weights (the measured noise over the steps). Large steps come first: where the function is smooth
three or four suffice. Where they do not settle, kinks may lie within them: the ladder goes on far
below, where hardly a kink is crossed and noise is the price, and then up again as far as it is smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from crosscheck.derivative.line import Line, NotFinite
from crosscheck.derivative.probe import Array

#: Steps in units of the spread, as exponents of two: halving, where the function is smooth.
EXPONENTS = (4, 5, 6, 7)
#: In extended precision: where large steps lacked digits only, and the first of the small steps at least.
WIDE, FAR = (4, 6, 8, 10), 17
#: Columns of the tableau: more terms removed gain nothing and cost noise.
COLUMNS = 4
#: Safety factors, calibrated for a coverage of 99.9 % (benchmarks/derivatives.py).
TRUNCATION, ROUNDING = 10.0, 8.0
#: Good enough to stop: estimated error in units of the natural size.
ENOUGH = 2e-13
#: The real difference that confirms a complex step is at least this good, in units of the natural size.
CONFIRM = 1e-6
#: Two slopes that agree this well, in units of the natural size, have no kink between them.
AGREE = 1e-6
#: A jump of the one-sided derivatives below this share of the natural size is none.
JUMP = 1e-4


@dataclass(frozen=True)
class Rung:
    """One step: its size, the difference quotient, its natural size and the one-sided gap."""

    step: float
    slope: float
    size: float
    gap: float


@dataclass(frozen=True)
class Estimate:
    """A derivative and its estimated error; `size` is the natural size of the derivative."""

    value: float
    error: float
    size: float


@dataclass(frozen=True)
class Below:
    """Exponents of the steps to go on with where kinks may lie within the large ones.

    Each of n elements has a kink within a step h with a probability of about h, so the first step is
    one that crosses no kink in most cases, and a second one confirms it. If they agree, larger
    steps follow, as far as it is smooth, because they suffer less from noise; else smaller ones.
    """

    first: tuple[int, ...]
    up: tuple[int, ...]
    down: tuple[int, ...]

    @classmethod
    def of(cls, count: int, wide: bool = False) -> Below:
        """For a direction that moves `count` elements, in float64 or in extended precision.

        The latter begins with smaller steps, and with many elements nearer to where a kink is
        crossed: there is room below.
        """
        top, bits = EXPONENTS[-1], int(np.ceil(np.log2(count)))
        first = max(bits + 2, FAR) if wide else max(bits + 6, top + 5)
        between = (first - 6, first - 3, (first + top) // 2, top + 2)
        up = tuple(e for e in dict.fromkeys(between) if top < e < first)
        return cls((first, first + 3), up, (first + 6, first + 9))

    def confirm(self, noise: float, size: float) -> bool:
        """Whether noise leaves enough of the first step to confirm a complex step of that size."""
        return ROUNDING * noise * 2.0 ** self.first[0] <= CONFIRM * size

    def then(self, rungs: list[Rung], noise: float) -> tuple[int, ...]:
        """Where to go on after the first two: up if they differ by no more than noise."""
        small = [rung for rung in rungs if is_small(rung)][-2:]
        if len(small) < 2:
            return self.down
        differ = abs(small[0].slope - small[1].slope)
        rounding = ROUNDING * noise / small[1].step
        agree = differ <= rounding + AGREE * max(rung.size for rung in small)
        return self.up if agree else self.down


def climb(
    line: Line,
    rungs: list[Rung],
    exponents: Sequence[int],
    budget: int,
    done: Callable[[list[Rung]], bool],
) -> bool:
    """Evaluate pairs of steps until `done`, and say whether it is.

    Args:
        line: the function along the direction.
        rungs: those of earlier steps; new ones are added, the largest step first.
        exponents: the steps to take, as exponents of two.
        budget: forward evaluations of the line at most, those before included.
        done: whether the rungs so far suffice; asked from the third on.

    Steps where an output is not finite are left out.
    """
    for exponent in exponents:
        if line.evaluations + 2 > budget:
            break
        step = 2.0**-exponent
        try:
            rungs.append(Rung(step, *line.pair(step)))
        except NotFinite:
            continue
        rungs.sort(key=lambda rung: -rung.step)
        if len(rungs) >= 3 and done(rungs):
            return True
    return False


def best(rungs: list[Rung], noise: float) -> Estimate:
    """The extrapolation with the smallest estimated error.

    Small steps are also taken by themselves: beside a large step that crosses kinks, good values
    would have bad neighbours.
    """
    small = [rung for rung in rungs if is_small(rung)]
    found = _extrapolate(rungs, noise)
    if len(small) > 1:
        parts = [_extrapolate(small[i:], noise) for i in range(len(small) - 1)]
        near = min(parts, key=lambda e: e.error)
        # Large steps across a jump may settle on a slope of their own: the small ones are right.
        if near.error < found.error or abs(near.value - found.value) > near.error + found.error:
            found = near
    return replace(found, size=_median([rung.size for rung in small or rungs]))


def _extrapolate(rungs: list[Rung], noise: float) -> Estimate:
    """The entry of the tableau with the smallest estimated error."""
    size = _median([rung.size for rung in rungs])
    chosen = Estimate(rungs[-1].slope, np.inf, size)
    count = len(rungs)
    weights, amplified = _neville(tuple(rung.step for rung in rungs))
    slopes = np.array([rung.slope for rung in rungs])
    # table[j][i]: the extrapolation over rungs i … i+j.
    table: list[list[float]] = [(w @ slopes).tolist() for w in weights]
    for column, row in enumerate(table):
        for i, value in enumerate(row):
            near = [table[column - 1][i + 1], table[column - 1][i]] if column else []
            near = near[:1]
            if i:
                near.append(row[i - 1])
            if i + 1 < len(row):
                near.append(row[i + 1])
            if len(near) < 2 and count > 1 and not (column and i == 0 and len(row) == 1):
                continue
            truncation = max(abs(value - other) for other in near) if near else np.inf
            if count == 2:
                truncation *= 3  # two slopes may agree by chance
            error = TRUNCATION * truncation + ROUNDING * noise * amplified[column][i]
            if error < chosen.error:
                chosen = Estimate(value, error, size)
    return chosen


def _median(numbers: list[float]) -> float:
    """As np.median, which takes longer than everything else here."""
    ordered, half = sorted(numbers), len(numbers) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@lru_cache(maxsize=256)
def _neville(steps: tuple[float, ...]) -> tuple[list[Array], list[list[float]]]:
    """Per column of the tableau the weights of the slopes, and what they make of noise in f.

    A difference quotient has the noise of f times ``1 / (sqrt(2) h)``.
    """
    count = len(steps)
    squares = np.array(steps) ** 2
    weights = [np.eye(count)]
    for column in range(1, min(COLUMNS, count)):
        before = weights[-1]
        far, near = squares[: count - column, None], squares[column:, None]
        factor = far / (far - near)
        weights.append(factor * before[1:] + (1 - factor) * before[:-1])
    per_slope = 1 / (np.sqrt(2.0) * np.array(steps))
    return weights, [np.sqrt(np.sum((w * per_slope) ** 2, axis=1)).tolist() for w in weights]


def is_small(rung: Rung) -> bool:
    """Whether a rung is one of the small steps."""
    return rung.step < 2.0 ** -EXPONENTS[-1]


@lru_cache(maxsize=256)
def _to_zero(steps: tuple[float, ...]) -> Array:
    """The weights of gaps ``a₀ + a₁h + a₃h³`` whose sum is a₀; of two gaps without the last term."""
    h = np.array(steps)
    weights: Array = np.linalg.inv(np.stack([np.ones_like(h), h, h**3][: h.size], axis=1))[0]
    return weights


def jump(rungs: list[Rung], noise: float) -> float | None:
    """The difference of the one-sided derivatives at the point itself, or None if there is none."""
    left = unexplained(rungs, noise)
    return left if left > JUMP * max(rung.size for rung in rungs) else None


def unexplained(rungs: list[Rung], noise: float) -> float:
    """What of the gap of the one-sided derivatives neither rounding nor extrapolation explain.

    The gap of a smooth function is odd in h: a₁h + a₃h³ + …, so extrapolating it to h = 0 over
    three large steps leaves nothing; of a kink it leaves the jump. Of the small steps the last two
    suffice, and the smallest one's gap alone is never less than the jump.
    """
    small = is_small(rungs[-1])
    used = rungs[-2:] if small else rungs[-3:]
    if len(used) < (2 if small else 3):
        return 0.0
    steps, gaps = np.array([r.step for r in used]), np.array([r.gap for r in used])
    weights = _to_zero(tuple(steps.tolist()))
    left = float(abs(weights @ gaps))
    rounding = float(np.sqrt(np.sum((weights * noise * np.sqrt(6.0) / steps) ** 2)))
    truncation = 0.0
    if small:
        left = min(left, used[-1].gap)
    elif steps[1] == 2 * steps[2]:
        truncation = float(abs(left - abs(2 * gaps[2] - gaps[1])))
    return max(left - 4 * truncation - ROUNDING * rounding, 0.0)
