"""The error function and its complement, which NumPy lacks."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from reference_nn.layer import Array

#: Below this the series is summed; above it the polynomial of the complement is evaluated.
SWITCH = 0.5
#: The map t = 1 − BOTH/(x + SHIFT) takes x in [SWITCH, ∞) to t in [−1, 1). Any positive SHIFT
#: would do; with this one the polynomial needs the fewest terms.
SHIFT = 3.0
BOTH = 2 * (SWITCH + SHIFT)
#: Terms that leave less than one rounding of float64 where each formula is used.
SERIES_TERMS, FRACTION_TERMS, POLYNOMIAL_TERMS = 12, 1000, 23


def erf(x: Array) -> Array:
    r"""erf(x) = 2/√π ∫₀ˣ e^{−t²} dt, to two or three roundings.

    The series of e^{−t²}, integrated term by term, where |x| < ½:

        erf(x) = 2/√π Σ_n (−1)ⁿ x^{2n+1} / (n! (2n+1))

    Further out its terms grow before they cancel; there erf(x) = 1 − erfc(x), and erfc is small.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.1 and 7.1.5.
    """
    size = 1.0 * np.maximum(x, -x)
    value = np.where(size < SWITCH, _series(size), 1 - _tail(size))
    return np.where(x < 0, -value, value)


def erfc(x: Array) -> Array:
    r"""erfc(x) = 1 − erf(x), with the digits at large x that this difference would lose.

    Up to x = ½ erf(x) is at most 0.52 and the difference is safe; from there on `_tail` gives the
    complement itself. The rounding of x² in its exponent costs about x² roundings.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.2.
    """
    size = 1.0 * np.maximum(x, -x)
    value = np.where(size < SWITCH, 1 - _series(size), _tail(size))
    return np.where(x < 0, 2 - value, value)


def _series(x: Array) -> Array:
    """erf(x) for 0 ≤ x < ½, anything above: the sum over n, from its smallest term to its largest."""
    x = np.minimum(x, SWITCH)
    square = x * x
    total = np.zeros_like(square)
    for n in reversed(range(SERIES_TERMS)):
        total *= square
        total += (-1) ** n / (math.factorial(n) * (2 * n + 1))
    return np.asarray(2 / math.sqrt(math.pi) * x * total)


def _tail(x: Array) -> Array:
    r"""erfc(x) = g(x) e^{−x²} / (√π x) for x ≥ ½, anything below; g runs from 0.5 up to 1.

    What is left when the exponential has been taken out is so smooth, on the whole half-line,
    that a polynomial of low degree in t = 1 − BOTH/(x + SHIFT) gives it to the last digit.
    """
    x = np.clip(x, SWITCH, 30)  # erfc(30) = 0 already, and the square stays finite
    t = 1 - BOTH / (x + SHIFT)
    g = np.zeros_like(t)
    for coefficient in reversed(_polynomial(x.dtype)):
        g *= t
        g += coefficient
    return np.asarray(g * np.exp(-x * x) / (math.sqrt(math.pi) * x))


@cache
def _polynomial(dtype: np.dtype[Any]) -> list[float]:
    r"""The coefficients of g in powers of t, lowest first, as many as the dtype can tell.

    g is interpolated at the N zeros t_j = cos(π (2j+1)/2N) of the Chebyshev polynomial T_N, which
    comes close to the best polynomial there is: Σ_k c_k T_k(t) with c_k = 2/N Σ_j g(t_j) T_k(t_j),
    and half of that for k = 0. Each c_k is about a fifth of the one before, so those that lie
    below the rounding are dropped: float32 keeps ten.

    Source: Trefethen, Approximation Theory and Approximation Practice (2013), chapters 3 and 4.
    """
    k = np.arange(POLYNOMIAL_TERMS)
    # T_k(t_j) = cos(k arccos t_j); whole turns are taken off while the angle is a whole number.
    turns = np.outer(k, 2 * k + 1) % (4 * POLYNOMIAL_TERMS)
    values = np.cos(math.pi * turns / (2 * POLYNOMIAL_TERMS))
    coefficients = 2 / POLYNOMIAL_TERMS * (values @ _fraction(values[1]))
    coefficients[0] /= 2
    kept = np.flatnonzero(np.abs(coefficients) > np.finfo(dtype).eps / 4).max() + 1
    return [float(c) for c in chebyshev.cheb2poly(coefficients[:kept])]


def _fraction(t: Array) -> Array:
    r"""g at x = BOTH/(1 − t) − SHIFT, by a continued fraction evaluated from its far end:

        √π x e^{x²} erfc(x) = x/(x + ½/(x + 1/(x + 3⁄2/(x + 2/(x + …)))))

    It converges slowly for small x, but is asked for a few x only, once.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 7.1.14.
    """
    x = BOTH / (1 - t) - SHIFT
    denominator = x
    for n in range(FRACTION_TERMS, 0, -1):
        denominator = x + n / (2 * denominator)
    return np.asarray(x / denominator)
