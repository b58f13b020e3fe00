"""Softmax and its relatives, and GLU: every output depends on a whole slice of the input."""

from __future__ import annotations

import numpy as np

from reference_nn.activations import require_shape, sigmoid, sigmoid_derivative
from reference_nn.layer import Array, Layer

__all__ = ["GLU", "LogSoftmax", "Softmax", "Softmin"]


def softmax(x: Array, axis: int) -> Array:
    """e^{x_i} / Σ_j e^{x_j}; the largest x is subtracted first, which changes nothing but overflow."""
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True))


def softmax_backward(y: Array, grad_output: Array, axis: int) -> Array:
    """Gradient of the input of a softmax from its output y: see `Softmax`."""
    mean = (grad_output * y).sum(axis=axis, keepdims=True)
    return np.asarray(y * (grad_output - mean))


class _AlongAxis(Layer):
    """Base of the layers that work along one axis, ``dim``, counted from the end if negative."""

    def __init__(self, dim: int = -1) -> None:
        if not isinstance(dim, int | np.integer) or isinstance(dim, bool):
            raise ValueError(f"{type(self).__name__}: dim={dim!r} is not the number of an axis")
        self.dim = int(dim)

    def _length(self, x: Array) -> int:
        """How long x is along `dim`, which must be one of its axes."""
        if not -x.ndim <= self.dim < x.ndim:
            raise ValueError(
                f"{type(self).__name__}: dim={self.dim} is no axis of an input of shape {x.shape}"
            )
        return int(x.shape[self.dim])


class Softmax(_AlongAxis):
    r"""y_i = e^{x_i} / Σ_j e^{x_j} along an axis

    By the quotient rule ∂y_i/∂x_j = y_i (δ_ij − y_j): the Jacobian is not diagonal, each output
    depends on every input of the slice. Summed with the upstream gradient:

        ∂L/∂x_j = Σ_i G_i y_i (δ_ij − y_j) = y_j (G_j − Σ_i G_i y_i)

    Adding a constant to a slice changes nothing, so the gradient sums to zero along the axis, and
    so the largest x may be subtracted before any exponential is taken: none can overflow.

    The axis is ``dim``, the last by default; PyTorch's guess of an axis for ``dim=None``, which is
    deprecated there, does not exist here.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError if ``dim`` is no axis of
    x, and if grad_output is not of the output's shape.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), sections 4.1 and 6.2.2.3.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape; sums to 1 along `dim`."""
        self._length(x)
        return softmax(x, self.dim)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        self._length(x)
        require_shape(self, grad_output, x.shape)
        return softmax_backward(softmax(x, self.dim), grad_output, self.dim)


class Softmin(_AlongAxis):
    r"""softmax(−x) along an axis; the chain rule puts a minus before softmax's gradient.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError as `Softmax` does.

    Source: torch.nn.Softmin, documentation.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape; sums to 1 along `dim`."""
        self._length(x)
        return softmax(-x, self.dim)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        self._length(x)
        require_shape(self, grad_output, x.shape)
        return -softmax_backward(softmax(-x, self.dim), grad_output, self.dim)


class LogSoftmax(_AlongAxis):
    r"""y_i = x_i − log Σ_j e^{x_j} along an axis

    ∂y_i/∂x_j = δ_ij − softmax(x)_j, so with the upstream gradient

        ∂L/∂x_j = G_j − softmax(x)_j Σ_i G_i

    The largest x is subtracted from all before the exponentials, so that the sum lies between 1
    and the length of the slice; the logarithm of a softmax would be −∞ where it rounds to 0.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError as `Softmax` does.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, not positive."""
        self._length(x)
        shifted = x - x.max(axis=self.dim, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=self.dim, keepdims=True)))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        self._length(x)
        require_shape(self, grad_output, x.shape)
        total = grad_output.sum(axis=self.dim, keepdims=True)
        return np.asarray(grad_output - softmax(x, self.dim) * total)


class GLU(_AlongAxis):
    r"""a ⊙ σ(b), where a and b are the first and second half of x along an axis

    By the product rule, with σ′(b) = σ(b) σ(−b),

        ∂L/∂a = G ⊙ σ(b),    ∂L/∂b = G ⊙ a ⊙ σ′(b)

    which put side by side along the axis are the gradient of x.

    Shapes: x (…, 2n, …) → (…, n, …). dtypes: float32 or float64, kept. Raises ValueError if the
    axis has odd length, and as `Softmax` does.

    Source: Dauphin et al., Language modeling with gated convolutional networks, ICML 2017.
    """

    def _halves(self, x: Array) -> tuple[Array, Array]:
        length = self._length(x)
        if length % 2:
            raise ValueError(
                f"GLU: axis {self.dim} of an input of shape {x.shape} has odd length {length}, "
                "expected two halves"
            )
        a, b = np.split(x, 2, axis=self.dim)
        return a, b

    def forward(self, x: Array) -> Array:
        """Half of x along `dim`."""
        a, b = self._halves(x)
        return a * sigmoid(b)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        a, b = self._halves(x)
        require_shape(self, grad_output, a.shape)
        halves = [grad_output * sigmoid(b), grad_output * a * sigmoid_derivative(b)]
        return np.concatenate(halves, axis=self.dim)
