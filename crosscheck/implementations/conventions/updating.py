"""``backward(grad_output, learning_rate)`` takes the step of gradient descent itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.names import RATES, first
from crosscheck.implementations.conventions.signatures import argument_names
from crosscheck.implementations.conventions.slots import attributes

#: So large a step that what is left of the parameter itself is below rounding: the difference of
#: before and after, divided by it, is the gradient to one rounding. A power of two: exact.
RATE = 2.0**30


def updating(subject: Any, call: Call) -> Running:
    """The gradient of a parameter is (before - after) / learning rate.

    The rate is an argument of backward, of the constructor or an attribute. A layer without
    parameters may do without.
    """
    layer = call.construct(subject)
    outputs = call.outputs(call.forward(layer), layer)
    upstream = call.turned((yield outputs))
    names = argument_names(layer.backward)
    for name in attributes(layer):
        if name.lstrip("_") in RATES:
            setattr(layer, name, RATE)
    slots = {name: call.slot(name) for name in call.problem.parameters}
    before = {name: np.array(slot.get()) for name, slot in slots.items()}
    for name, array in before.items():
        slots[name].set(array.copy())  # an update in place leaves the case's own array alone
    rate = (RATE,) if first(RATES, names) or len(names) > len(upstream) else ()
    room = len(names) - len(rate)
    given = upstream if room < len(call.inputs) + len(upstream) else (*call.inputs, *upstream)
    returned = layer.backward(*given[:room], *rate)
    found = {n: (before[n] - np.asarray(slot.get())) / RATE for n, slot in slots.items()}
    yield {**call.gradients(returned), **{n: call.canonical(n, a) for n, a in found.items()}}
