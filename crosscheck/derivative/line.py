"""The function along a direction, evaluated and counted; and the noise of its values.

Differences are taken element by element of the outputs and weighted with the cotangents only then:
summing first would lose the digits that the difference is made of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from crosscheck.derivative.direction import displaced
from crosscheck.derivative.probe import Array, Forward, Values

UNIT_ROUNDOFF = 2.0**-53
#: Step at which noise is measured: so small that only rounding is left of the difference table.
TINY = 2.0**-30


class NotFinite(Exception):
    """An output is NaN or infinite at a displaced point."""


class Line:
    """``t → outputs(values + t · direction)``, with the base point known.

    Attributes:
        evaluations: how many forward evaluations this line has cost.
        roundoff: the unit roundoff of the numbers that it is evaluated with.
        tiny: the step at which its noise is measured.
    """

    def __init__(
        self,
        forward: Forward,
        values: Values,
        direction: Mapping[str, Array],
        cotangents: Values,
        base: Mapping[str, Array],
        roundoff: float = UNIT_ROUNDOFF,
        tiny: float = TINY,
    ) -> None:
        self.forward = forward
        self.values = values
        self.direction = direction
        self.cotangents = cotangents
        self.base = base
        self.roundoff = roundoff
        self.tiny = tiny
        self.evaluations = 0

    def at(self, step: complex) -> dict[str, Array]:
        """The outputs that have a cotangent, at a displaced point.

        Raises:
            NotFinite: one of them is NaN or infinite.
        """
        self.evaluations += 1
        found = self.forward(displaced(self.values, self.direction, step))
        outputs = {name: np.asarray(found[name]) for name in self.cotangents}
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise NotFinite
        return outputs

    def weigh(self, arrays: Mapping[str, Array]) -> tuple[float, float]:
        """``Σ c a`` and ``sqrt(Σ (c a)²)`` over all outputs."""
        total, square = 0.0, 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for name, cotangent in self.cotangents.items():
                product = (cotangent * arrays[name]).ravel()
                # Somebody's output may be complex for a real input: only its real part is weighed.
                total += float(np.add.reduce(product).real)
                square += float(np.vdot(product, product).real)
        return total, math.sqrt(square)

    def pair(self, step: float) -> tuple[float, float, float]:
        """Central difference quotient, its natural size, and the one-sided gap at a step.

        The gap ``|f(+h) + f(-h) - 2 f(0)| / h`` shrinks with h where f is smooth, and stays where it is
        kinked: it is the difference of the two one-sided derivatives.
        """
        plus, minus = self.at(step), self.at(-step)
        slope, size = self.weigh({k: plus[k] - minus[k] for k in plus})
        gap, _ = self.weigh({k: (plus[k] - self.base[k]) - (self.base[k] - minus[k]) for k in plus})
        return slope / (2 * step), size / (2 * step), abs(gap) / step

    def noise(self, imaginary: float = 0.0) -> tuple[float, float]:
        """Standard deviation of the rounding noise: in f, and in its complex step if there is one.

        The k-th difference of a smooth function over tiny steps is rounding alone, and its
        variance is that of one value times binomial(2k, k): Moré and Wild, Estimating
        computational noise, SIAM J. Sci. Comput. 33 (2011). Never below one rounding per output.

        Args:
            imaginary: the complex step, whose derivatives are sampled as well; 0 for none.
        """
        shift = 1j * imaginary if imaginary else 0.0
        samples = [
            self.at(k * self.tiny + shift) for k in (-3, -2, -1, 0, 1, 2, 3) if k or imaginary
        ]
        if not imaginary:
            samples.insert(3, dict(self.base))
        names = self.cotangents
        values = [self.weigh({k: np.real(s[k]) - self.base[k] for k in names})[0] for s in samples]
        _, size = self.weigh(dict(self.base))
        slopes = 0.0
        if imaginary:
            found = [self.weigh({k: np.imag(s[k]) / imaginary for k in names}) for s in samples]
            slopes = max(_deviation([f[0] for f in found]), self.roundoff * found[3][1])
        return max(_deviation(values), self.roundoff * size), slopes


def _deviation(row: list[float]) -> float:
    """Standard deviation of the noise in equally spaced values of a smooth function."""
    found = 0.0
    for order in range(1, len(row)):
        row = [right - left for left, right in pairwise(row)]
        if order >= 3:
            mean = sum(difference * difference for difference in row) / len(row)
            found = max(found, math.sqrt(mean / math.comb(2 * order, order)))
    return found
