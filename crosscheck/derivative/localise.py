"""Which element of a gradient is wrong: a search that asks for several bits at a time.

The residual of a probe is ``Σ v_i d_i``, d the error of the gradient. If only one element is wrong,
weighting the candidates' chunks with 0, 1/(m−1), …, 1 makes the residual itself say which chunk holds
it; one derivative then gives log₂ m bits instead of bisection's one. Where the answer is no multiple,
several elements are wrong, and the search goes on in the half with the larger residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosscheck.derivative.complex_step import complex_step
from crosscheck.derivative.direction import draw
from crosscheck.derivative.line import UNIT_ROUNDOFF, Line, NotFinite
from crosscheck.derivative.probe import Array, Forward, Values

#: Steps of the central differences to choose from, in units of the spread: the second for a function
#: that is sharp, or kinked, within the first.
STEPS = (2.0**-13, 2.0**-21)
#: Chunks a derivative can tell apart at most.
MOST_CHUNKS = 4096
#: A tolerance is a bound; what rounding usually does to a residual is this share of it.
USUAL = 1e-2
#: Share of a chunk's weight that noise may move the answer by.
SHARP = 0.2


@dataclass(frozen=True)
class Location:
    """What the search found.

    Attributes:
        indices: the wrong element; the worst one found if several are wrong.
        analytic, numeric: the gradient's value there, and what it should be.
        evaluations: forward evaluations spent.
        several: whether more than one element is wrong.
        confirmed: whether the element itself was differentiated and found wrong.
    """

    indices: tuple[int, ...]
    analytic: float
    numeric: float
    evaluations: int
    several: bool
    confirmed: bool


def localise(
    forward: Forward,
    values: Values,
    name: str,
    cotangents: Values,
    gradient: Array,
    rng: np.random.Generator,
    *,
    tolerance: float,
    budget: int = 25,
) -> Location:
    """Find the wrong element of an analytic gradient that failed a probe.

    Args:
        forward, values, cotangents: as for `differentiate`.
        name: the block whose gradient is wrong.
        gradient: the analytic gradient, shaped like ``values[name]``.
        rng: draws the weights.
        tolerance: residuals below this are right; in the unit of a probe, ``Σ v_i g_i``.
        budget: forward evaluations at most.
    """
    return search_for(Search(forward, values, name, cotangents, gradient, rng), tolerance, budget)


def search_for(search: Search, tolerance: float, budget: int) -> Location:
    """`localise`, on a search that may go on to ask other things."""
    gradient = search.gradient
    candidates = np.arange(gradient.size)
    total = search.residual(candidates, np.ones(gradient.size))
    several = False
    while candidates.size > 1 and search.evaluations + 3 * search.price <= budget:
        resolution = max(tolerance * USUAL, search.error)
        chunks = int(min(MOST_CHUNKS, candidates.size, max(2.0, SHARP * abs(total) / resolution)))
        if several:
            chunks = 2
        parts = np.array_split(candidates, chunks)
        weights = np.concatenate(
            [np.full(part.size, i / (chunks - 1)) for i, part in enumerate(parts)]
        )
        answer = search.residual(candidates, weights)
        place = answer / total * (chunks - 1) if total else -1.0
        nearest = int(np.clip(np.round(place), 0, chunks - 1))
        if chunks > 2:
            # The weight of one wrong element is a multiple; that of several is one by chance.
            whole = search.residual(parts[nearest]) if abs(place - nearest) < 2 * SHARP else 0.0
            several = abs(whole - total) > 4 * resolution + 1e-6 * abs(total)
            if several:
                continue
        if chunks == 2:
            first = total - answer
            nearest = int(abs(answer) > abs(first))
            several = several or min(abs(answer), abs(first)) > 4 * resolution
            total = answer if nearest else first
        candidates = parts[nearest]
    chosen = int(candidates[0])
    if candidates.size > 1:
        chosen = int(candidates[candidates.size // 2])
    numeric = search.element(chosen)
    indices = tuple(int(i) for i in np.unravel_index(chosen, gradient.shape))
    analytic = float(gradient[indices])
    weight = abs(float(search.v.ravel()[chosen]))
    confirmed = candidates.size == 1 and abs(analytic - numeric) * weight > tolerance
    return Location(indices, analytic, numeric, search.evaluations, several, confirmed)


class Search:
    """Residuals ``<w v, gradient> − D_{w v} f`` over subsets of one block's elements."""

    def __init__(
        self,
        forward: Forward,
        values: Values,
        name: str,
        cotangents: Values,
        gradient: Array,
        rng: np.random.Generator,
    ) -> None:
        self.forward, self.values, self.name, self.cotangents = forward, values, name, cotangents
        self.gradient = gradient
        self.v = draw(values, [name], rng)[name]
        found = forward({k: a.copy() for k, a in values.items()})
        self.base = {k: np.asarray(found[k]) for k in cotangents}
        self.evaluations = 1
        self.price = 2
        self.step = STEPS[0]
        self.error = 0.0
        self._choose()

    def _choose(self) -> None:
        """The step that settles best; the complex one if it agrees with a central difference."""
        line = self._line({self.name: self.v})
        imaginary = complex_step(line)
        self.error = np.inf
        for step in STEPS:
            slope, size, _ = line.pair(step)
            finer, _, _ = line.pair(step / 2)
            _, magnitude = line.weigh(dict(self.base))
            error = 4 * abs(slope - finer) + 16 * UNIT_ROUNDOFF * magnitude / step
            if imaginary is not None and abs(imaginary[0] - finer) <= 1e-6 * size:
                self.price = 1
                self.error = 1e-15 * size
                break
            if error < self.error:
                self.step, self.error = step / 2, error
            if error < 1e-8 * size:
                break
        self.evaluations += line.evaluations

    def _line(self, direction: dict[str, Array]) -> Line:
        return Line(self.forward, self.values, direction, self.cotangents, self.base)

    def residual(self, candidates: Array, weights: Array | float = 1.0) -> float:
        """Of the elements at flat indices `candidates`, weighted."""
        direction = np.zeros(self.gradient.size)
        direction[candidates] = self.v.ravel()[candidates] * weights
        direction = direction.reshape(self.gradient.shape)
        return float(np.sum(direction * self.gradient)) - self._derivative(direction)

    def element(self, flat: int) -> float:
        """The derivative with respect to one element."""
        direction = np.zeros(self.gradient.size)
        direction[flat] = self.v.ravel()[flat]
        return self._derivative(direction.reshape(self.gradient.shape)) / float(direction[flat])

    def _derivative(self, direction: Array) -> float:
        line = self._line({self.name: direction})
        try:
            if self.price == 1:
                found = complex_step(line)
                return found[0] if found is not None else float("nan")
            return line.pair(self.step)[0]
        except NotFinite:
            return float("nan")
        finally:
            self.evaluations += line.evaluations
