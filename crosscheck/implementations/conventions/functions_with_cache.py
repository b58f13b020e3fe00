"""``output, cache = forward(x, W, b)`` and ``dx, dW, db = backward(dout, cache)``: no object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscheck.evaluation import NotOffered
from crosscheck.implementations.conventions.arguments import Offer, Parameters, Settings
from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.signatures import accepts, words_of


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
        together = (*call.inputs, *(call.given(name) for name in call.parameters))
        given = together if accepts(forward, len(together)) else (*call.inputs, Parameters(call))
        changed = ", ".join(call.problem.changed_options())
        if call.strict and changed and not accepts(forward, len(given)):
            raise NotOffered(f"{getattr(forward, '__name__', 'forward')} has no option {changed}")
    settings: Mapping[str, Any] = next((a for a in given if isinstance(a, Settings)), {})
    returned, cache = forward(*given), None
    if isinstance(returned, tuple) and len(returned) > len(call.problem.outputs):
        *outputs, cache = returned
        returned = outputs[0] if len(outputs) == 1 else tuple(outputs)
    told = {name for name in call.problem.buffers if name in settings and name in words["_words"]}
    kept = {name: settings[name] for name in told}
    upstream = call.turned((yield {**call.outputs(returned, layer), **kept}))
    arguments = Offer(call, upstream, cache, words).match(backward)
    if arguments is None:
        arguments = (*upstream, cache) if accepts(backward, len(upstream) + 1) else upstream
    answer = backward(*arguments)
    found = call.in_order(answer) if layer is None else call.gradients(answer, layer)
    elementwise = not call.parameters and upstream[0].shape == call.inputs[0].shape
    alone = not any(a is u for a in arguments for u in upstream)
    if alone and (upstream[0].ndim == 0 or elementwise):  # it is the derivative alone
        found = {name: upstream[0] * gradient for name, gradient in found.items()}
    yield found
