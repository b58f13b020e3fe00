"""What forbids differentiating a forward, or makes its derivative coarse, and how it is noticed."""

from __future__ import annotations

import numpy as np

from crosscheck.derivative.line import Line
from crosscheck.derivative.probe import Array, Forward, Status, Values

#: Unit roundoff of float32, for forwards that insist on it.
SINGLE = 2.0**-24


def base_point(
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


def _another(one: Array, other: Array) -> bool:
    """Whether two outputs differ by more than a sum in another order would make them."""
    if one.dtype.kind not in "fc" or one.shape != other.shape:
        return not np.array_equal(one, other)
    with np.errstate(invalid="ignore"):
        difference = np.abs(one - other)
    rounding = 2.0**10 * float(np.finfo(one.dtype).eps) * np.max(np.abs(one), initial=0.0)
    return bool(np.any(difference > rounding) or np.any(np.isnan(one) != np.isnan(other)))


def computes_in_float32(line: Line) -> bool:
    """Whether the forward computes in float32 (or less) whatever it is given.

    Its outputs are then float32, or numbers of float32 in a wider array, or stand still while the
    arguments move by less than float32 resolves.
    """
    base = line.base
    if any(array.dtype in (np.float32, np.float16) for array in base.values()):
        return True
    # Not a smaller step: what float64 rounds would hold a difference of large numbers still as well.
    far, half, near = (line.at(step) for step in (2.0**-12 * 1.0123, 2.0**-13, 2.0**-30))
    moved = inexact = steady = stuck = 0
    for k, at_rest in base.items():
        # What moves by several roundings of float32 is neither saturated nor at rest; around 0 every
        # step is resolved, and what stands still there is flat.
        rounding = 4 * SINGLE * np.abs(at_rest)
        whole, part = np.abs(far[k] - at_rest), np.abs(half[k] - at_rest)
        moves = (at_rest != 0) & (whole > rounding)
        moved += int(np.count_nonzero(moves))
        inexact += int(np.count_nonzero(far[k][moves] != far[k][moves].astype(np.float32)))
        # What moves half as much with half the step does not jump, as a saturated softmax does from
        # one of its arguments to another.
        moves &= np.abs(part - whole / 2) <= whole / 4 + rounding / 2
        steady += int(np.count_nonzero(moves))
        stuck += int(np.count_nonzero(moves & (near[k] == at_rest)))
    return moved > 0 and (inexact == 0 or stuck > steady / 2)
