"""Which steps are taken along one direction: large ones, and far smaller ones where these do not settle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from crosscheck.derivative.extended import Extended
from crosscheck.derivative.ladder import (
    CONFIRM,
    ENOUGH,
    EXPONENTS,
    ROUNDING,
    WIDE,
    Below,
    Estimate,
    Rung,
    best,
    climb,
    is_small,
    jump,
)
from crosscheck.derivative.line import UNIT_ROUNDOFF, Line
from crosscheck.derivative.noise import Noise, or_single
from crosscheck.derivative.probe import Array, Forward, Values

#: The real difference that confirms a complex step is at least this good where the function is smooth
#: within large steps.
CONFIRM_SMOOTH = 1e-11
#: An error estimate below this share of the natural size is not worth the time of extended precision,
#: which multiplies matrices without a library.
GOOD = 1e-10
#: Where three large steps settle worse than this, a fourth does not confirm a complex step.
HOPEFUL = 1e-4
#: An error estimate of this many times what rounding does to the smallest step is rounding.
NOISE_ALONE = 4 * ROUNDING
#: Forward evaluations to see whether a forward computes in float32.
FLOAT32_COST = 3


class Counted:
    """A forward, and how often it was called."""

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.calls = 0

    def __call__(self, values: Values) -> Mapping[str, Array]:
        self.calls += 1
        return self.forward(values)


@dataclass(frozen=True)
class Point:
    """What all probes share: the forward, the line along all blocks, noise, precision and budget."""

    counted: Counted
    joint: Line
    noise: Noise
    extended: Extended
    budget: int

    def left(self) -> int:
        """Forward evaluations that may still be spent."""
        return self.budget - self.counted.calls


class Ascent:
    """The rungs along one direction.

    Args:
        line: the function along it, in float64.
        imaginary: its complex step, to be confirmed; None if there is none.
        point: what all directions share.
        budget: forward evaluations, besides those that make the point's extended precision.

    Attributes:
        rungs: the steps taken, all in one precision, the largest first.
        noise: of the numbers in which they were taken.
    """

    def __init__(
        self, line: Line, imaginary: tuple[float, float] | None, point: Point, budget: int
    ) -> None:
        self.line, self.imaginary, self.point = line, imaginary, point
        self.rungs: list[Rung] = []
        self.noise = point.noise
        self._limit = point.counted.calls - point.extended.evaluations + budget
        self._count = sum(v.size for v in line.direction.values())

    def climb(self, large: bool) -> None:
        """Take steps until they settle.

        Args:
            large: whether to begin with large steps; not where they failed along all blocks at
                once, and smaller ones are to be had.
        """
        extended = self.point.extended
        if large or extended.joint is None:
            if self._by_large_steps() or not self.rungs or self.noise.low or self._good():
                return
        elif self.noise.low:
            return
        wide = extended.along(self.line)
        if wide is not None:
            self._in_extended_precision(wide)
            return
        # Small steps drown in the rounding of a float32 forward, or do not move it at all.
        self._look_for_float32()
        if not self.noise.low:
            self._by_small_steps(Below.of(self._count))

    def best(self) -> Estimate:
        """What the rungs make of the derivative."""
        return best(self.rungs, self.noise.real)

    def confirms(self) -> bool:
        """Whether the rungs confirm the complex step."""
        if self.imaginary is None:
            return False
        return self._smallest_confirms() or _confirms(self.best(), self.imaginary)

    def _by_large_steps(self) -> bool:
        if self._up(EXPONENTS[:3]):
            return True
        if not self.rungs:
            return False
        if not self._hopeful() and (
            self.imaginary is not None or self.point.extended.joint is not None
        ):
            return False
        return self._up(EXPONENTS[3:])

    def _by_small_steps(self, below: Below) -> bool:
        if self._up(below.first):
            return True
        return self._up(below.then(self.rungs, self.noise.real))

    def _in_extended_precision(self, wide: Line) -> None:
        # Where large steps lack nothing but digits, large steps are best.
        noisy = bool(self.rungs) and self._hopeful() and self._only_noise()
        before = self.line, self.rungs, self.noise
        self.line, self.rungs = wide, []
        self.noise = replace(self.noise, real=self.point.extended.noise)
        below = Below.of(self._count, wide=True)
        settled = self._up(WIDE) if noisy else self._by_small_steps(below)
        if settled and self.best().size:
            return
        # What stands still, or does not settle, may do so in float32.
        self.line, rungs, self.noise, narrow = before[0], self.rungs, before[2], self.noise
        self._look_for_float32(rungs or before[1])
        if self.noise.low or not rungs:
            self.rungs = before[1]
        else:
            self.line, self.rungs, self.noise = wide, rungs, narrow

    def _look_for_float32(self, rungs: list[Rung] | None = None) -> None:
        found = best(rungs or self.rungs, self.noise.real) if rungs or self.rungs else None
        if found is not None and self.imaginary is not None:
            if abs(self.imaginary[0] - found.value) <= found.error:
                return
        if self._left() >= FLOAT32_COST:
            self.noise = or_single(self.line, self.noise)

    def _hopeful(self) -> bool:
        found = self.best()
        return found.error <= HOPEFUL * found.size

    def _good(self) -> bool:
        """Whether there is no complex step to confirm, and what the rungs say is good enough."""
        if self.imaginary is not None or jump(self.rungs, self.noise.real) is not None:
            return False
        found = self.best()
        return found.error <= GOOD * found.size

    def _only_noise(self) -> bool:
        return self.best().error <= NOISE_ALONE * self.noise.real / self.rungs[-1].step

    def _left(self) -> int:
        return self._limit + self.point.extended.evaluations - self.point.counted.calls

    def _up(self, exponents: Sequence[int]) -> bool:
        budget = self.line.evaluations + self._left()
        return climb(self.line, self.rungs, exponents, budget, self._done)

    def _done(self, rungs: list[Rung]) -> bool:
        found = best(rungs, self.noise.real)
        if jump(rungs, self.noise.real) is not None:
            return False
        if self.imaginary is None:
            return found.error <= ENOUGH * found.size
        enough = CONFIRM if is_small(rungs[-1]) else CONFIRM_SMOOTH
        return found.error <= enough * found.size and _confirms(found, self.imaginary)

    def _smallest_confirms(self) -> bool:
        """Whether the smallest step alone confirms the complex step, to the last of its digits.

        Beside a kink that all larger steps cross, extrapolation over them misleads.
        """
        assert self.imaginary is not None
        smallest = self.rungs[-1]
        rounding = ROUNDING * self.noise.real / smallest.step
        size = max(smallest.size, self.imaginary[1])
        sharp = is_small(smallest) and rounding <= CONFIRM * size
        off = abs(self.imaginary[0] - smallest.slope)
        return sharp and off <= rounding + UNIT_ROUNDOFF * size


def _confirms(real: Estimate, imaginary: tuple[float, float]) -> bool:
    """Whether a real difference is sharp enough to confirm the complex step, and does."""
    size = max(real.size, imaginary[1])
    return real.error <= CONFIRM * size and abs(imaginary[0] - real.value) <= real.error
