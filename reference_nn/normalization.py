"""Normalization within a sample: LayerNorm, GroupNorm, RMSNorm, and what all normalizations share.

Each brings numbers to mean 0 and variance 1 and then gives them back a scale and a shift that are
learned. They differ in the axes over which mean and variance are taken; batch and instance
normalization, which take them per channel and may track them, are in `batch_normalization`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reference_nn.layer import Array, Layer

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm"]

Axes = tuple[int, ...]


class Standardized(NamedTuple):
    """What `standardize` returns; all but `normal` have size 1 along the axes reduced."""

    normal: Array
    deviation: Array
    mean: Array
    variance: Array


def standardize(x: Array, axes: Axes, eps: float) -> Standardized:
    r"""x̂ = (x − μ)/σ,  μ = mean(x),  v = mean((x − μ)²),  σ = √(v + ε)

    v is the mean of squares of differences, never the difference mean(x²) − μ²: where μ is large
    against σ the latter subtracts two nearly equal numbers, and may come out negative. The
    differences themselves carry the rounding error of μ, the same in each, which is their mean:
    subtracting that too makes them good to the last digit.

    Source: Chan, Golub and LeVeque, Algorithms for computing the sample variance, The American
    Statistician 37 (1983), the corrected two-pass algorithm.
    """
    mean = x.mean(axis=axes, keepdims=True)
    difference = x - mean
    difference -= difference.mean(axis=axes, keepdims=True)
    variance = np.square(difference).mean(axis=axes, keepdims=True)
    deviation = np.sqrt(variance + eps)
    difference /= deviation
    return Standardized(difference, deviation, mean, variance)


def standardize_gradient(normal: Array, deviation: Array, grad_normal: Array, axes: Axes) -> Array:
    r"""∂L/∂x from Ĝ = ∂L/∂x̂: the gradient through `standardize`

    All n numbers that share μ and σ depend on each of them. As ∂μ/∂x_j = 1/n and
    ∂σ/∂x_j = (x_j − μ)/(n σ) = x̂_j/n,

        ∂x̂_i/∂x_j = (δ_ij − 1/n)/σ − (x_i − μ)/σ² · x̂_j/n = (δ_ij − 1/n − x̂_i x̂_j/n)/σ
        ∂L/∂x_j   = Σ_i Ĝ_i ∂x̂_i/∂x_j = (Ĝ_j − mean(Ĝ) − x̂_j mean(Ĝ x̂))/σ

    What is subtracted is the part of Ĝ that would shift all x or scale them: neither changes x̂
    (up to ε).
    """
    shift = grad_normal.mean(axis=axes, keepdims=True)
    scale = (grad_normal * normal).mean(axis=axes, keepdims=True)
    return np.asarray((grad_normal - shift - normal * scale) / deviation)


class Affine(Layer):
    r"""y = w x̂ + b, the last step of every normalization; w and b broadcast over some axes

        ∂L/∂x̂ = w G,   ∂L/∂w = Σ G x̂,   ∂L/∂b = Σ G

    summed over the axes that w and b do not have. w starts as ones, b as zeros.
    """

    parameter_names = ("weights", "bias")

    def __init__(self, shape: tuple[int, ...], eps: float | None, affine: bool, bias: bool) -> None:
        if eps is not None and not eps >= 0:
            raise ValueError(f"{type(self).__name__}: eps={eps} must not be negative")
        bias = affine and bias
        self.weights: Array | None = np.ones(shape) if affine else None
        self.bias: Array | None = np.zeros(shape) if bias else None
        self.grad_weights: Array | None = np.zeros(shape) if affine else None
        self.grad_bias: Array | None = np.zeros(shape) if bias else None

    def _own_axes(self, x: Array) -> Axes:
        """The axes of x that w and b have: the channels, axis 1."""
        return (1,)

    def _affine(self, normal: Array) -> Array:
        own = self._own_axes(normal)
        shape = [n if i in own else 1 for i, n in enumerate(normal.shape)]
        output = normal
        if self.weights is not None:
            output = output * self.weights.reshape(shape)
        return output if self.bias is None else output + self.bias.reshape(shape)

    def _affine_gradient(self, normal: Array, grad_output: Array) -> Array:
        """Gradient of x̂; leaves grad_weights and grad_bias."""
        own = self._own_axes(normal)
        shape = [n if i in own else 1 for i, n in enumerate(normal.shape)]
        others = tuple(i for i in range(normal.ndim) if i not in own)
        if self.bias is not None:
            self.grad_bias = np.asarray(grad_output.sum(axis=others))
        if self.weights is None:
            return grad_output
        self.grad_weights = np.asarray((grad_output * normal).sum(axis=others))
        return np.asarray(grad_output * self.weights.reshape(shape))


class _Trailing(Affine):
    """Normalization over the last axes, whose sizes are `normalized_shape`; w and b have them."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None, affine: bool, bias: bool
    ) -> None:
        single = isinstance(normalized_shape, int | np.integer)
        sizes = (normalized_shape,) if single else tuple(normalized_shape)  # type: ignore[arg-type]
        self.normalized_shape: tuple[int, ...] = tuple(int(n) for n in sizes)  # type: ignore[arg-type]
        if not self.normalized_shape:
            raise ValueError(f"{type(self).__name__}: normalized_shape is empty")
        super().__init__(self.normalized_shape, eps, affine, bias)

    def _own_axes(self, x: Array) -> Axes:
        n = len(self.normalized_shape)
        if x.shape[-n:] != self.normalized_shape:
            sizes = ", ".join(map(str, self.normalized_shape))
            raise ValueError(
                f"{type(self).__name__}: expected (..., {sizes}), as normalized_shape says, "
                f"got shape {x.shape}"
            )
        return tuple(range(x.ndim - n, x.ndim))


class LayerNorm(_Trailing):
    r"""y = w x̂ + b, x̂ = (x − μ)/√(v + ε) with the mean and variance of each sample alone

    μ and v are taken over the last axes, those of `normalized_shape`; every position before them
    has its own. w and b are element by element, of the shape normalized.

    With Ĝ = w G the gradient of x̂ (`Affine`) and σ = √(v + ε), see `standardize_gradient`:

        ∂L/∂x = (Ĝ − mean(Ĝ) − x̂ mean(Ĝ x̂))/σ
        ∂L/∂w = Σ G x̂,   ∂L/∂b = Σ G        over all positions

    Shapes:
        x, output: (..., *normalized_shape)
        weights, bias: normalized_shape; None without ``elementwise_affine``, or ``bias``

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for an input
    that does not end in normalized_shape.

    Source: Ba, Kiros and Hinton, Layer normalization, arXiv:1607.06450 (2016); torch.nn.LayerNorm,
    documentation.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias)
        self.eps = float(eps)

    def forward(self, x: Array) -> Array:
        """(..., *normalized_shape) → the same."""
        return self._affine(standardize(x, self._own_axes(x), self.eps).normal)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias."""
        axes = self._own_axes(x)
        normal, deviation, *_ = standardize(x, axes, self.eps)
        grad_normal = self._affine_gradient(normal, grad_output)
        return standardize_gradient(normal, deviation, grad_normal, axes)


class GroupNorm(Affine):
    r"""y = w x̂ + b, x̂ = (x − μ)/√(v + ε) with mean and variance of each group of channels

    The C channels are dealt into `num_groups` groups of neighbours; μ and v are taken over a group's
    channels and all of space, in each sample alone. One group makes it a LayerNorm over channels
    and space, C groups an InstanceNorm. w and b are per channel.

    The gradient is LayerNorm's, with the means over a group:

        ∂L/∂x = (Ĝ − mean(Ĝ) − x̂ mean(Ĝ x̂))/σ,   Ĝ = w G
        ∂L/∂w[c] = Σ G x̂,   ∂L/∂b[c] = Σ G        over samples and space

    Shapes:
        x, output: (batch, num_channels, ...)
        weights, bias: (num_channels,); None without ``affine``, or ``bias``

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError if the groups
    do not divide the channels, for an input of another rank or number of channels, and for a single
    sample with a single number in each group, which would be its own mean.

    Source: Wu and He, Group normalization, ECCV 2018; torch.nn.GroupNorm, documentation.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}"
            )
        super().__init__((num_channels,), eps, affine, bias)
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, float(eps)

    def _grouped(self, x: Array) -> Array:
        """(batch, channels, ...) → (batch, groups, numbers of a group)."""
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: expected (batch, {self.num_channels}, ...), got shape {x.shape}"
            )
        if x.size == self.num_groups:
            raise ValueError(
                f"GroupNorm: expected more than one number in a group, got shape {x.shape} "
                f"in {self.num_groups} groups"
            )
        return x.reshape(x.shape[0], self.num_groups, -1)

    def forward(self, x: Array) -> Array:
        """(batch, num_channels, ...) → the same."""
        normal = standardize(self._grouped(x), (2,), self.eps).normal
        return self._affine(normal.reshape(x.shape))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias."""
        normal, deviation, *_ = standardize(self._grouped(x), (2,), self.eps)
        grad_normal = self._affine_gradient(normal.reshape(x.shape), grad_output)
        grouped = grad_normal.reshape(normal.shape)
        return standardize_gradient(normal, deviation, grouped, (2,)).reshape(x.shape)


class RMSNorm(_Trailing):
    r"""y = w x̂,  x̂ = x/r,  r = √(mean(x²) + ε): a LayerNorm that only scales

    The mean is neither subtracted nor given back by a bias. As ∂r/∂x_j = x_j/(n r) = x̂_j/n,

        ∂x̂_i/∂x_j = (δ_ij − x̂_i x̂_j/n)/r
        ∂L/∂x     = (Ĝ − x̂ mean(Ĝ x̂))/r,   Ĝ = w G
        ∂L/∂w     = Σ G x̂        over all positions

    ``eps=None`` stands for the unit in the last place of 1 in the input's dtype, 2⁻²³ or 2⁻⁵²: so
    little that it matters for a sample of zeros only.

    Shapes:
        x, output: (..., *normalized_shape)
        weights: normalized_shape; None without ``elementwise_affine``

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for an input
    that does not end in normalized_shape.

    Source: Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019; torch.nn.RMSNorm,
    documentation.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias=False)
        self.eps = None if eps is None else float(eps)

    def _scaled(self, x: Array, axes: Axes) -> tuple[Array, Array]:
        """x̂ and r."""
        eps = float(np.finfo(x.dtype).eps) if self.eps is None else self.eps
        root = np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + eps)
        return x / root, root

    def forward(self, x: Array) -> Array:
        """(..., *normalized_shape) → the same."""
        return self._affine(self._scaled(x, self._own_axes(x))[0])

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights."""
        axes = self._own_axes(x)
        normal, root = self._scaled(x, axes)
        grad_normal = self._affine_gradient(normal, grad_output)
        scale = (grad_normal * normal).mean(axis=axes, keepdims=True)
        return np.asarray((grad_normal - normal * scale) / root)
