"""What values make sense in an array: drawn per array, deterministic in the generator.

Real values are drawn representable in float32, so that one case serves both dtypes and a
framework's float32 answer can be compared with its float64 one (`crosscheck.tolerance`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from crosscheck.spec import Array, Problem, Shape

    Draw = Callable[[np.random.Generator, Shape, Problem], Array]


@dataclass(frozen=True)
class Domain:
    """How the values of an array are drawn.

    Attributes:
        name: for messages and for telling domains apart.
        draw: ``draw(rng, shape, problem)`` → array of that shape: float64, int64 or bool.
        differentiable: False for indices, masks and lengths.
        low, high: the bounds of the values, if there are any, so that a special case or a
            hypothesis strategy does not leave them.
    """

    name: str
    draw: Draw
    differentiable: bool = True
    low: float = -np.inf
    high: float = np.inf


def _normal(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    return rng.standard_normal(shape)


NORMAL = Domain("normal", _normal)


def scaled(factor: float) -> Domain:
    """Normal values times `factor`: weights of a recurrent layer, say, that should not saturate."""
    return Domain(
        f"normal*{factor:g}", lambda rng, shape, problem: factor * rng.standard_normal(shape)
    )


def uniform(low: float, high: float) -> Domain:
    """Uniform in (low, high), bounds excluded."""
    margin = 1e-3 * (high - low)
    return Domain(
        f"uniform({low:g},{high:g})",
        lambda rng, shape, problem: rng.uniform(low + margin, high - margin, shape),
        low=low,
        high=high,
    )


#: Probabilities, each on its own: the prediction of a BCELoss.
PROBABILITY = uniform(0.0, 1.0)
#: Positive numbers around 1: variances, rates.
POSITIVE = Domain(
    "positive", lambda rng, shape, p: np.exp(0.5 * rng.standard_normal(shape)), low=0.0
)


def distribution(axis: int = -1) -> Domain:
    """Probabilities that sum to one along `axis`."""

    def draw(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
        raw = np.exp(rng.standard_normal(shape))
        return np.asarray(raw / raw.sum(axis=axis, keepdims=True))

    return Domain("distribution", draw, low=0.0, high=1.0)


def log_distribution(axis: int = -1) -> Domain:
    """Log-probabilities whose exponentials sum to one along `axis`."""
    inner = distribution(axis)
    return Domain("log distribution", lambda rng, s, p: np.log(inner.draw(rng, s, p)), high=0.0)


def signs() -> Domain:
    """-1 or +1, as floats; not differentiated."""
    return Domain("signs", lambda rng, s, p: rng.choice([-1.0, 1.0], size=s), differentiable=False)


def indices(below: str | int | Callable[[Problem], int]) -> Domain:
    """int64 indices in [0, below); `below` is an axis or option name, a number or a function."""

    def draw(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
        top: Any = problem[below] if isinstance(below, str) else below
        return rng.integers(0, top(problem) if callable(top) else top, size=shape)

    return Domain("indices", draw, differentiable=False, low=0)


def mask(probability: float = 0.7) -> Domain:
    """Booleans, True with the given probability."""
    return Domain(
        "mask", lambda rng, shape, problem: rng.random(shape) < probability, differentiable=False
    )


def custom(name: str, draw: Draw, differentiable: bool = True) -> Domain:
    """Any other way of drawing."""
    return Domain(name, draw, differentiable)
