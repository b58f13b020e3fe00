"""The whole numeric gradient, element by element: exact in where an error is, dear in evaluations."""

from __future__ import annotations

import numpy as np

from crosscheck.derivative.direction import spread
from crosscheck.derivative.line import UNIT_ROUNDOFF
from crosscheck.derivative.probe import Array, Forward, Values

#: Steps in units of the spread: three levels, extrapolated.
STEPS = (2.0**-5, 2.0**-6, 2.0**-7)
#: How much an element's derivative may be off where its levels do not settle: it sits at a kink.
UNSETTLED = 1e-4


def every_element(
    forward: Forward,
    values: Values,
    name: str,
    cotangents: Values,
    *,
    batch_axis: int | None = None,
) -> tuple[Array, Array]:
    """The gradient of ``f = Σ <cotangent, output>`` by three-level extrapolated central differences.

    Args:
        forward: from the arrays to the outputs.
        values: every array; not modified.
        name: the block to differentiate with respect to; float64.
        cotangents: output name → array.
        batch_axis: for a layer that treats samples independently, the axis of ``values[name]`` and
            of every output that counts samples: one element of every sample is moved at once, so
            the cost is that of one sample.

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
    if batch_axis is not None:
        for key in cotangents:
            shape = base[key].shape
            if not shape or shape[0] != point.shape[batch_axis]:
                raise ValueError(f"{key} has shape {shape}: it does not count samples first")
    scale = spread(point)
    gradient, error = np.zeros(point.shape), np.zeros(point.shape)
    moved = np.moveaxis(gradient, batch_axis, 0)[0] if batch_axis is not None else gradient
    for index in np.ndindex(moved.shape):
        where: tuple[int | slice, ...] = index
        if batch_axis is not None:
            where = (*index[:batch_axis], slice(None), *index[batch_axis:])
        levels = []
        magnitude: Array | float = 0.0
        for step in STEPS:
            plus, minus = point.copy(), point.copy()
            plus[where] += step * scale
            minus[where] -= step * scale
            taken = plus[where] - minus[where]  # the step that was really taken
            high, low = forward({**fixed, name: plus}), forward({**fixed, name: minus})
            slope: Array | float = 0.0
            magnitude = 0.0
            for key, cotangent in cotangents.items():
                product = cotangent * (np.asarray(high[key]) - np.asarray(low[key]))
                size = np.abs(cotangent * base[key])
                axes = tuple(range(1, product.ndim)) if batch_axis is not None else None
                slope = slope + product.sum(axis=axes)
                magnitude = magnitude + size.sum(axis=axes)
            levels.append(slope / taken)
        a, b, c = levels
        first, second = (4 * b - a) / 3, (4 * c - b) / 3
        value = (16 * second - first) / 15
        gradient[where] = value
        rounding = 16 * UNIT_ROUNDOFF * magnitude / (STEPS[-1] * scale)
        estimate = 2 * np.abs(value - second) + rounding
        unsettled = np.abs(value - second) > UNSETTLED * (np.abs(value) + np.abs(second)) + rounding
        error[where] = np.where(unsettled | ~np.isfinite(estimate), np.inf, estimate)
    return gradient, error
