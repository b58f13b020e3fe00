"""Causes of wrong initialisers: which known mistake draws from the distribution that was drawn from?

Each candidate is a distribution: that of another initialiser, or the right one made wider or narrower by
a factor that a known mistake gives. The one that fits the draws best is named, if it fits by the bound
of `crosscheck.training.initialization`, and the right one does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from crosscheck.comparison import Verdict
from crosscheck.spec import Array
from crosscheck.training.initialization import INITIALIZERS, SHAPE, Draw, Initializer, drawn, fit

#: Factors of the spread that mistakes give, with the mistake.
_OUT, _IN = SHAPE[0] * math.prod(SHAPE[2:]), SHAPE[1] * math.prod(SHAPE[2:])
_FACTORS = {
    "the variance of a uniform distribution taken for its bound: √3 is missing": 1 / math.sqrt(3),
    "the bound of a uniform distribution taken for its deviation: √3 too much": math.sqrt(3),
    "the root of 2 is missing, as the gain of a ReLU": 1 / math.sqrt(2),
    "the root of 2 is there once too often, as the gain of a ReLU": math.sqrt(2),
    "it is twice as wide": 2.0,
    "it is half as wide": 0.5,
}
#: Where a distribution is looked at to find its mean and deviation.
_GRID = np.linspace(-8, 8, 20001)


def explain_initializer(name: str, draw: Draw, *, seed: int = 0) -> str:
    """The probable mistake of an initialiser, in words; "" if it is right or none is known.

    Args:
        name: an initialiser in `INITIALIZERS`.
        draw: as for `check_initializer`.
        seed: names the draws.
    """
    entry = INITIALIZERS[name]
    arrays = drawn(entry, draw, seed)
    if fit(entry, "subject", arrays).verdict is Verdict.AGREE:
        return ""
    if all(np.ptp(array) == 0 for array in arrays):
        return (
            f"all elements are {arrays[0].flat[0]:g}: nothing is drawn, and all units stay equal."
        )
    every = np.concatenate([array.ravel() for array in arrays])
    if np.mean(np.isin(every, (entry.low, entry.high))) > 0.01:
        return "what falls outside the bounds is put on them: it has to be drawn again."
    limit = fit(entry, "subject", arrays).limit
    others = [c for c in _candidates(entry) if _apart(entry, c[1]) > limit]
    fits = [(fit(other, "subject", arrays), says) for says, other in others]
    fitting = [(found.distance, says) for found, says in fits if found.verdict is Verdict.AGREE]
    return min(fitting, default=(0.0, ""))[1]


def _candidates(entry: Initializer) -> Iterator[tuple[str, Initializer]]:
    mean, deviation = _moments(entry)
    gain = (entry.arguments or {}).get("gain", 1.0)
    factors = {
        **_FACTORS,
        "fan_in stands for the mean of both fans": math.sqrt((_IN + _OUT) / (2 * _IN)),
        "fan_out stands for the mean of both fans": math.sqrt((_IN + _OUT) / (2 * _OUT)),
        "fan_in stands for fan_in + fan_out": math.sqrt((_IN + _OUT) / _IN),
        "fan_out stands for fan_in + fan_out": math.sqrt((_IN + _OUT) / _OUT),
        "fan_in stands for fan_out": math.sqrt(_OUT / _IN),
        "fan_out stands for fan_in": math.sqrt(_IN / _OUT),
        "the kernel's size is left out of the fan": math.sqrt(math.prod(SHAPE[2:])),
        "the variance stands for the deviation: a root is missing": deviation,
    }
    if gain != 1:
        factors["the gain has no effect"] = 1 / gain
    for says, factor in factors.items():
        yield f"{says}.", _as(entry, partial(_stretched, entry, mean, factor))
    root = math.sqrt(3) * deviation
    yield (
        "it is uniform, with the right deviation: a normal distribution is meant.",
        _as(entry, lambda x: np.clip((x - mean + root) / (2 * root), 0, 1)),
    )
    yield (
        "it is normal, with the right deviation: another distribution is meant.",
        _as(entry, lambda x: _normal((x - mean) / deviation)),
    )
    yield (
        "it is centred on 0: the mean has no effect.",
        _as(entry, lambda x: entry.cdf(x + mean)),
    )


def _apart(entry: Initializer, other: Initializer) -> float:
    """How far two distributions are apart: what is near the right one explains nothing."""
    return float(np.max(np.abs(entry.cdf(_GRID) - other.cdf(_GRID))))


def _as(entry: Initializer, cdf: object) -> Initializer:
    """A candidate: another distribution, drawn and sampled alike."""
    return Initializer(entry.name, cdf, sample=entry.sample)  # type: ignore[arg-type]


def _stretched(entry: Initializer, mean: float, factor: float, x: Array) -> Array:
    return entry.cdf(mean + (x - mean) / factor)


def _normal(x: Array) -> Array:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.ravel(x)])


def _moments(entry: Initializer) -> tuple[float, float]:
    """Mean and standard deviation, from the distribution function."""
    weight = np.diff(entry.cdf(_GRID))
    middle = (_GRID[1:] + _GRID[:-1]) / 2
    mean = float(weight @ middle)
    return mean, math.sqrt(float(weight @ (middle - mean) ** 2))
