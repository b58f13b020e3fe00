"""Random directions: one weight per element, scaled by the block, on a grid that keeps steps exact.

A weight is ``±U[0.5, 1.5]``: never small, so a lone wrong element above the limit always shows, and
continuous, so that two wrong elements cancel with probability zero (±1 alone misses a pair of
opposite errors half the time). Each block is scaled by the spread of its own values, so that one
step size suits all of them and a large block does not hide a small one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from crosscheck.derivative.probe import Array, Values

#: Weights are multiples of 2^-GRID times the scale: added to numbers of 24 bits (float32) at steps
#: down to 2^-24, the sum still has at most 53 bits, and the step that is taken is the step meant.
GRID = 18


def spread(array: Array) -> float:
    """The size of a sensible step in a block, a power of two: its standard deviation.

    Where all values are nearly equal (one element, a constant), their magnitude instead; 1 for zeros.
    An offset does not count: around 1000 ± 1 a step of 100 would leave the neighbourhood.
    """
    if not array.size:
        return 1.0
    with np.errstate(over="ignore"):
        rms = _rms(array)
    if rms == 0 or not math.isfinite(rms):
        return 1.0
    deviation = _rms(array - np.add.reduce(array, axis=None, dtype=np.float64) / array.size)
    size = deviation if deviation > 1e-10 * rms else rms
    return float(2.0 ** round(math.log2(size)))


def _rms(array: Array) -> float:
    """The root of the mean square."""
    square = np.add.reduce(np.square(array, dtype=np.float64), axis=None)
    return math.sqrt(float(square) / array.size)


def draw(values: Values, names: Sequence[str], rng: np.random.Generator) -> dict[str, Array]:
    """A direction over the named blocks.

    Args:
        values: name → array; blocks of float64.
        names: the blocks to move.
        rng: where the weights come from.
    """
    found = {}
    for name in names:
        shape = values[name].shape
        weights = np.asarray(rng.uniform(0.5, 1.5, shape))
        signs = rng.integers(0, 2, shape, dtype=np.int8)
        np.negative(weights, out=weights, where=signs == 0)  # in place: these may be large
        weights *= 2.0**GRID
        np.round(weights, out=weights)
        weights *= 2.0**-GRID * spread(values[name])
        found[name] = weights
    return found


def displaced(values: Values, direction: Mapping[str, Array], step: complex) -> dict[str, Array]:
    """``values + step · direction``; blocks that do not move are copied, not shared."""
    found = {}
    for name, array in values.items():
        found[name] = np.asarray(step * direction[name]) if name in direction else array.copy()
        if name in direction:
            found[name] += array  # in place: these may be large
    return found


def moves(values: Values, direction: Mapping[str, Array], step: float) -> bool:
    """Whether the step changes every element: at 1e17 a step of 1 is no step at all."""
    return all(
        bool(np.all(values[name] + step * v != values[name] - step * v))
        for name, v in direction.items()
    )
