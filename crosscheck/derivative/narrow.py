"""From a failed probe to the wrong elements: which they are, how wrong, and where in the array they lie.

A small gradient is differentiated element by element. In a large one the search finds the worst
element; whether the others lie in its row, on the border and so on is then one derivative a guess:
the residual of everything else vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from crosscheck.derivative.elements import every_element
from crosscheck.derivative.line import NotFinite
from crosscheck.derivative.localise import Search, search_for
from crosscheck.derivative.probe import Array, Forward, Values
from crosscheck.derivative.region import describe_region

#: Gradients up to this size are differentiated element by element.
FEW = 128
#: Elements of a guessed region that are differentiated to see whether all of it is wrong.
SAMPLE = 6
#: Forward evaluations of a search; one wrong element is found in 25.
BUDGET = 64


@dataclass(frozen=True)
class Narrowed:
    """Where a gradient is wrong.

    Attributes:
        indices: the worst wrong element, or the worst found; None if no single one stands out.
        analytic, numeric: the gradient there, and what it should be.
        where: a phrase: ``row 3``.
        gradient: the whole numeric gradient, if it was taken.
        evaluations: forward evaluations spent; counted for large gradients only.
    """

    indices: tuple[int, ...] | None
    analytic: float
    numeric: float
    where: str
    gradient: Array | None = None
    evaluations: int = 0

    def __str__(self) -> str:
        if self.indices is None:
            return self.where
        return (
            f"at {list(self.indices)} it is {self.analytic:.9g}, should be {self.numeric:.9g}; "
            f"wrong in {self.where}"
        )


def narrow(
    forward: Forward,
    values: Values,
    name: str,
    cotangents: Values,
    gradient: Array,
    rng: np.random.Generator,
    *,
    tolerance: float,
) -> Narrowed | None:
    """Narrow a failed probe to the wrong elements.

    Args:
        forward, values, cotangents: as for `differentiate`.
        name: the block whose gradient failed.
        gradient: the analytic gradient, shaped like ``values[name]``.
        rng: draws the weights.
        tolerance: of the failed probe.

    Returns:
        None where an output is not finite next to the point.
    """
    try:
        search = Search(forward, values, name, cotangents, gradient, rng)
        if gradient.size > FEW:
            return _large(search, tolerance)
        numeric, error = every_element(forward, values, name, cotangents)
    except NotFinite:
        return None
    allowed = tolerance / np.abs(search.v) + error
    off = np.where(np.isfinite(error), np.abs(gradient - numeric), 0.0)
    wrong = off > allowed
    if not wrong.any():
        return Narrowed(None, 0.0, 0.0, "no single element stands out", numeric)
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    return Narrowed(
        worst, float(gradient[worst]), float(numeric[worst]), describe_region(wrong), numeric
    )


def _large(search: Search, tolerance: float) -> Narrowed:
    found = search_for(search, tolerance, budget=BUDGET)
    if not found.confirmed:
        where = _sampled(search, tolerance, np.arange(search.gradient.size))
        return Narrowed(None, 0.0, 0.0, where, evaluations=search.evaluations)
    where = f"one element, {list(found.indices)}"
    if found.several:
        where = _region(search, found.indices, tolerance)
    return Narrowed(
        found.indices, found.analytic, found.numeric, where, evaluations=search.evaluations
    )


def _region(search: Search, element: tuple[int, ...], tolerance: float) -> str:
    """The smallest guessed region around an element outside of which nothing is wrong."""
    allowed = 4 * max(tolerance, search.error)
    for mask in _guesses(search.gradient.shape, element):
        if abs(search.residual(np.flatnonzero(~mask))) <= allowed:
            return _sampled(search, tolerance, np.flatnonzero(mask), describe_region(mask))
    return _sampled(search, tolerance, np.arange(search.gradient.size))


def _guesses(shape: tuple[int, ...], element: tuple[int, ...]) -> Iterator[Array]:
    """Lines, planes, the diagonal and the border through an element, as masks; small ones first."""
    for fixed in range(len(shape) - 1, 0, -1):
        for axes in combinations(range(len(shape)), fixed):
            mask = np.zeros(shape, dtype=bool)
            mask[tuple(element[a] if a in axes else slice(None) for a in range(len(shape)))] = True
            yield mask
    if len(shape) >= 2 and shape[-1] == shape[-2] and element[-1] == element[-2]:
        yield np.broadcast_to(np.eye(shape[-1], dtype=bool), shape)
    if len(shape) >= 2 and min(shape[-2:]) >= 3:
        border = np.ones(shape, dtype=bool)
        border[..., 1:-1, 1:-1] = False
        if border[element]:
            yield border


def _sampled(search: Search, tolerance: float, flat: Array, name: str = "") -> str:
    """How many of a few elements of a region are wrong, in words."""
    chosen = np.unique(np.linspace(0, flat.size - 1, SAMPLE).astype(int))
    wrong = 0
    for index in flat[chosen]:
        off = abs(search.gradient.ravel()[index] - search.element(int(index)))
        wrong += bool(off * abs(search.v.ravel()[index]) > max(tolerance, search.error) / 8)
    whole = wrong == chosen.size
    if name:
        return name if whole else f"some elements of {name}"
    if whole:
        return "every element" if chosen.size < flat.size else "all of it"
    return f"several elements, scattered ({wrong} of {chosen.size} sampled ones are wrong)"
