"""``output, cache = forward(x, W, b)`` and ``dx, dW, db = backward(dout, cache)``: no object."""

from __future__ import annotations

from typing import Any

from crosscheck.implementations.conventions.arguments import Offer, Parameters, words_of
from crosscheck.implementations.conventions.call import Call, Running, accepts


def functions_with_cache(subject: Any, call: Call) -> Running:
    """A pair of functions. Parameters follow the inputs, or come in one dictionary.

    The forward returns the output, or the output and a cache. The backward takes what its
    arguments' names say; where they say nothing, ``(grad_output, cache)`` or ``(grad_output,)``.
    It returns the gradients in the order of the forward's arguments, or in a dictionary. The pair may be
    the methods of a class, which keeps its parameters and their gradients itself.
    """
    layer = None if isinstance(subject, tuple) else call.construct(subject)
    forward, backward = subject if layer is None else (layer.forward, layer.backward)
    words = {"_words": (*words_of(forward), *words_of(backward))}
    given = call.inputs if layer is not None else Offer(call, more=words).match(forward)
    if given is None:
        parameters = tuple(call.given(name) for name in call.problem.parameters)
        together = (*call.inputs, *parameters)
        given = together if accepts(forward, len(together)) else (*call.inputs, Parameters(call))
    returned, cache = forward(*given), None
    if isinstance(returned, tuple) and len(returned) > len(call.problem.outputs):
        *outputs, cache = returned
        returned = outputs[0] if len(outputs) == 1 else tuple(outputs)
    upstream = call.turned((yield call.outputs(returned, layer)))
    arguments = Offer(call, upstream, cache, words).match(backward)
    if arguments is None:
        arguments = (*upstream, cache) if accepts(backward, len(upstream) + 1) else upstream
    answer = backward(*arguments)
    found = call.in_order(answer) if layer is None else call.gradients(answer, layer)
    if upstream[0].ndim == 0 and not any(a is upstream[0] for a in arguments):
        found = {name: upstream[0] * gradient for name, gradient in found.items()}
    yield found
