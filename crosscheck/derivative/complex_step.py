"""The complex step: one evaluation, no cancellation, no kink crossed.

``Im f(x + i·10⁻²⁰ v) / 10⁻²⁰`` is the derivative to the last digit wherever the forward is analytic and
NumPy computes it so: Squire and Trapp, Using complex variables to estimate derivatives of real
functions, SIAM Review 40 (1998). abs, var and conj compute something else without a word, so the value
is used only where a real difference agrees with it.
"""

from __future__ import annotations

import warnings

import numpy as np

from crosscheck.derivative.line import UNIT_ROUNDOFF, Line, NotFinite

STEP = 1e-20


def complex_step(line: Line) -> tuple[float, float] | None:
    """Derivative and its natural size, or None where the forward cannot take complex numbers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with np.errstate(all="ignore"):
                outputs = line.at(1j * STEP)
    except NotFinite:
        return None
    except Exception:  # whatever a forward does with complex numbers: it is not available
        return None
    if not any(np.iscomplexobj(array) for array in outputs.values()):
        return None
    if any(np.finfo(array.dtype).eps > 2 * line.roundoff for array in outputs.values()):
        return None  # the digits that are asked for are lost
    parts = {name: np.imag(array) / STEP for name, array in outputs.items()}
    real = {name: np.real(array) - line.base[name] for name, array in outputs.items()}
    _, drift = line.weigh(real)
    _, magnitude = line.weigh(dict(line.base))
    if drift > 1e3 * UNIT_ROUNDOFF * magnitude:
        return None  # another branch is taken for complex numbers
    return line.weigh(parts)
