"""Activations: functions of one element, or of one slice, without parameters."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, Layer

__all__ = ["Sigmoid"]


class Sigmoid(Layer):
    r"""σ(x) = 1 / (1 + e⁻ˣ)

    σ′ = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) (1 − σ(x)), so with upstream gradient G

        ∂L/∂x = G ⊙ σ(x) ⊙ σ(−x)

    where 1 − σ(x) is written σ(−x): the difference would lose all digits at large x. e⁻ˣ would
    overflow at large negative x, so the exponential is taken of −|x|:
    σ(x) = 1 / (1 + e^{−|x|}) for x ≥ 0, e^{−|x|} / (1 + e^{−|x|}) for x < 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 3.10.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in (0, 1)."""
        negative = x < 0
        small = np.exp(np.where(negative, x, -x))
        return np.asarray(np.where(negative, small, 1) / (1 + small))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return grad_output * self.forward(x) * self.forward(-x)
