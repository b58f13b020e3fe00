"""What a witness says of a case, and the protocol of whoever says it.

An `Implementation` is bound to a `Problem` (compiled, constructed: whatever costs once) and is then
a function and its vector-Jacobian product. Arrays on both sides are canonical NumPy arrays.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crosscheck.spec import Array, Problem, Values


@dataclass(frozen=True)
class Evaluation:
    """What one witness gives for one case.

    Attributes:
        outputs: output name → array, and buffer name → its new value.
        gradients: name of an input or parameter → gradient of ``sum(cotangent * output)``.
        absent: gradient name → why the witness does not give it.
    """

    outputs: Mapping[str, Array]
    gradients: Mapping[str, Array]
    absent: Mapping[str, str] = field(default_factory=dict)


class Bound(Protocol):
    """An implementation bound to a problem."""

    def forward(self, values: Values) -> Mapping[str, Array]:
        """Outputs and new buffers. Must not change `values`."""
        ...

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Outputs, and the gradients of ``sum(cotangent * output)``."""
        ...


def both_precisions(
    bound: Bound, values: Values, cotangents: Values
) -> tuple[Evaluation, Evaluation]:
    """What an implementation says of the same numbers in float32 and in float64.

    Args:
        bound: what to ask; one with a method of this name can answer both at less cost.
        values, cotangents: arrays, real ones in float32.
    """
    ask = getattr(bound, "both_precisions", None)
    if ask is not None:
        low, high = ask(values, cotangents)
        return low, high
    return bound.vjp(values, cotangents), bound.vjp(
        cast(values, "float64"), cast(cotangents, "float64")
    )


def cast(values: Values, dtype: str) -> dict[str, Array]:
    """Real arrays in a dtype, the others as they are."""
    return {k: a.astype(dtype) if a.dtype.kind == "f" else a for k, a in values.items()}


class Implementation(Protocol):
    """A witness: anything that can be bound to a problem.

    Attributes:
        name: what reports call it: ``numpy``, ``torch``, ``jax`` or the class's name.
    """

    @property
    def name(self) -> str: ...

    def bind(self, problem: Problem) -> Bound:
        """Prepare for a problem.

        Raises:
            NotOffered: the implementation has no such option.
            ImplementationError: its constructor raised.
        """
        ...


class NotOffered(Exception):
    """The implementation does not have an option of the layer; not a mistake, but unchecked."""


class OneNumber(NotOffered):
    """It takes one number for all axes of space, and here they differ."""


class ImplementationError(Exception):
    """Somebody's code raised, or cannot be called as its convention says.

    The message is for the person who wrote it: the end of their traceback, without our frames.
    """

    @classmethod
    def during(cls, what: str, error: BaseException) -> ImplementationError:
        """Wrap an exception out of foreign code, keeping only the foreign frames."""
        ours = str(Path(__file__).resolve().parent)
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(ours)
        ]
        trace = "".join(traceback.format_list(frames[-6:]))
        head = "".join(traceback.format_exception_only(error)).strip()
        return cls(f"{what} raised {head}" + (f"\n{trace.rstrip()}" if trace else ""))


def first_line(error: BaseException) -> str:
    """What an exception says, short."""
    return str(error).partition("\n")[0]
