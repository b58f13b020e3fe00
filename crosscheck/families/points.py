"""Special points that many layers share: extreme values, exact zeros, ties.

Each function here returns what `Layer.special` holds: a change of drawn values. One that lands on
a kink says so (`at_kink`), because no numeric derivative exists there: at such a point the
frameworks are the only oracles, and what they say is a convention (see `crosscheck.differences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crosscheck.sampling import EXTREME
from crosscheck.spec import Array, Problem, SpecialCase


def at_kink(change: SpecialCase) -> SpecialCase:
    """Mark a change of values as landing where the layer is not differentiable."""
    change.at_kink = True  # type: ignore[attr-defined]
    return change


def extreme(*names: str, scale: float = EXTREME) -> SpecialCase:
    """The named inputs `scale` times as large: where an exponential overflows."""

    def change(
        rng: np.random.Generator, problem: Problem, values: dict[str, Array]
    ) -> dict[str, Array]:
        return {**values, **{name: values[name] * scale for name in names}}

    return change


def zeros(*names: str, share: float = 0.3) -> SpecialCase:
    """Some elements of the named inputs exactly zero: the kink of relu and its like."""

    def change(
        rng: np.random.Generator, problem: Problem, values: dict[str, Array]
    ) -> dict[str, Array]:
        changed: dict[str, Any] = dict(values)
        for name in names:
            changed[name] = np.where(rng.random(values[name].shape) < share, 0.0, values[name])
        return changed

    return at_kink(change)


def ties(*names: str, levels: int = 3) -> SpecialCase:
    """The named inputs drawn from a few integers, zero among them: equal maxima in a window."""

    def change(
        rng: np.random.Generator, problem: Problem, values: dict[str, Array]
    ) -> dict[str, Array]:
        changed: dict[str, Any] = dict(values)
        for name in names:
            changed[name] = (
                rng.integers(-(levels // 2), levels - levels // 2, values[name].shape) * 1.0
            )
        return changed

    return at_kink(change)


def exactly(name: str, points: Sequence[float], share: float = 0.5) -> SpecialCase:
    """Some elements of an input exactly at the given points: where an activation has its kinks."""

    def change(
        rng: np.random.Generator, problem: Problem, values: dict[str, Array]
    ) -> dict[str, Array]:
        array = values[name]
        at = rng.choice(np.asarray(points, dtype=np.float64), size=array.shape)
        return {**values, name: np.where(rng.random(array.shape) < share, at, array)}

    return at_kink(change)
