"""Conventions: how somebody's code wants to be called. One file a style; a style of one's own is a function.

| name | style |
|---|---|
| `notebook` | ``forward(x)``, ``backward(x, grad_output)``, gradients as attributes |
| `cached` | ``backward(grad_output)``; gradients as attributes, in a dict or a list |
| `functions_with_cache` | ``out, cache = forward(x, W, b)``, ``dx, dW, db = backward(dout, cache)`` |
| `columns` | samples as columns, dictionaries ``W1``, ``b1`` |
| `attributes` | nothing is returned: ``layer.output``, ``layer.dinputs`` |
| `updating` | ``backward(grad_output, learning_rate)`` changes the parameters itself |
| `tape` | tensors with ``.backward()`` and ``.grad`` |
| `whole_network` | one class for all layers: ``loss, grads = net.loss(x, y)`` |
| `loss_and_gradient` | a loss in one function: ``loss, grad = softmax_loss(x, y)`` |
"""

from crosscheck.implementations.conventions.building import build, construction
from crosscheck.implementations.conventions.call import Call, Calling, Convention, Named, Running
from crosscheck.implementations.conventions.guess import (
    CONVENTIONS,
    Guess,
    by_guess,
    guess,
    plausible,
    settle,
)
from crosscheck.implementations.conventions.naming import Naming
from crosscheck.implementations.conventions.notebook import notebook
from crosscheck.implementations.conventions.scalings import declared
from crosscheck.implementations.conventions.signatures import accepts, argument_names

__all__ = [
    "CONVENTIONS",
    "Call",
    "Calling",
    "Convention",
    "Guess",
    "Named",
    "Naming",
    "Running",
    "accepts",
    "argument_names",
    "build",
    "by_guess",
    "construction",
    "declared",
    "guess",
    "notebook",
    "plausible",
    "settle",
]
