"""An alternative: another convention under which somebody's numbers may be right.

It is a function that asks a trusted witness the same question under that convention and returns
the answer in the canonical layout: with other options, or with the parameters permuted on the way in and
their gradients permuted back on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from crosscheck.causes.evidence import View
from crosscheck.evaluation import Evaluation
from crosscheck.spec import Array, Problem

#: A view's case answered under another convention; None where it does not apply.
Answer = Callable[[View], "Evaluation | None"]
#: An invertible linear map of a parameter (or, for a permutation, of anything).
Map = Callable[[Array, Problem], Array]


@dataclass(frozen=True)
class Alternative:
    """One convention that somebody may have followed.

    Attributes:
        slug: a stable name.
        what: the convention, as the end of "it is right with …".
        change: what to do to get from one to the other.
        answer: the trusted answer under it. It may leave gradients out; these then have to be the
            numeric derivative of the subject's own forward.
        who: who has this convention, "" if nobody in particular.
    """

    slug: str
    what: str
    change: str
    answer: Answer = field(repr=False)
    who: str = ""


def layout(maps: Mapping[str, tuple[Map, Map]]) -> Answer:
    """Arrays mapped before the witness is asked, and their gradients back after.

    Args:
        maps: name of an input, parameter or buffer → the map, and its adjoint for the gradient
            (for a permutation: the inverse).
    """

    def answer(view: View) -> Evaluation | None:
        changed = {
            name: there(view.values[name], view.problem)
            for name, (there, _) in maps.items()
            if name in view.values
        }
        found = view.ask(values=changed)
        if found is None or not changed:
            return None
        gradients = {
            name: maps[name][1](g, view.problem) if name in maps else g
            for name, g in found.gradients.items()
        }
        outputs = {
            name: maps[name][1](a, view.problem) if name in maps else a
            for name, a in found.outputs.items()
        }
        return Evaluation(outputs, gradients)

    return answer


def rows(order: tuple[int, ...]) -> tuple[Map, Map]:
    """The blocks of axis 0 in another order, and back."""
    back = tuple(int(i) for i in np.argsort(order))
    return partial(_blocks, order=order), partial(_blocks, order=back)


def _blocks(array: Array, problem: Problem, order: tuple[int, ...]) -> Array:
    split = array.reshape(len(order), -1, *array.shape[1:])
    return np.ascontiguousarray(split[list(order)]).reshape(array.shape)


def times(factors: Array) -> tuple[Map, Map]:
    """Each block of axis 0 times its factor; its own adjoint."""

    def scale(array: Array, problem: Problem) -> Array:
        split = array.reshape(len(factors), -1, *array.shape[1:])
        grown = factors.reshape(-1, *(1,) * (split.ndim - 1))
        return np.asarray((split * grown).reshape(array.shape))

    return scale, scale


def option(name: str, value: Any) -> Answer:
    """Another value of an option."""
    return lambda view: view.ask(options={name: value})


def scaled(factor: Callable[[View], float | None], **options: Any) -> Answer:
    """All outputs and gradients times a factor, with other options perhaps."""

    def answer(view: View) -> Evaluation | None:
        k = factor(view)
        found = None if k is None else view.ask(options=options)
        if found is None or k is None:
            return None
        names = view.problem.outputs
        return Evaluation(
            {n: a * k if n in names else a for n, a in found.outputs.items()},
            {n: g * k for n, g in found.gradients.items()},
        )

    return answer


def outputs_only(formula: Callable[[View], Array | None]) -> Answer:
    """The first output by a formula; gradients are left to the numeric witness."""

    def answer(view: View) -> Evaluation | None:
        found = formula(view)
        name = next(iter(view.problem.outputs))
        return None if found is None else Evaluation({name: found}, {})

    return answer
