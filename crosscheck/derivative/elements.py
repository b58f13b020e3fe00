"""The whole numeric gradient, element by element: exact in where an error is, dear in evaluations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crosscheck.derivative.direction import spread
from crosscheck.derivative.line import UNIT_ROUNDOFF
from crosscheck.derivative.probe import Array, Forward, Values

#: Steps in units of the spread: three levels, extrapolated.
STEPS = (2.0**-5, 2.0**-6, 2.0**-7)
#: The same again this much smaller, where the levels do not settle: a kink lies within them.
SMALLER = 2.0**-13
#: How much an element's derivative may be off where its levels do not settle: it sits at a kink.
UNSETTLED = 1e-4


def every_element(
    forward: Forward,
    values: Values,
    name: str,
    cotangents: Values,
    *,
    stacked: bool = False,
) -> tuple[Array, Array]:
    """The gradient of ``f = Σ <cotangent, output>`` by three-level extrapolated central differences.

    Args:
        forward: from the arrays to the outputs.
        values: every array; not modified.
        name: the block to differentiate with respect to; float64.
        cotangents: output name → array.
        stacked: for a layer that treats samples independently (`treats_samples_alone`): the first
            axis of ``values[name]`` and of every output counts samples, and one element of every
            sample is moved at once, so that the cost is that of one sample.

    Returns:
        Gradient and estimated error, both shaped like ``values[name]``. The error is infinite
        where the levels do not settle or an output is not finite.

    Raises:
        ValueError: the block is not real, or an output has another number of samples.
    """
    point = np.asarray(values[name])
    if point.dtype.kind != "f":
        raise ValueError(f"{name} is {point.dtype}: whole numbers have no derivative")
    fixed = {k: a.copy() for k, a in values.items() if k != name}
    base = {k: np.asarray(a) for k, a in forward({**fixed, name: point.copy()}).items()}
    if stacked:
        for key in cotangents:
            shape = base[key].shape
            if not shape or shape[0] != point.shape[0]:
                raise ValueError(f"{key} has shape {shape}: it does not count samples first")
    scale = spread(point)
    size = sum(_total(np.abs(c * base[k]), stacked) for k, c in cotangents.items())

    def levels(where: tuple[int | slice, ...], steps: Sequence[float]) -> tuple[Array, Array]:
        """Derivative and estimated error by steps that halve."""
        slopes = []
        for step in steps:
            plus, minus = point.copy(), point.copy()
            plus[where] += step * scale
            minus[where] -= step * scale
            high, low = forward({**fixed, name: plus}), forward({**fixed, name: minus})
            difference = sum(
                _total(c * (np.asarray(high[k]) - np.asarray(low[k])), stacked)
                for k, c in cotangents.items()
            )
            slopes.append(difference / (plus[where] - minus[where]))  # the step really taken
        a, b, c = slopes
        first, second = (4 * b - a) / 3, (4 * c - b) / 3
        value = (16 * second - first) / 15
        rounding = 16 * UNIT_ROUNDOFF * size / (steps[-1] * scale)
        spread_of = np.abs(value - second)
        unsettled = spread_of > UNSETTLED * (np.abs(value) + np.abs(second)) + rounding
        estimate = 10 * spread_of + rounding
        estimate = np.where(unsettled | ~np.isfinite(estimate), np.inf, estimate)
        return np.asarray(value), np.asarray(estimate)

    gradient, error = np.zeros(point.shape), np.zeros(point.shape)
    with np.errstate(invalid="ignore"):
        for index in np.ndindex(point.shape[1:] if stacked else point.shape):
            where = (slice(None), *index) if stacked else index
            value, estimate = levels(where, STEPS)
            if not np.isfinite(estimate).all():
                again, finer = levels(where, [step * SMALLER for step in STEPS])
                value = np.where(finer < estimate, again, value)
                estimate = np.minimum(estimate, finer)
            gradient[where], error[where] = value, estimate
    return gradient, error


def treats_samples_alone(
    forward: Forward,
    values: Values,
    names: Sequence[str],
    outputs: Sequence[str],
    rng: np.random.Generator,
) -> bool:
    """Whether no output of a sample changes, to the last bit, when other samples do.

    Samples are told apart by the bits of their numbers: changing those whose bit is set leaves the
    others unchanged, and the other way round, so every pair of samples is tried, in
    2 log₂(samples) evaluations.

    Args:
        forward, values: as for `every_element`.
        names: the real inputs whose first axis counts samples.
        outputs: the outputs whose first axis does.
        rng: draws what is put in place of a sample: other values of the same array.
    """
    count = values[names[0]].shape[0]
    if count < 2:
        return False
    base = forward({k: a.copy() for k, a in values.items()})
    for bit in range((count - 1).bit_length()):
        for side in (0, 1):
            moved = (np.arange(count) >> bit) % 2 == side
            changed = {k: a.copy() for k, a in values.items()}
            for name in names:
                array = changed[name]
                array[moved] = rng.choice(array.ravel(), array[moved].shape)
            found = forward(changed)
            if not all(np.array_equal(found[k][~moved], base[k][~moved]) for k in outputs):
                return False
    return True


def _total(array: Array, stacked: bool) -> Array:
    """The sum over everything, or over everything but the samples."""
    return np.asarray(array.sum(axis=tuple(range(1, array.ndim)) if stacked else None))
