"""Losses: prediction and target to one number, or one per element."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, Layer, require_choice

__all__ = ["Loss", "MSELoss"]

REDUCTIONS = ("mean", "sum", "none")


class Loss(Layer):
    """What losses share: the reduction and its derivative.

    ``"none"`` keeps one value per element, ``"sum"`` adds them, ``"mean"`` divides the sum by
    their number n. So the upstream gradient of each element is G itself, G, or G/n.
    """

    def __init__(self, reduction: str = "mean") -> None:
        require_choice(type(self).__name__, "reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def reduce(self, elements: Array) -> Array:
        """One number of the elements' dtype, or the elements themselves."""
        if self.reduction == "none":
            return elements
        return np.asarray(elements.mean() if self.reduction == "mean" else elements.sum())

    def spread(self, grad_output: Array | float, elements: Array) -> Array:
        """The upstream gradient of every element, in the elements' dtype and shape."""
        upstream = np.asarray(grad_output, dtype=elements.dtype)
        if self.reduction == "mean":
            upstream = upstream / elements.dtype.type(elements.size)
        return np.broadcast_to(upstream, elements.shape)


class MSELoss(Loss):
    r"""ℓ = (prediction − target)², then the mean, the sum or neither

        ∂ℓ/∂prediction = 2 (prediction − target)
        ∂ℓ/∂target     = −2 (prediction − target)

    times the upstream gradient of the element (see `Loss`): with ``"mean"`` over n elements the
    factor is 2/n. `backward` returns the gradient of the prediction.

    Shapes: prediction and target alike, any; output () or, for ``"none"``, that of the inputs.
    dtypes: float32 or float64.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 1.1.
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        return self.reduce(np.square(prediction - target))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        difference = prediction - target
        return 2 * difference * self.spread(grad_output, difference)
