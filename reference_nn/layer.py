"""The protocol that every layer here follows.

A layer is a plain object::

    layer = Linear(4, 3)
    output = layer.forward(x)                     # several inputs: forward(x, h0), …
    grad_x = layer.backward(x, grad_output)       # several: backward(x, h0, grad_output, grad_hn)

- ``forward(*inputs)`` returns the output, or a tuple of outputs, and changes none of its inputs.
- ``backward(*inputs, *grad_outputs)`` takes the same inputs again and the gradient of the loss
  with respect to each output (the upstream gradient). It returns the gradient with respect to the
  input (a tuple, in order, if several inputs are differentiable), and leaves the gradient of each
  parameter ``p`` in the attribute ``grad_p``, overwriting what was there. What it needs of the
  forward pass it computes again from the inputs: nothing is cached, so nothing can be stale, and
  one layer may be used in several places.
- Parameters are attributes; their names are in ``parameter_names``. Their dtype decides nothing:
  float32 in gives float32 out if the parameters are float32, float64 likewise.
- What a layer carries from call to call (running statistics) are attributes named in
  ``buffer_names``; ``forward`` replaces them, it never writes into the old arrays.
- Losses are ``forward(prediction, target)`` and ``backward(prediction, target)``, which takes the
  upstream gradient as an optional third argument, 1 by default.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

import numpy as np

#: Any NumPy array; docstrings say shape and dtype.
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Layer:
    """Base of every layer: bookkeeping of parameters, nothing else."""

    parameter_names: ClassVar[tuple[str, ...]] = ()
    buffer_names: ClassVar[tuple[str, ...]] = ()

    def repeat(self, *inputs: Array) -> Any:
        """The forward pass of the same batch once more, which moves nothing that is carried.

        A container needs its layers' activations again in its backward pass. That is no further
        batch: running statistics stay as the forward pass left them.
        """
        kept = {name: getattr(self, name) for name in self.buffer_names}
        output = self.forward(*inputs)  # type: ignore[attr-defined]
        for name, array in kept.items():
            setattr(self, name, array)
        return output

    def parameters(self) -> dict[str, Array]:
        """Parameter name → array, for those that this layer has (a bias may be switched off)."""
        present = {name: getattr(self, name, None) for name in self.parameter_names}
        return {name: array for name, array in present.items() if array is not None}

    def get_params(self) -> tuple[list[Array], list[Array]]:
        """The parameters and, in the same order, their gradients of the last backward pass."""
        names = list(self.parameters())
        return [getattr(self, n) for n in names], [getattr(self, "grad_" + n) for n in names]

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {a.shape}" for name, a in self.parameters().items())
        return f"{type(self).__name__}({shapes})"


def require_choice(layer: str, option: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse an option value that a layer does not have.

    Raises:
        ValueError: the message names the layer, the option, the value and the choices.
    """
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{layer}: {option}={value!r} is not one of {listed}")
