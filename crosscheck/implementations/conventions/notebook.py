"""``forward(x)``, ``backward(x, grad_output)``: the inputs are given again, gradients are attributes."""

from __future__ import annotations

import inspect
from typing import Any

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.names import UPSTREAM
from crosscheck.implementations.conventions.signatures import accepts, argument_names


def notebook(subject: Any, call: Call) -> Running:
    """``forward(*inputs)``, ``backward(*inputs, *upstream)``, gradients in ``grad_<parameter>``.

    A backward that takes no upstream gradient (a loss's) is scaled by it afterwards, which is the
    same as long as the output is one number. Where the arguments' names say that the upstream gradient
    comes first, it does.
    """
    layer = call.construct(subject)
    upstream = yield call.outputs(call.forward(layer), layer)
    upstream = call.turned(upstream)
    if accepts(layer.backward, len(call.inputs) + len(upstream)):
        given = (*call.inputs, *upstream)
        if _upstream_first(argument_names(layer.backward)):
            given = (*upstream, *call.inputs)
        yield call.gradients(layer.backward(*given), layer)
    elif len(upstream) == 1 and upstream[0].ndim == 0 and accepts(layer.backward, len(call.inputs)):
        found = call.gradients(layer.backward(*call.inputs), layer)
        yield {name: upstream[0] * gradient for name, gradient in found.items()}
    else:
        raise ImplementationError(
            f"{type(layer).__name__}.backward{inspect.signature(layer.backward)} cannot take "
            f"{len(call.inputs)} input(s) and {len(upstream)} upstream gradient(s)"
        )


def _upstream_first(names: tuple[str, ...]) -> bool:
    return len(names) == 2 and names[0] in UPSTREAM and names[1] not in UPSTREAM
