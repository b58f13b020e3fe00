"""Unfold, Fold and PixelShuffle: elements moved, and added where windows overlap."""

from __future__ import annotations

from reference_nn.layer import Array, Layer
from reference_nn.windows import (
    Size,
    add_windows,
    as_tuple,
    crop,
    pad,
    reach,
    require_rank,
    windows,
)

__all__ = ["Fold", "PixelShuffle", "PixelUnshuffle", "Unfold"]


class _Blocks(Layer):
    """What Unfold and Fold share: they are each other's transpose."""

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        self.kernel_size = as_tuple(kernel_size, 2, "kernel_size")
        self.dilation = as_tuple(dilation, 2, "dilation")
        self.padding = tuple((p, p) for p in as_tuple(padding, 2, "padding"))
        self.stride = as_tuple(stride, 2, "stride")

    def _unfold(self, x: Array) -> Array:
        view = windows(pad(x, self.padding), self.kernel_size, self.stride, self.dilation)
        columns = view.transpose(0, 1, 4, 5, 2, 3)
        return columns.reshape(x.shape[0], x.shape[1] * columns.shape[2] * columns.shape[3], -1)

    def _fold(self, columns: Array, size: tuple[int, ...]) -> Array:
        padded = tuple(n + a + b for n, (a, b) in zip(size, self.padding, strict=True))
        spans = reach(self.kernel_size, self.dilation)
        count = tuple((n - r) // s + 1 for n, r, s in zip(padded, spans, self.stride, strict=True))
        if columns.shape[2] != count[0] * count[1]:
            raise ValueError(
                f"{type(self).__name__}: {columns.shape[2]} windows, but an output of {size} has "
                f"{count[0]} x {count[1]}"
            )
        high, wide = self.kernel_size
        if columns.shape[1] % (high * wide):
            raise ValueError(
                f"{type(self).__name__}: {high} x {wide} must divide the {columns.shape[1]} rows, "
                "one for each channel and element of the kernel"
            )
        patches = columns.reshape(columns.shape[0], -1, *self.kernel_size, *count)
        return crop(
            add_windows(patches.transpose(0, 1, 4, 5, 2, 3), padded, self.stride, self.dilation),
            self.padding,
        )


class Unfold(_Blocks):
    r"""Every window of the input as a column

        y[n, (c, k), p] = x̄[n, c, s p + d k]

    A copy of elements, some several times; each x̄ collects the gradients of its copies, which is
    `Fold`.

    Shapes: x (samples, channels, height, width) → (samples, channels k_h k_w, windows). dtypes:
    float32 or float64. Raises ValueError for another rank.

    Source: torch.nn.Unfold, documentation.
    """

    def forward(self, x: Array) -> Array:
        """(samples, channels, height, width) → (samples, channels k_h k_w, windows)."""
        require_rank("Unfold", x, 2)
        return self._unfold(x)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return self._fold(grad_output, x.shape[2:])


class Fold(_Blocks):
    r"""Columns added up where their windows lie

        ȳ[n, c, q] = Σ_{p, k: s p + d k = q} x[n, (c, k), p]

    Linear, and the transpose of `Unfold`, so the gradient of x is Unfold of the upstream gradient.

    Shapes: x (samples, channels k_h k_w, windows) → (samples, channels, *output_size). dtypes:
    float32 or float64. Raises ValueError where the number of windows or of rows does not fit.

    Source: torch.nn.Fold, documentation.
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = as_tuple(output_size, 2, "output_size")

    def forward(self, x: Array) -> Array:
        """(samples, channels k_h k_w, windows) → (samples, channels, *output_size)."""
        require_rank("Fold", x, 1)
        return self._fold(x, self.output_size)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return self._unfold(grad_output)


def _factor(layer: str, option: str, value: int) -> int:
    """Refuse a factor that leaves nothing."""
    if value < 1:
        raise ValueError(f"{layer}: {option}={value} must be at least 1")
    return value


def _shuffle(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    split = x.reshape(n, c // (r * r), r, r, h, w)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // (r * r), h * r, w * r).copy()


def _unshuffle(x: Array, r: int) -> Array:
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // r, r, w // r, r)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * r * r, h // r, w // r).copy()


class PixelShuffle(Layer):
    r"""r² channels become one, r times as high and wide

        y[n, c, r h + i, r w + j] = x[n, c r² + r i + j, h, w]

    A permutation, so the gradient is the inverse permutation of the upstream gradient.

    Shapes: x (samples, channels r², height, width) → (samples, channels, r height, r width).
    dtypes: kept. Raises ValueError where r² does not divide the channels, and for r < 1.

    Source: Shi et al., Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network, CVPR 2016.
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = _factor("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, x: Array) -> Array:
        """(samples, channels r², h, w) → (samples, channels, r h, r w)."""
        require_rank("PixelShuffle", x, 2)
        if x.shape[1] % self.upscale_factor**2:
            raise ValueError(
                f"PixelShuffle: {self.upscale_factor}² must divide the channels of {x.shape}"
            )
        return _shuffle(x, self.upscale_factor)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return _unshuffle(grad_output, self.upscale_factor)


class PixelUnshuffle(Layer):
    r"""The inverse of `PixelShuffle`; its gradient is PixelShuffle.

    Shapes: x (samples, channels, r height, r width) → (samples, channels r², height, width).
    dtypes: kept. Raises ValueError where r does not divide height and width, and for r < 1.

    Source: Shi et al., CVPR 2016, as for PixelShuffle.
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = _factor("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, x: Array) -> Array:
        """(samples, channels, r h, r w) → (samples, channels r², h, w)."""
        require_rank("PixelUnshuffle", x, 2)
        if any(size % self.downscale_factor for size in x.shape[2:]):
            raise ValueError(
                f"PixelUnshuffle: {self.downscale_factor} must divide height and width of {x.shape}"
            )
        return _unshuffle(x, self.downscale_factor)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return _shuffle(grad_output, self.downscale_factor)
