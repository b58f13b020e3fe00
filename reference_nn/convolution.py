"""Convolutions in one to three dimensions."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
from reference_nn.windows import (
    Size,
    add_windows,
    as_tuple,
    crop,
    pad,
    reach,
    require_at_least,
    require_rank,
    windows,
)

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Sizes = tuple[int, ...]


def _columns(x: Array, kernel: Sizes, stride: Sizes, dilation: Sizes, groups: int) -> Array:
    """Every window as a row of a matrix, per group: (groups, samples · positions, channels · kernel)."""
    n = len(kernel)
    view = windows(x, kernel, stride, dilation)
    samples, channels = view.shape[:2]
    split = view.reshape(samples, groups, channels // groups, *view.shape[2:])
    order = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    rows = samples * math.prod(view.shape[2 : 2 + n])
    return split.transpose(order).reshape(groups, rows, -1)


def _rows(g: Array, groups: int) -> Array:
    """(samples, channels, *size) → (groups, samples · positions, channels / groups)."""
    split = g.reshape(g.shape[0], groups, g.shape[1] // groups, -1)
    return split.transpose(1, 0, 3, 2).reshape(groups, -1, split.shape[2])


def _matrix(weights: Array, groups: int) -> Array:
    """(out, in / groups, *kernel) → (groups, in / groups · kernel, out / groups)."""
    return weights.reshape(groups, weights.shape[0] // groups, -1).transpose(0, 2, 1)


def correlate(x: Array, weights: Array, stride: Sizes, dilation: Sizes, groups: int) -> Array:
    """y[n, o, p] = Σ_{c, k} x[n, c, s p + d k] w[o, c, k], as one matrix product per group.

    Shapes: x (samples, in, *size), weights (out, in / groups, *kernel) → (samples, out, *count).
    """
    kernel = weights.shape[2:]
    product = _columns(x, kernel, stride, dilation, groups) @ _matrix(weights, groups)
    count = [
        (size - span) // s + 1
        for size, span, s in zip(x.shape[2:], reach(kernel, dilation), stride, strict=True)
    ]
    split = product.reshape(groups, x.shape[0], *count, -1)
    moved = np.moveaxis(split, (1, 0, -1), (0, 1, 2))
    return moved.reshape(x.shape[0], weights.shape[0], *count)


def spread(
    g: Array, weights: Array, size: Sizes, stride: Sizes, dilation: Sizes, groups: int
) -> Array:
    """The transpose of `correlate` in x: each g[n, o, p] is added, times w[o, c, k], at s p + d k.

    Shapes: g (samples, out, *count), weights (out, in / groups, *kernel) → (samples, in, *size).
    """
    kernel = weights.shape[2:]
    rows = _rows(g, groups) @ _matrix(weights, groups).transpose(0, 2, 1)
    samples, n = g.shape[0], len(kernel)
    split = rows.reshape(groups, samples, *g.shape[2:], weights.shape[1], *kernel)
    order = (1, 0, 2 + n, *range(2, 2 + n), *range(3 + n, 3 + 2 * n))
    patches = split.transpose(order).reshape(samples, -1, *g.shape[2:], *kernel)
    return add_windows(patches, size, stride, dilation)


def weight_gradient(
    x: Array, g: Array, kernel: Sizes, stride: Sizes, dilation: Sizes, groups: int
) -> Array:
    """The transpose of `correlate` in w: Σ_{n, p} g[n, o, p] x[n, c, s p + d k].

    Shapes: x (samples, in, *size), g (samples, out, *count) → (out, in / groups, *kernel).
    """
    columns = _columns(x, kernel, stride, dilation, groups)
    product = _rows(g, groups).transpose(0, 2, 1) @ columns
    return product.reshape(g.shape[1], x.shape[1] // groups, *kernel)


class _Conv(Layer):
    """A convolution in `n` dimensions; see `Conv2d`."""

    n: ClassVar[int]
    parameter_names = ("weights", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        rng: np.random.Generator | None = None,
    ) -> None:
        name = type(self).__name__
        require_choice(name, "padding_mode", padding_mode, ("zeros",))
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        self.kernel_size = as_tuple(kernel_size, self.n, "kernel_size")
        self.stride = as_tuple(stride, self.n, "stride")
        self.dilation = as_tuple(dilation, self.n, "dilation")
        self.groups = groups
        self.padding = self._padding(padding)
        require_at_least(
            name, 1, kernel_size=self.kernel_size, stride=self.stride, dilation=self.dilation
        )
        require_at_least(name, 0, padding=tuple(before for before, _ in self.padding))
        rng = rng or np.random.default_rng()
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weights: Array = rng.uniform(-bound, bound, shape)
        self.bias: Array | None = rng.uniform(-bound, bound, out_channels) if bias else None
        self.grad_weights: Array = np.zeros(shape)
        self.grad_bias: Array | None = np.zeros(out_channels) if bias else None

    def _padding(self, padding: Size | str) -> tuple[tuple[int, int], ...]:
        if not isinstance(padding, str):
            return tuple((p, p) for p in as_tuple(padding, self.n, "padding"))
        require_choice(type(self).__name__, "padding", padding, ("same", "valid"))
        if padding == "valid":
            return ((0, 0),) * self.n
        if any(s != 1 for s in self.stride):
            raise ValueError(f"{type(self).__name__}: padding='same' needs stride 1")
        # An odd total puts the extra element behind.
        spans = reach(self.kernel_size, self.dilation)
        return tuple(((s - 1) // 2, (s - 1) - (s - 1) // 2) for s in spans)

    def _check(self, x: Array) -> None:
        require_rank(type(self).__name__, x, self.n)
        if x.shape[1] != self.weights.shape[1] * self.groups:
            raise ValueError(
                f"{type(self).__name__}: expected {self.weights.shape[1] * self.groups} channels, "
                f"got shape {x.shape}"
            )

    def forward(self, x: Array) -> Array:
        """(samples, in_channels, *size) → (samples, out_channels, *count)."""
        self._check(x)
        padded = pad(x, self.padding)
        output = correlate(padded, self.weights, self.stride, self.dilation, self.groups)
        return output if self.bias is None else output + self.bias.reshape(-1, *(1,) * self.n)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias."""
        self._check(x)
        padded = pad(x, self.padding)
        how = (self.stride, self.dilation, self.groups)
        self.grad_weights = weight_gradient(padded, grad_output, self.weights.shape[2:], *how)
        if self.bias is not None:
            self.grad_bias = grad_output.sum(axis=(0, *range(2, grad_output.ndim)))
        grad_padded = spread(grad_output, self.weights, padded.shape[2:], *how)
        return crop(grad_padded, self.padding)


_DOCUMENTATION = r"""y[n, o, p] = b[o] + Σ_c Σ_k x̄[n, c, s p + d k] w[o, c, k]

    where x̄ is x padded with zeros, p runs over output positions and k over kernel positions ({where}),
    s is the stride and d the dilation. (Strictly a cross-correlation: the kernel is not
    flipped.) With ``groups`` channels are split, and output channels of a group see its inputs only.

    Each x̄ that an output used collects that output's gradient, times the weight between them:

        ∂L/∂w[o, c, k] = Σ_{{n, p}} G[n, o, p] x̄[n, c, s p + d k]
        ∂L/∂x̄[n, c, q] = Σ_o Σ_{{p, k: s p + d k = q}} G[n, o, p] w[o, c, k]
        ∂L/∂b[o]       = Σ_{{n, p}} G[n, o, p]

    and ∂L/∂x is the part of ∂L/∂x̄ that is not padding. The second sum is a convolution of G with
    the flipped kernel, here written as what it is: windows added where they came from. All three are
    matrix products once the windows are laid out as rows (im2col).

    Shapes: x (samples, in_channels, {size}) → (samples, out_channels, {out}), each size
    (size + padding − d (k − 1) − 1) // s + 1; weights (out_channels, in_channels / groups, {kernel});
    bias (out_channels,). dtypes: float32 or float64. ``padding`` is a number, one per dimension,
    "same" (stride 1 only) or "valid".

    Raises ValueError for groups that do not divide the channels, other paddings, numbers that are not
    positive (a padding may be 0), and inputs of another rank, number of channels or too small a size.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning,
    arXiv:1603.07285; Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5.
    """


class Conv1d(_Conv):
    __doc__ = _DOCUMENTATION.format(
        where="along the length", size="length", out="count", kernel="kernel"
    )
    n = 1


class Conv2d(_Conv):
    __doc__ = _DOCUMENTATION.format(
        where="pairs of numbers", size="height, width", out="rows, columns", kernel="k_h, k_w"
    )
    n = 2


class Conv3d(_Conv):
    __doc__ = _DOCUMENTATION.format(
        where="triples of numbers",
        size="depth, height, width",
        out="3 counts",
        kernel="k_d, k_h, k_w",
    )
    n = 3
