"""Errors planted in a right answer: what no change of a few characters would give, but people do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck.evaluation import Bound, Evaluation, Implementation
from crosscheck.exercises.exercise import Item
from crosscheck.spec import Array, Problem, Values

#: From a right array to a wrong one; the second argument is the problem.
Change = Callable[[Array, Problem], Array]


@dataclass(frozen=True)
class Plant:
    """One planted error.

    Attributes:
        label: what it stands for.
        quantities: those that it changes.
        change: how.
        to_input: whether an input is changed in place as well.
    """

    label: str
    quantities: tuple[str, ...] = ()
    change: Change = lambda array, problem: array
    to_input: bool = False

    def around(self, inner: Implementation) -> Implementation:
        """The implementation with the error in it."""
        return _Planted(inner, self)


def plants(item: Item, problem: Problem) -> Iterator[Plant]:
    """The errors that an item is tried with.

    Args:
        item: what is asked.
        problem: one of its problems, for the shapes.
    """
    gradients = tuple(f"grad_{name}" for name in problem.differentiable)
    outputs = tuple(problem.outputs)
    batch = "batch" in problem.sizes
    for quantity in (*outputs, *gradients):
        yield Plant(f"{quantity} 1 % too large", (quantity,), lambda a, p: a * 1.01)
        yield Plant(f"{quantity} with the wrong sign", (quantity,), lambda a, p: -a)
        yield Plant(f"{quantity} zero", (quantity,), lambda a, p: np.zeros_like(a))
        yield Plant(f"{quantity} off by 0.1 % in one element", (quantity,), _one_element)
        yield Plant(f"{quantity} computed in float32", (quantity,), _single)
        if batch:
            yield Plant(f"{quantity} divided by the batch", (quantity,), _by_batch)
    shapes = problem.shapes()
    for name in problem.differentiable:
        quantity, shape = f"grad_{name}", shapes[name]
        if len(shape) == 2:
            yield Plant(f"{quantity} transposed", (quantity,), lambda a, p: a.T)
        if name in problem.parameters:
            yield Plant(f"{quantity} with an axis too many", (quantity,), lambda a, p: a[None])
    yield Plant("forward and backward twice too large", (*outputs, *gradients), lambda a, p: 2 * a)
    yield Plant("an input changed in place", to_input=True)


class _Planted:
    def __init__(self, inner: Implementation, plant: Plant) -> None:
        self.inner = inner
        self.plant = plant

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def notes(self) -> tuple[str, ...]:
        found: tuple[str, ...] = getattr(self.inner, "notes", ())
        return found

    def bind(self, problem: Problem) -> _PlantedBound:
        return _PlantedBound(self.inner.bind(problem), problem, self.plant)


class _PlantedBound:
    def __init__(self, inner: Bound, problem: Problem, plant: Plant) -> None:
        self.inner = inner
        self.problem = problem
        self.plant = plant

    def forward(self, values: Values) -> Mapping[str, Array]:
        return self._changed(self.inner.forward(values), "")

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        return self._evaluation(self.inner.vjp(values, cotangents), values)

    def again(self, values: Values, cotangents: Values) -> Evaluation:
        again = getattr(self.inner, "again", self.inner.vjp)
        return self._evaluation(again(values, cotangents), values)

    def between(self, values: Values, others: Values, cotangents: Values) -> Evaluation | None:
        """See `crosscheck.implementations.numpy_layer`; None where the inner one has no such call."""
        between = getattr(self.inner, "between", None)
        found = None if between is None else between(values, others, cotangents)
        return None if found is None else self._evaluation(found, {})

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name == "reread":  # what is read again carries the error too
            return lambda: self._evaluation(found(), {})
        return found

    def _evaluation(self, found: Evaluation, values: Values) -> Evaluation:
        if self.plant.to_input and values:
            first = values[next(iter(self.problem.inputs))]
            if first.flags.writeable:
                first *= 2
        return replace(
            found,
            outputs=self._changed(found.outputs, ""),
            gradients=self._changed(found.gradients, "grad_"),
        )

    def _changed(self, arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
        return {
            name: np.asarray(self.plant.change(array, self.problem)).astype(array.dtype)
            if f"{prefix}{name}" in self.plant.quantities
            else array
            for name, array in arrays.items()
        }


def _one_element(array: Array, problem: Problem) -> Array:
    changed = np.array(array)
    if changed.size:
        flat = changed.reshape(-1)
        flat[-1] += 1e-3 * np.max(np.abs(flat))
        return flat.reshape(changed.shape)
    return changed


def _single(array: Array, problem: Problem) -> Array:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _by_batch(array: Array, problem: Problem) -> Array:
    return array / problem.sizes["batch"]
