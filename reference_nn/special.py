"""The error function, which NumPy lacks."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array

#: Below this the series is summed, above it the continued fraction.
SWITCH = 2.5
#: Terms that leave less than one rounding of float64 at the switch.
SERIES_TERMS, FRACTION_TERMS = 44, 60


def erf(x: Array) -> Array:
    r"""erf(x) = 2/√π ∫₀ˣ e^{−t²} dt, to a few roundings, in the dtype of x.

    For |x| < 2.5 the series with positive terms only, so that nothing cancels,

        erf(x) = 2/√π e^{−x²} Σ_n 2ⁿ x^{2n+1} / (1·3·5⋯(2n+1))

    and above it the continued fraction of the complement, evaluated from its tail,

        erfc(x) = e^{−x²}/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …))))

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.6 and 7.1.14.
    """
    size = np.where(x < 0, -x, x)
    small = np.minimum(size, SWITCH)
    term = small
    total = small
    for n in range(1, SERIES_TERMS):
        term = term * (2 * small * small / (2 * n + 1))
        total = total + term
    series = 2 / math.sqrt(math.pi) * np.exp(-small * small) * total
    large = np.maximum(size, SWITCH)
    tail = large
    for n in range(FRACTION_TERMS, 0, -1):
        tail = large + n / (2 * tail)
    complement = np.exp(-(np.minimum(large, 30.0) ** 2)) / (math.sqrt(math.pi) * tail)
    value = np.where(size < SWITCH, series, 1 - complement)
    return np.asarray(np.where(x < 0, -value, value))
