"""True gradients: the hand-derived backward in extended precision.

NumPy's ``longdouble`` has 64 bits of mantissa on x86, so a backward evaluated in it is good to about
1e-19 of its largest intermediate: a truth for derivatives that are good to 1e-16, unless digits cancel
(``g - Σ p g`` of a saturated softmax). How many are lost is seen in float64, where the same ones are. It shares nothing with the derivatives it
judges: they know the forward only.
"""

from __future__ import annotations

import numpy as np

from benchmarks.layers import Subject
from crosscheck.case import Case
from crosscheck.evaluation import cast
from crosscheck.implementations import reference
from crosscheck.spec import Array

#: Multiple of what float64 loses, in extended roundings, that the truth may be off by.
CAUTION = 8.0


def uncertainty(subject: Subject, case: Case, exact: dict[str, Array]) -> dict[str, Array]:
    """name → how far each element of the true gradient may be off: float64's error, 2048 times smaller."""
    trusted = reference(subject.layer)
    assert trusted is not None
    values, upstream = case.arrays("float64"), case.upstream("float64")
    found = trusted.bind(case.problem).vjp(values, upstream).gradients
    share = CAUTION * np.finfo(np.longdouble).eps / np.finfo(np.float64).eps
    return {name: share * np.abs(found[name] - gradient) for name, gradient in exact.items()}


def gradients(subject: Subject, case: Case) -> dict[str, Array]:
    """name → gradient in longdouble.

    Raises:
        TypeError: this machine's longdouble is no wider than float64, or the layer's code falls
            back to float64 somewhere.
    """
    if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        raise TypeError("longdouble is float64 on this machine: there is no extended precision")
    trusted = reference(subject.layer)
    assert trusted is not None

    bound = trusted.bind(case.problem)
    found = bound.vjp(
        cast(case.arrays("float64"), "longdouble"), cast(case.upstream("float64"), "longdouble")
    ).gradients
    for name, gradient in found.items():
        if gradient.dtype != np.longdouble:
            raise TypeError(f"{subject.name}: the gradient of {name} is {gradient.dtype}")
    return dict(found)
