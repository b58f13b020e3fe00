"""A loss in one call: ``loss, grad = softmax_loss(scores, y)``."""

from __future__ import annotations

from typing import Any

from crosscheck.evaluation import NotOffered
from crosscheck.implementations.conventions.call import Call, Running


def loss_and_gradient(subject: Any, call: Call) -> Running:
    """One function returns the loss and the gradients of its inputs, for an upstream gradient of 1."""
    more = [*call.problem.parameters, *call.problem.buffers]
    if call.strict and more:
        raise NotOffered(f"{subject.__name__} is given no {', '.join(more)}")
    loss, *found = subject(*call.inputs)
    upstream = yield call.outputs(loss)
    gradients = call.in_order(found[0] if len(found) == 1 else tuple(found))
    yield {name: upstream[0] * gradient for name, gradient in gradients.items()}
