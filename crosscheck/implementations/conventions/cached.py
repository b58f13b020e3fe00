"""``forward(x)`` remembers what ``backward(grad_output)`` needs; gradients are left on the object."""

from __future__ import annotations

from typing import Any

from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.signatures import accepts


def cached(subject: Any, call: Call) -> Running:
    """``forward(*inputs)``, ``backward(*upstream)``; gradients as attributes, in a dict or a list.

    A backward that takes nothing (a loss's) is scaled by the upstream gradient afterwards.
    """
    layer = call.construct(subject)
    upstream = yield call.outputs(call.forward(layer), layer)
    if accepts(layer.backward, len(upstream)):
        yield call.gradients(layer.backward(*call.turned(upstream)), layer)
    else:
        found = call.gradients(layer.backward(), layer)
        yield {name: upstream[0] * gradient for name, gradient in found.items()}
