"""Bilinear: every product of a feature of one input and a feature of the other."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array, Layer

__all__ = ["Bilinear"]


class Bilinear(Layer):
    r"""y[n, o] = Σ_ij x₁[n, i] W[o, i, j] x₂[n, j] + b[o]

    A linear map of the products P[n, i, j] = x₁[n, i] x₂[n, j]: with the two axes i and j joined it
    is y = P Wᵀ + b, one matrix product. So the gradients are those of a Linear, and P hands its own
    on to its two factors:

        ∂L/∂W[o, i, j] = Σ_n G[n, o] P[n, i, j]        ∂L/∂b[o] = Σ_n G[n, o]
        D[n, i, j] = ∂L/∂P[n, i, j] = Σ_o G[n, o] W[o, i, j]
        ∂L/∂x₁[n, i] = Σ_j D[n, i, j] x₂[n, j]         ∂L/∂x₂[n, j] = Σ_i D[n, i, j] x₁[n, i]

    Shapes:
        x1: (..., in1_features), x2: (..., in2_features), output: (..., out_features)
        weights: (out_features, in1_features, in2_features), bias: (out_features,) or None

    dtypes: float32 or float64, that of the inputs and the parameters. Raises ValueError for inputs
    of other sizes.

    Initial weights and bias are uniform in ±1/√in1_features, as torch.nn.Bilinear's.

    Source: torch.nn.Bilinear, documentation; Tenenbaum and Freeman, Separating style and content
    with bilinear models, Neural Computation 12 (2000).
    """

    parameter_names = ("weights", "bias")

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        rng = rng or np.random.default_rng()
        bound = 1 / math.sqrt(in1_features)
        shape = (out_features, in1_features, in2_features)
        self.weights: Array = rng.uniform(-bound, bound, shape)
        self.bias: Array | None = rng.uniform(-bound, bound, out_features) if bias else None
        self.grad_weights: Array = np.zeros_like(self.weights)
        self.grad_bias: Array | None = np.zeros(out_features) if bias else None

    def _rows(self, x1: Array, x2: Array) -> tuple[Array, Array, Array]:
        """Both inputs with all samples in one axis, and the products with i and j joined."""
        _, n1, n2 = self.weights.shape
        if x1.shape[-1:] != (n1,) or x2.shape[-1:] != (n2,) or x1.shape[:-1] != x2.shape[:-1]:
            raise ValueError(
                f"Bilinear: expected x1 (..., {n1}) and x2 (..., {n2}), alike before the last axis, "
                f"got shapes {x1.shape} and {x2.shape}"
            )
        rows1, rows2 = x1.reshape(-1, n1), x2.reshape(-1, n2)
        products = rows1[:, :, None] * rows2[:, None, :]
        return rows1, rows2, products.reshape(-1, n1 * n2)

    def forward(self, x1: Array, x2: Array) -> Array:
        """(..., in1_features) and (..., in2_features) → (..., out_features)."""
        *_, products = self._rows(x1, x2)
        matrix = self.weights.reshape(len(self.weights), -1)
        output = (products @ matrix.T).reshape(*x1.shape[:-1], len(self.weights))
        return output if self.bias is None else output + self.bias

    def backward(self, x1: Array, x2: Array, grad_output: Array) -> tuple[Array, Array]:
        """Gradients of x1 and x2; leaves grad_weights and grad_bias."""
        rows1, rows2, products = self._rows(x1, x2)
        upstream = grad_output.reshape(-1, grad_output.shape[-1])
        self.grad_weights = (upstream.T @ products).reshape(self.weights.shape)
        if self.bias is not None:
            self.grad_bias = upstream.sum(axis=0)
        matrix = self.weights.reshape(len(self.weights), -1)
        grad_products = (upstream @ matrix).reshape(-1, *self.weights.shape[1:])
        grad_x1 = (grad_products @ rows2[:, :, None])[:, :, 0]
        grad_x2 = (rows1[:, None, :] @ grad_products)[:, 0, :]
        return grad_x1.reshape(x1.shape), grad_x2.reshape(x2.shape)
