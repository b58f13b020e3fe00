"""A whole network in one class: ``loss, grads = net.loss(x, y)``, or forward and backward of it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions.arguments import Offer
from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.signatures import accepts
from crosscheck.spec import Problem


def whole_network(subject: Any, call: Call) -> Running:
    """Parameters are ``W1, b1, W2, …``: attributes, in a dictionary or in lists.

    One method, ``loss(x, y)``, may return the loss and the gradients; or ``forward(x, y)`` returns the
    loss and ``backward`` takes what its arguments' names say.
    """
    if call.layer is None and isinstance(subject, type) and call.naming.constructor is None:
        call.layer = _built(subject, call.problem)
    net = call.construct(subject)
    both = next(
        (m for m in ("loss", "loss_and_gradients", "compute_loss") if hasattr(net, m)), None
    )
    forward = getattr(net, "forward", None)
    if both is not None and not hasattr(net, "backward"):
        returned = getattr(net, both)(*call.inputs)
        loss, grads = returned if isinstance(returned, tuple) else (returned, None)
        upstream = yield call.outputs(loss)
        found = _times(upstream, call.gradients(grads if isinstance(grads, Mapping) else None, net))
    elif forward is not None and accepts(forward, len(call.inputs)):
        upstream = yield call.outputs(forward(*call.inputs))
        found = _backward(net, call, upstream)
    elif forward is not None and both is not None:
        out = forward(call.inputs[0])
        upstream = yield call.outputs(_loss(getattr(net, both), out, call))
        found = _backward(net, call, upstream)
    else:
        raise ImplementationError(
            f"{type(net).__name__} has neither loss(x, y) nor forward and backward"
        )
    yield found


def _backward(net: Any, call: Call, upstream: tuple[Any, ...]) -> Mapping[str, Any]:
    arguments = Offer(call, upstream).match(net.backward)
    if arguments is None:
        arguments = next(
            (
                a
                for a in ((*call.inputs, *upstream), call.inputs, upstream, ())
                if accepts(net.backward, len(a))
            ),
            (),
        )
    found = call.gradients(net.backward(*arguments), net)
    return found if any(a is upstream[0] for a in arguments) else _times(upstream, found)


def _times(upstream: tuple[Any, ...], found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The gradients of one number, times the upstream gradient that the code was not given."""
    if upstream[0].ndim:
        return found
    return {name: upstream[0] * gradient for name, gradient in found.items()}


def _loss(loss: Any, out: Any, call: Call) -> Any:
    target = call.inputs[-1]
    return loss(out, target) if accepts(loss, 2) else loss(target)


def _built(subject: type, problem: Problem) -> Any:
    """The sizes between the layers, as positional arguments or as one list."""
    shapes = {n: t.shape(problem) for n, t in problem.parameters.items()}
    matrices = [shape for shape in shapes.values() if len(shape) == 2]
    sizes = [matrices[0][0], *(shape[1] for shape in matrices)] if matrices else []
    for given in (tuple(sizes), (sizes,), ()):
        if accepts(subject, len(given)):
            return subject(*given)
    return subject(*sizes)
