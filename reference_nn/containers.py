"""Containers: layers made of layers."""

from __future__ import annotations

from typing import Any

from reference_nn.layer import Array, Layer

__all__ = ["Sequential"]


class Sequential(Layer):
    r"""y = f_k(… f₂(f₁(x)))

    The chain rule, from the last layer to the first: with a₀ = x, a_i = f_i(a_{i−1}) and
    G_k = ∂L/∂y, each layer turns the gradient of its output into that of its input,
    G_{i−1} = backward_i(a_{i−1}, G_i), and leaves the gradients of its own parameters.

    A last layer that takes a target (a loss) gets it as second input: ``forward(x, target)``.

    Shapes and dtypes: those of the layers. Parameters are named ``0.weights``, ``0.bias``, …

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), algorithms 6.3 and 6.4.
    """

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def parameters(self) -> dict[str, Array]:
        """``"0.weights"`` → array, over all layers."""
        return {
            f"{i}.{name}": array
            for i, layer in enumerate(self.layers)
            for name, array in layer.parameters().items()
        }

    def get_params(self) -> tuple[list[Array], list[Array]]:
        """The parameters of all layers in order, and their gradients."""
        params: list[Array] = []
        grads: list[Array] = []
        for layer in self.layers:
            own, own_grads = layer.get_params()
            params += own
            grads += own_grads
        return params, grads

    def _activations(self, x: Array, extra: tuple[Array, ...]) -> list[tuple[Array, ...]]:
        """The inputs of every layer, and last the output of the whole."""
        inputs: list[tuple[Array, ...]] = [(x,)]
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            if i == last:
                inputs[-1] += extra
            inputs.append((layer.forward(*inputs[-1]),))
        return inputs

    def forward(self, x: Array, *extra: Array) -> Array:
        """The output of the last layer; `extra` goes to it as further inputs."""
        return self._activations(x, extra)[-1][0]

    def backward(self, x: Array, *rest: Array) -> Array:
        """Gradient of x; `rest` is the extra inputs of the last layer, then the upstream gradient."""
        *extra, grad = rest
        activations = self._activations(x, tuple(extra))
        for layer, inputs in zip(reversed(self.layers), reversed(activations[:-1]), strict=True):
            grad = layer.backward(*inputs, grad)
        return grad
