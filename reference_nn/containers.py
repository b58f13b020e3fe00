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

    The a_i are not kept but computed again, by `Layer.repeat`: with the mask that a Dropout drew in
    the forward pass, and without moving running statistics a second time.

    A last layer that takes a target (a loss) gets it as second input: ``forward(x, target)``.
    Without any layer y = x.

    Shapes and dtypes: those of the layers. Parameters are named ``0.weights``, ``0.bias``, … Raises
    ValueError for what is no layer: a class instead of an object, or a list.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), algorithms 6.3 and 6.4.
    """

    def __init__(self, *layers: Any) -> None:
        for i, layer in enumerate(layers):
            if isinstance(layer, type) or not (
                hasattr(layer, "forward") and hasattr(layer, "backward")
            ):
                raise ValueError(
                    f"Sequential: layer {i} is a {type(layer).__name__}, not a layer: pass objects "
                    "with forward and backward, one by one"
                )
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

    def _activations(
        self, x: Array, extra: tuple[Array, ...], again: bool = False
    ) -> list[tuple[Array, ...]]:
        """The inputs of every layer, and last the output of the whole.

        Args:
            x, extra: the inputs, and those that only the last layer gets.
            again: this forward pass has been done before.
        """
        inputs: list[tuple[Array, ...]] = [(x,)]
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            if i == last:
                inputs[-1] += extra
            forward = getattr(layer, "repeat", layer.forward) if again else layer.forward
            inputs.append((forward(*inputs[-1]),))
        return inputs

    def forward(self, x: Array, *extra: Array) -> Array:
        """The output of the last layer; `extra` goes to it as further inputs."""
        return self._activations(x, extra)[-1][0] if self.layers else x.copy()

    def repeat(self, *inputs: Array) -> Array:
        """The forward pass of the same batch once more; see `Layer.repeat`."""
        x, *rest = inputs
        return self._activations(x, tuple(rest), again=True)[-1][0] if self.layers else x.copy()

    def backward(self, x: Array, *rest: Array) -> Array:
        """Gradient of x; `rest` is the extra inputs of the last layer, then the upstream gradient."""
        *extra, grad = rest
        if not self.layers:
            return grad.copy()
        inputs = self._activations(x, tuple(extra), again=True)[:-1]
        for layer, given in zip(reversed(self.layers), reversed(inputs), strict=True):
            grad = layer.backward(*given, grad)
        return grad
