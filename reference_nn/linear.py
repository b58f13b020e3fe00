"""Linear: an affine map of the last axis."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array, Layer

__all__ = ["Linear"]


class Linear(Layer):
    r"""y = x W + b

    With upstream gradient G = ∂L/∂y, and n running over everything but the last axis:

        ∂L/∂x[n, i] = Σ_o G[n, o] W[i, o]        dX = G Wᵀ
        ∂L/∂W[i, o] = Σ_n x[n, i] G[n, o]        dW = Xᵀ G
        ∂L/∂b[o]    = Σ_n G[n, o]                b is added to every sample, so its gradient
                                                 is a sum over the samples

    Shapes:
        x: (..., in_features), output: (..., out_features)
        weights: (in_features, out_features), the transpose of torch.nn.Linear's
        bias: (out_features,)

    dtypes: float32 or float64, that of the input and the parameters.

    Initial weights and bias are uniform in ±1/√in_features, as torch.nn.Linear's.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.5.
    """

    parameter_names = ("weights", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = rng or np.random.default_rng()
        bound = 1 / math.sqrt(in_features)
        self.weights: Array = rng.uniform(-bound, bound, (in_features, out_features))
        self.bias: Array | None = rng.uniform(-bound, bound, out_features) if bias else None
        self.grad_weights: Array = np.zeros_like(self.weights)
        self.grad_bias: Array | None = np.zeros(out_features) if bias else None

    def forward(self, x: Array) -> Array:
        """(..., in_features) → (..., out_features)."""
        output = x @ self.weights
        return output if self.bias is None else output + self.bias

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias."""
        samples = x.reshape(-1, x.shape[-1])
        upstream = grad_output.reshape(-1, grad_output.shape[-1])
        self.grad_weights = samples.T @ upstream
        if self.bias is not None:
            self.grad_bias = upstream.sum(axis=0)
        return grad_output @ self.weights.T
