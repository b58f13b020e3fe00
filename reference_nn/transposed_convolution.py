"""Transposed convolutions in one to three dimensions."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from reference_nn.convolution import correlate, spread, weight_gradient
from reference_nn.layer import Array, Layer, require_choice
from reference_nn.windows import (
    Size,
    as_tuple,
    crop,
    pad,
    reach,
    require_at_least,
    require_rank,
)

__all__ = ["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]


class _ConvTranspose(Layer):
    """A transposed convolution in `n` dimensions; see `ConvTranspose2d`."""

    n: ClassVar[int]
    parameter_names = ("weights", "bias")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
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
        self.padding = as_tuple(padding, self.n, "padding")
        self.output_padding = as_tuple(output_padding, self.n, "output_padding")
        require_at_least(
            name, 1, kernel_size=self.kernel_size, stride=self.stride, dilation=self.dilation
        )
        require_at_least(name, 0, padding=self.padding, output_padding=self.output_padding)
        steps = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any(extra >= max(s, d) for extra, s, d in steps):
            raise ValueError(
                f"{name}: output_padding={output_padding} must be smaller than stride or dilation"
            )
        self.groups = groups
        rng = rng or np.random.default_rng()
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weights: Array = rng.uniform(-bound, bound, shape)
        self.bias: Array | None = rng.uniform(-bound, bound, out_channels) if bias else None
        self.grad_weights: Array = np.zeros(shape)
        self.grad_bias: Array | None = np.zeros(out_channels) if bias else None

    def _check(self, x: Array) -> None:
        require_rank(type(self).__name__, x, self.n)
        if x.shape[1] != self.weights.shape[0]:
            raise ValueError(
                f"{type(self).__name__}: expected {self.weights.shape[0]} channels, "
                f"got shape {x.shape}"
            )
        full, cropping = self._full(x.shape[2:]), self._cropping()
        if any(
            size <= before + after for size, (before, after) in zip(full, cropping, strict=True)
        ):
            raise ValueError(
                f"{type(self).__name__}: padding={self.padding} leaves nothing of an output of size "
                f"{full}, for an input of shape {x.shape}"
            )

    def _cropping(self) -> tuple[tuple[int, int], ...]:
        # The output padding takes back from what is cut at the end, or adds to it.
        pairs = zip(self.padding, self.output_padding, strict=True)
        return tuple((p, p - extra) for p, extra in pairs)

    def _full(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The size before cropping: s (n − 1) + d (k − 1) + 1."""
        spans = reach(self.kernel_size, self.dilation)
        return tuple(
            s * (n - 1) + span for n, s, span in zip(size, self.stride, spans, strict=True)
        )

    def forward(self, x: Array) -> Array:
        """(samples, in_channels, *size) → (samples, out_channels, *larger size)."""
        self._check(x)
        how = (self.stride, self.dilation, self.groups)
        full = spread(x, self.weights, self._full(x.shape[2:]), *how)
        behind = tuple((0, max(-after, 0)) for _, after in self._cropping())
        inside = tuple((before, max(after, 0)) for before, after in self._cropping())
        output = crop(pad(full, behind), inside)
        return output if self.bias is None else output + self.bias.reshape(-1, *(1,) * self.n)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias."""
        self._check(x)
        how = (self.stride, self.dilation, self.groups)
        behind = tuple((0, max(-after, 0)) for _, after in self._cropping())
        inside = tuple((before, max(after, 0)) for before, after in self._cropping())
        grad_full = crop(pad(grad_output, inside), behind)
        self.grad_weights = weight_gradient(grad_full, x, self.weights.shape[2:], *how)
        if self.bias is not None:
            self.grad_bias = grad_output.sum(axis=(0, *range(2, grad_output.ndim)))
        return correlate(grad_full, self.weights, *how)


_DOCUMENTATION = r"""The transpose of a convolution in its input: what there is a gradient is here the output

        ȳ[n, o, q] = Σ_c Σ_{{p, k: s p + d k = q}} x[n, c, p] w[c, o, k]

    each input adds a copy of the kernel to the output, at stride s; y is ȳ without ``padding``
    elements at both ends, ``output_padding`` kept at the end, plus b[o]. Since ȳ is linear in x and w,
    the gradients are those of a convolution with the roles of input and output exchanged, with
    Ḡ the gradient of y padded back to ȳ:

        ∂L/∂x[n, c, p]    = Σ_o Σ_k Ḡ[n, o, s p + d k] w[c, o, k]      a convolution of Ḡ
        ∂L/∂w[c, o, k]    = Σ_{{n, p}} x[n, c, p] Ḡ[n, o, s p + d k]
        ∂L/∂b[o]          = Σ_{{n, q}} G[n, o, q]

    Shapes: x (samples, in_channels, {size}) → (samples, out_channels, …), each size
    s (size − 1) + d (k − 1) + 1 − 2 padding + output_padding; weights (in_channels,
    out_channels / groups, {kernel}); bias (out_channels,). dtypes: float32 or float64.

    Raises ValueError for groups that do not divide the channels, an output padding not smaller than
    stride or dilation, a padding that leaves nothing, numbers that are not positive (paddings may be
    0), and inputs of another rank or number of channels.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning,
    arXiv:1603.07285, chapter 4.
    """


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _DOCUMENTATION.format(size="length", kernel="kernel")
    n = 1


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _DOCUMENTATION.format(size="height, width", kernel="k_h, k_w")
    n = 2


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _DOCUMENTATION.format(size="depth, height, width", kernel="k_d, k_h, k_w")
    n = 3
