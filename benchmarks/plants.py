"""Errors to plant in a correct layer: each kind turns a right gradient into a wrong one.

They are what hand-written backwards get wrong: a factor, a sign, a sum over the wrong axis, a
neighbour's index, the upstream gradient dropped, a stale input, an element at the border. A plant
that changes nothing beyond rounding at a given point (the row that is zeroed was zero) is
*equivalent* there, and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from crosscheck.case import Case
from crosscheck.evaluation import Bound, Evaluation
from crosscheck.spec import Array, Problem, Values
from crosscheck.tolerance import UNIT_ROUNDOFF

#: A plant that moves no element by this many roundings of the largest one is equivalent.
ROUNDINGS = 1000


@dataclass(frozen=True)
class Call:
    """One backward call into which an error is planted.

    Attributes:
        gradient: the right gradient.
        quantity: whose.
        values, cotangents: what the call was given.
        right: the correct code, to be asked for something else than it was.
        place: names the elements that are hit, the same at every call.
    """

    gradient: Array
    quantity: str
    values: Values
    cotangents: Values
    right: Bound
    place: int

    def at(self, count: int = 1) -> tuple[Array, ...]:
        """Indices of `count` different elements."""
        rng = np.random.default_rng(self.place)
        size = self.gradient.size
        return np.unravel_index(
            rng.choice(size, min(count, size), replace=False), self.gradient.shape
        )

    @property
    def norm(self) -> float:
        """The gradient's 2-norm."""
        return float(np.linalg.norm(self.gradient.astype(np.float64)))

    def asked(self, values: Values | None = None, cotangents: Values | None = None) -> Array:
        """The right gradient for other values or cotangents."""
        found = self.right.vjp(values or self.values, cotangents or self.cotangents)
        return found.gradients[self.quantity]


def _with(call: Call, where: object, change: Callable[[Array], Array]) -> Array:
    wrong = call.gradient.copy()
    wrong[where] = change(wrong[where])  # type: ignore[index]
    return wrong


def _row(call: Call) -> tuple[object, ...]:
    return (call.place % call.gradient.shape[0],)


def _opposite(call: Call) -> Array:
    """Two elements off by the same amount, in opposite directions."""
    wrong = call.gradient.copy()
    where = call.at(2)
    wrong[where] += 1e-3 * call.norm * np.array([1.0, -1.0])[: where[0].size]
    return wrong


def _others(call: Call) -> Array:
    ones = {k: np.ones_like(a) for k, a in call.cotangents.items()}
    return call.asked(cotangents=ones)


def _squared(call: Call) -> Array:
    return call.asked(cotangents={k: a * np.abs(a) for k, a in call.cotangents.items()})


def _stale(call: Call) -> Array:
    moved = {
        k: a * a.dtype.type(1.01) if a.dtype.kind == "f" else a for k, a in call.values.items()
    }
    return call.asked(values=moved)


#: kind → the wrong gradient, or None where the kind does not apply.
KINDS: Mapping[str, Callable[[Call], Array | None]] = {
    "times 1.01": lambda c: c.gradient * 1.01,
    "times 1.0001": lambda c: c.gradient * 1.0001,
    "times 2": lambda c: c.gradient * 2,
    "halved": lambda c: c.gradient / 2,
    "sign flipped": lambda c: -c.gradient,
    "zero": lambda c: c.gradient * 0,
    "times the first axis": lambda c: c.gradient * c.gradient.shape[0] if c.gradient.ndim else None,
    "divided by the last axis": lambda c: c.gradient / c.gradient.shape[-1] if c.gradient.ndim else None,
    "one element off by 1e-6 of the norm": lambda c: _with(c, c.at(), lambda a: a + 1e-6 * c.norm),
    "one element off by 1e-3 of the norm": lambda c: _with(c, c.at(), lambda a: a + 1e-3 * c.norm),
    "one element doubled": lambda c: _with(c, c.at(), lambda a: 2 * a),
    "one element zero": lambda c: _with(c, c.at(), lambda a: 0 * a),
    "two elements off, opposite": lambda c: _opposite(c) if c.gradient.size > 1 else None,
    "two elements swapped": lambda c: _with(c, c.at(2), lambda a: a[::-1]) if c.gradient.size > 1 else None,
    "a row zero": lambda c: _with(c, _row(c), lambda a: 0 * a) if c.gradient.ndim > 1 else None,
    "a row doubled": lambda c: _with(c, _row(c), lambda a: 2 * a) if c.gradient.ndim > 1 else None,
    "last column dropped": lambda c: _with(c, (..., -1), lambda a: 0 * a) if c.gradient.ndim else None,
    "border zero": lambda c: _with(c, (..., [0, -1]), lambda a: 0 * a) if c.gradient.ndim else None,
    "shifted by one": lambda c: np.roll(c.gradient, 1, axis=-1) if c.gradient.ndim else None,
    "reversed": lambda c: c.gradient[..., ::-1].copy() if c.gradient.ndim else None,
    "two columns swapped": lambda c: (
        _with(c, (..., [0, 1]), lambda a: a[..., ::-1].copy()) if c.gradient.ndim and c.gradient.shape[-1] > 1 else None
    ),
    "mean over the first axis": lambda c: (
        np.broadcast_to(c.gradient.mean(axis=0), c.gradient.shape).copy() if c.gradient.ndim else None
    ),
    "mean subtracted": lambda c: c.gradient - c.gradient.mean(),
    "a constant added": lambda c: c.gradient + 1e-4 * c.norm,
    "absolute value": lambda c: np.abs(c.gradient),
    "clipped": lambda c: np.clip(c.gradient, -0.5 * np.abs(c.gradient).max(), 0.5 * np.abs(c.gradient).max()),
    "rounded to float16": lambda c: c.gradient.astype(np.float16).astype(c.gradient.dtype),
    "upstream ignored": _others,
    "upstream squared": _squared,
    "of a stale input": _stale,
}  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """Correct code with an error in one gradient; an `Implementation` and its own `Bound`."""

    right: Bound
    kind: str
    quantity: str
    place: int
    name: str = "planted"

    def bind(self, problem: Problem) -> Planted:
        """Itself: it is bound already."""
        return self

    def forward(self, values: Values) -> Mapping[str, Array]:
        """The correct forward."""
        return self.right.forward(values)

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """The correct outputs, and the gradients with the error in one of them."""
        found = self.right.vjp(values, cotangents)
        right = found.gradients[self.quantity]
        wrong = KINDS[self.kind](
            Call(right, self.quantity, values, cotangents, self.right, self.place)
        )
        if wrong is None:
            return found
        wrong = np.asarray(wrong, dtype=right.dtype)
        return replace(found, gradients={**found.gradients, self.quantity: wrong})

    def equivalent(self, case: Case) -> bool:
        """Whether the error changes nothing beyond rounding on a case."""
        with np.errstate(all="ignore"):
            right = self.right.vjp(case.arrays(), case.upstream()).gradients[self.quantity]
            wrong = self.vjp(case.arrays(), case.upstream()).gradients[self.quantity]
        largest = float(np.max(np.abs(right), initial=0.0))
        if not np.isfinite(right).all() or not largest:
            return True
        moved = float(np.max(np.abs(wrong.astype(np.float64) - right)))
        return moved <= ROUNDINGS * UNIT_ROUNDOFF[case.dtype] * largest
