"""The same function in extended precision, where the forward carries it.

NumPy's longdouble has 64 bits of mantissa on x86 (on some other machines 113, on others it is float64
again). A forward written in NumPy mostly computes in whatever it is given, and then a step may be a
thousand times smaller for the same rounding: below the kinks, and within the curvature, that spoil a
float64 difference. Whether it does is seen, never assumed: one that goes through float64 anywhere has
float64's noise, which is measured.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from crosscheck.derivative.complex_step import complex_step
from crosscheck.derivative.line import TINY, UNIT_ROUNDOFF, Line
from crosscheck.evaluation import cast

#: Unit roundoff of the widest real numbers that this machine's NumPy computes with.
ROUNDOFF = float(np.finfo(np.longdouble).eps) / 2
#: Noise above this share of float64's: the forward does not carry the additional digits.
GAIN = 2.0**-5
#: Multiple of the noise that is reckoned with: so close to the point a saturated output moves by less than
#: its last digit, and shows too little. Calibrated for a coverage of 99.9 % (benchmarks/derivatives.py).
CAUTION = 8.0
#: Forward evaluations to see whether it does: the point itself, and the noise around it.
COST = 7


class Extended:
    """A point in extended precision; nothing is evaluated before it is asked for.

    Args:
        joint: along all blocks, in float64.
        noise: its measured noise.
        wanted: whether it may be used at all.

    Attributes:
        evaluations: what it has cost to make; along `joint` more may be spent.
        reserve: what it may still cost to make.
        noise: standard deviation of the rounding noise of f, as measured; 0 without `joint`.
    """

    def __init__(self, joint: Line, noise: float, wanted: bool = True) -> None:
        self._narrow = joint
        self._noise = noise
        self.evaluations = 0
        self.reserve = COST if wanted and ROUNDOFF <= GAIN * UNIT_ROUNDOFF else 0
        self.noise = 0.0

    @cached_property
    def joint(self) -> Line | None:
        """The function along all blocks; None where no digits are gained."""
        if not self.reserve:
            return None
        line, self.reserve = self._narrow, 0
        wide = Line(
            line.forward, cast(line.values, "longdouble"), cast(line.direction, "longdouble"), line.cotangents, {},
            ROUNDOFF, TINY * 2.0**-6,
        )  # fmt: skip
        try:
            wide.base = wide.at(0.0)
            if any(array.dtype != np.longdouble for array in wide.base.values()):
                return None
            least = self._noise * ROUNDOFF / UNIT_ROUNDOFF
            self.noise = CAUTION * max(wide.noise()[0], least)
        except Exception:  # whatever a forward does with numbers it was not written for
            return None
        finally:
            self.evaluations = wide.evaluations
        return wide if self.noise <= CAUTION * GAIN * self._noise else None

    @property
    def at_hand(self) -> bool:
        """Whether it is made already, and of use."""
        return "joint" in self.__dict__ and self.joint is not None

    @property
    def share(self) -> float:
        """What is left of an error of float64, with caution."""
        return CAUTION * ROUNDOFF / UNIT_ROUNDOFF

    def complex_step(self, line: Line) -> tuple[float, float] | None:
        """The complex step along a line, with the digits that it has; None if it loses them."""
        wide = self.along(line)
        if wide is None:
            return None
        return complex_step(wide)

    def along(self, line: Line) -> Line | None:
        """Another line through the point."""
        if self.joint is None:
            return None
        wide, base = self.joint, self.joint.base
        direction = cast(line.direction, "longdouble")
        return Line(
            wide.forward, wide.values, direction, wide.cotangents, base, ROUNDOFF, wide.tiny
        )
