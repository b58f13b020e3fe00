"""Softmax and its relatives, and GLU: every output depends on a whole slice of the input."""

from __future__ import annotations

import numpy as np

from reference_nn.activations import sigmoid
from reference_nn.layer import Array, Layer

__all__ = ["GLU", "LogSoftmax", "Softmax", "Softmin"]


def softmax(x: Array, axis: int) -> Array:
    """e^{x_i} / Σ_j e^{x_j}; the largest x is subtracted first, which changes nothing but overflow."""
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True))


def softmax_backward(y: Array, grad_output: Array, axis: int) -> Array:
    """Gradient of the input of a softmax from its output y: see `Softmax`."""
    return y * (grad_output - (grad_output * y).sum(axis=axis, keepdims=True))


class Softmax(Layer):
    r"""y_i = e^{x_i} / Σ_j e^{x_j} along an axis

    ∂y_i/∂x_j = y_i (δ_ij − y_j): not diagonal, each output depends on every input of the slice.

        ∂L/∂x_j = Σ_i G_i y_i (δ_ij − y_j) = y_j (G_j − Σ_i G_i y_i)

    Adding a constant to a slice changes nothing, so the gradient sums to zero along the axis.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape; sums to 1 along `dim`."""
        return softmax(x, self.dim)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return softmax_backward(softmax(x, self.dim), grad_output, self.dim)


class Softmin(Layer):
    r"""softmax(−x) along an axis; the chain rule puts a minus before softmax's gradient.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Softmin, documentation.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape; sums to 1 along `dim`."""
        return softmax(-x, self.dim)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return -softmax_backward(softmax(-x, self.dim), grad_output, self.dim)


class LogSoftmax(Layer):
    r"""y_i = x_i − log Σ_j e^{x_j} along an axis

    ∂y_i/∂x_j = δ_ij − softmax(x)_j, so ∂L/∂x_j = G_j − softmax(x)_j Σ_i G_i. The logarithm of the
    sum is taken of differences to the largest x, and never of a rounded probability.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, not positive."""
        shifted = x - x.max(axis=self.dim, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=self.dim, keepdims=True))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        total = grad_output.sum(axis=self.dim, keepdims=True)
        return grad_output - softmax(x, self.dim) * total


class GLU(Layer):
    r"""a ⊙ σ(b), where a and b are the halves of x along an axis

        ∂L/∂a = G ⊙ σ(b),    ∂L/∂b = G ⊙ a ⊙ σ(b) σ(−b)

    Shapes: x (…, 2n, …) → (…, n, …). dtypes: float32 or float64, kept. Raises ValueError if the
    axis has odd length.

    Source: Dauphin et al., Language modeling with gated convolutional networks, ICML 2017.
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def _halves(self, x: Array) -> tuple[Array, Array]:
        if x.shape[self.dim] % 2:
            raise ValueError(f"GLU: axis {self.dim} of shape {x.shape} cannot be halved")
        a, b = np.split(x, 2, axis=self.dim)
        return a, b

    def forward(self, x: Array) -> Array:
        """Half of x along `dim`."""
        a, b = self._halves(x)
        return a * sigmoid(b)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        a, b = self._halves(x)
        gate = sigmoid(b)
        halves = [grad_output * gate, grad_output * a * gate * sigmoid(-b)]
        return np.concatenate(halves, axis=self.dim)
