"""Input, output and gradients are attributes; nothing is returned: ``layer.output``, ``layer.dinputs``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.names import (
    INPUT_GRADIENTS,
    INPUTS,
    OUTPUTS,
    PREDICTIONS,
    TARGETS,
    UPSTREAM,
    first,
)
from crosscheck.implementations.conventions.signatures import accepts, words_of
from crosscheck.implementations.conventions.slots import attributes as attributes_of


def attributes(subject: Any, call: Call) -> Running:
    """Inputs and upstream gradient as arguments or as attributes, answers as attributes."""
    layer = call.construct(subject)
    names = [*call.problem.inputs]
    known = [INPUTS] if len(names) == 1 else [(*PREDICTIONS, *INPUTS), TARGETS]
    returned = _run(
        layer, layer.forward, call.inputs, [(n, *k) for n, k in zip(names, known, strict=True)]
    )
    outputs = _read(layer, OUTPUTS, returned, "its output", layer.forward)
    upstream = call.turned((yield call.outputs(outputs, layer)))
    returned = _run(layer, layer.backward, upstream, [UPSTREAM])
    wanted = [name for name in names if name in call.problem.differentiable]
    places = [*(f"grad_{n}" for n in wanted), *INPUT_GRADIENTS]
    scale = (
        1
        if accepts(layer.backward, 1)
        or first(UPSTREAM, [w for w in words_of(layer.backward) if w not in call.problem.options])
        else upstream[0]
    )
    found = call.gradients(_read(layer, places, returned, "", layer.backward), layer)
    yield {name: scale * gradient for name, gradient in found.items()}


def _run(
    layer: Any, method: Callable[..., Any], values: Sequence[Any], names: Sequence[Sequence[str]]
) -> Any:
    """Call with the values, or put each into the attribute that the code mentions, and call."""
    if accepts(method, len(values)):
        return method(*values)
    words = (*words_of(method), *attributes_of(layer))
    for value, candidates in zip(values, names, strict=True):
        setattr(layer, first(candidates, words) or candidates[0], value)
    return method()


def _read(
    layer: Any, names: Sequence[str], returned: Any, what: str, method: Callable[..., Any]
) -> Any:
    """What was returned, or the first attribute of these names that the method's code mentions."""
    if returned is not None:
        return returned
    have = attributes_of(layer)
    name = first(names, [n for n in words_of(method) if n in have]) or first(names, have)
    if name is None and what:
        raise ImplementationError(
            f"{type(layer).__name__}.{method.__name__} returned nothing and left {what} in no "
            f"attribute that is known; there is {', '.join(sorted(have)) or 'none'}"
        )
    return None if name is None else have[name]
