"""A problem as plain data, so that a worker can rebuild what a convention needs of it, and no more.

The worker gets names, axes, shapes, options and resolved constructor arguments, those for a square kernel
too if there is a kernel; not the layer's oracles, domains or special points.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from crosscheck.domains import NORMAL, Domain
from crosscheck.errors import UsageError
from crosscheck.sampling import kernel_of, misfit, with_even_kernel
from crosscheck.spec import Layer, Problem, Tensor

#: For arrays that have no gradient.
_FIXED = Domain("fixed", NORMAL.draw, differentiable=False)


def describe(problem: Problem) -> str:
    """The problem as JSON.

    Raises:
        UsageError: an option or constructor argument is no plain data.
    """
    data = _described(problem)
    even = with_even_kernel(problem)
    if even is not None and misfit(even) is None:
        data["even"] = {k: v for k, v in _described(even).items() if k in _SIZED}
    try:
        return json.dumps(data)
    except TypeError as error:
        raise UsageError(f"{problem.layer.name}: an option is no plain data: {error}") from None


#: What of a description depends on the sizes of a problem.
_SIZED = ("inputs", "parameters", "buffers", "outputs", "constructor")


def _described(problem: Problem) -> dict[str, Any]:
    layer = problem.layer
    constructor = [item(problem) if callable(item) else problem[item] for item in layer.constructor]

    def tensors(group: Mapping[str, Tensor]) -> list[Any]:
        return [
            [
                name,
                tensor.axes if isinstance(tensor.axes, str) else [*tensor.shape(problem)],
                tensor.differentiable and tensor.domain.differentiable,
            ]
            for name, tensor in group.items()
        ]

    return {
        "name": layer.name,
        "inputs": tensors(problem.inputs),
        "parameters": tensors(problem.parameters),
        "buffers": tensors(problem.buffers),
        "outputs": [
            [name, t.axes if isinstance(t.axes, str) else [*t.shape(problem)], t.differentiable]
            for name, t in problem.outputs.items()
        ],
        "constructor": [_pack(value) for value in constructor],
        "options": {k: _pack(v) for k, v in problem.options.items()},
        "defaults": {k: _pack(v) for k, v in layer.options.items()},
        "sizes": problem.sizes,
        "sums": [*map(list, layer.sums)],
        "blocks": dict(layer.blocks),
    }


@lru_cache(maxsize=256)
def rebuild(text: str) -> Problem:
    """The problem that `describe` described; the same object for the same text."""
    data = json.loads(text)

    even = data.get("even", data)

    def tensors(group: str) -> dict[str, Tensor]:
        return {
            name: Tensor(
                axes if isinstance(axes, str) else _by_kernel(tuple(axes), tuple(square)),
                NORMAL if moves else _FIXED,
                differentiable=moves,
            )
            for (name, axes, moves), (_, square, _) in zip(data[group], even[group], strict=True)
        }

    layer = Layer(
        data["name"],
        inputs=tensors("inputs"),
        parameters=tensors("parameters"),
        buffers=tensors("buffers"),
        outputs=tensors("outputs"),
        constructor=[
            _by_kernel(_unpack(value), _unpack(square))
            for value, square in zip(data["constructor"], even["constructor"], strict=True)
        ],
        options={k: _unpack(v) for k, v in data["defaults"].items()},
        blocks=data["blocks"],
        sums=[(one, two) for one, two in data["sums"]],
    )
    return layer.problem({k: _unpack(v) for k, v in data["options"].items()}, data["sizes"])


def _by_kernel(value: Any, square: Any) -> Callable[[Problem], Any]:
    """What was described of a problem, or of the same with a square kernel."""

    def chosen(problem: Problem) -> Any:
        return square if len({*kernel_of(problem).values()}) == 1 else value

    return chosen


def _pack(value: Any) -> Any:
    """JSON has no tuples."""
    if isinstance(value, tuple):
        return {"tuple": [_pack(v) for v in value]}
    if isinstance(value, list):
        return [_pack(v) for v in value]
    if isinstance(value, Mapping):
        return {"mapping": [[_pack(k), _pack(v)] for k, v in value.items()]}
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(v) for v in value]
    if isinstance(value, dict) and "tuple" in value:
        return tuple(_unpack(v) for v in value["tuple"])
    if isinstance(value, dict):
        return {_unpack(k): _unpack(v) for k, v in value["mapping"]}
    return value
