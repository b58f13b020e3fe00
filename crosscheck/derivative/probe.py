"""What a numeric derivative is: a number along a direction, with an error estimate of its own."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Values: TypeAlias = Mapping[str, Array]
Forward: TypeAlias = Callable[[Values], Mapping[str, Array]]


class Status(enum.Enum):
    """How a derivative went."""

    SMOOTH = "smooth"
    KINK = "kink"
    NOISY = "noisy"
    NON_FINITE = "non-finite"
    LOW_PRECISION = "low precision"
    NO_STEP = "no step"
    INTEGER = "integer"
    MUTATES = "mutates"


@dataclass(frozen=True)
class Probe:
    """The derivative of ``f = Σ_k <cotangent_k, output_k>`` along one direction.

    Attributes:
        direction: name → v, shaped like ``values[name]``; only the names that move.
        value: the derivative of f along v; NaN where `reason` is set.
        error: estimated bound on ``|value - true derivative|``.
        method: how it was found.
        evaluations: forward evaluations spent on it (shared ones are counted with the first).
        scale: ``sqrt(Σ_j (c_j (J v)_j)²)`` over all output elements j: the size against which
            an error is natural, never small by cancellation as `value` may be.
        reason: why there is no value, as a sentence; None if there is one.
        status: the same as a word. `LOW_PRECISION` may come with a value of large error.
    """

    direction: Mapping[str, Array]
    value: float
    error: float
    method: str
    evaluations: int
    scale: float
    reason: str | None = None
    status: Status = Status.SMOOTH
