"""Adaptive pooling: the output's size is given, and the windows follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
from reference_nn.separable import along_axes
from reference_nn.windows import require_rank

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]

OutputSize = int | None | Sequence[int | None]


def bounds(size: int, count: int) -> tuple[Array, Array]:
    """Where each of `count` windows of an axis starts and ends: ⌊i n/o⌋ and ⌈(i + 1) n/o⌉."""
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)


class _Adaptive(Layer):
    """What both kinds share: the output's size."""

    n: ClassVar[int]

    def __init__(self, output_size: OutputSize) -> None:
        sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * self.n
        if len(sizes) != self.n or any(o is not None and o < 1 for o in sizes):
            raise ValueError(
                f"{type(self).__name__}: output_size={output_size!r}: expected a positive number "
                f"or {self.n} of them, None for the input's own"
            )
        self.output_size = sizes

    def _bounds(self, x: Array) -> list[tuple[Array, Array]]:
        """Start and end of the windows of each axis of space."""
        require_rank(type(self).__name__, x, self.n)
        pairs = zip(x.shape[2:], self.output_size, strict=True)
        return [bounds(size, size if count is None else count) for size, count in pairs]


class _AdaptiveAvgPool(_Adaptive):
    def _matrices(self, x: Array) -> list[Array]:
        """For each axis of space the matrix A, of the input's precision."""
        matrices = []
        for size, (start, end) in zip(x.shape[2:], self._bounds(x), strict=True):
            q = np.arange(size)
            inside = (start[:, None] <= q) & (q < end[:, None])
            matrices.append((inside / (end - start)[:, None]).astype(x.real.dtype))
        return matrices

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *output_size)."""
        return along_axes(x, self._matrices(x))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return along_axes(grad_output, [a.T for a in self._matrices(x)])


class _AdaptiveMaxPool(_Adaptive):
    def __init__(
        self,
        output_size: OutputSize,
        return_indices: bool = False,
        convention: str = "torch",
    ) -> None:
        name = type(self).__name__
        require_choice(name, "return_indices", return_indices, (False,))
        require_choice(name, "convention", convention, ("torch", "jax"))
        super().__init__(output_size)
        self.convention = convention

    def _windows(self, x: Array) -> tuple[tuple[Any, ...], Array]:
        """The index that takes all windows out of x, and which of their elements are their own.

        x[index] has the shape (samples, channels, *count, *length). All windows are given the
        length of the longest: a shorter one repeats its last element, and the mask, of shape
        (*count, *length), is False there.
        """
        index: list[Any] = [...]
        own = np.ones((1,) * (2 * self.n), dtype=bool)
        for axis, (start, end) in enumerate(self._bounds(x)):
            shape = [1] * (2 * self.n)
            offset = np.arange(np.max(end - start))
            shape[axis], shape[self.n + axis] = len(start), len(offset)
            place = start[:, None] + offset
            index.append(np.minimum(place, end[:, None] - 1).reshape(shape))
            own = own & (place < end[:, None]).reshape(shape)
        return tuple(index), own

    def _last(self, patches: Array) -> Array:
        """(…, *count, *length) → (…, *count, elements)."""
        return patches.reshape(*patches.shape[: -self.n], math.prod(patches.shape[-self.n :]))

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *output_size)."""
        index, _ = self._windows(x)
        return np.asarray(self._last(x[index]).max(axis=-1))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        index, own = self._windows(x)
        patches: Array = x[index]
        elements = self._last(patches)
        if self.convention == "torch":
            share = np.zeros_like(elements)
            np.put_along_axis(share, elements.argmax(axis=-1)[..., None], 1, axis=-1)
        else:
            largest = elements.max(axis=-1, keepdims=True)
            equal = (elements == largest) & self._last(own)
            share = equal / equal.sum(axis=-1, keepdims=True, dtype=x.dtype)
        total = np.zeros_like(x)
        taken = share * grad_output[..., None]
        np.add.at(total, index, taken.reshape(patches.shape))
        return total


_AVERAGE_DOCUMENTATION = r"""The mean of windows that divide the input as evenly as whole numbers allow

    Of an axis of n elements, output i of o averages from ⌊i n/o⌋ up to, and without,
    ⌈(i + 1) n/o⌉. So windows overlap where o does not divide n, and have different lengths.

        a[i, q] = 1/length(i) for q in window i, else 0

    The mean over a {box} is the mean over one axis of the mean over the next, so the whole is
    one matrix product per axis, and the gradient is the products with the transposed matrices:

        {forward}
        {backward}

    ``output_size`` is one number, or one for each axis; None keeps an axis as it is.

    Shapes: x (samples, channels, {size}) → (samples, channels, {out}).
    dtypes: float32 or float64.

    Raises ValueError for another rank of the input, and an output size that is not positive.

    Source: torch.nn.AdaptiveAvgPool{n}d, documentation; He et al., Spatial pyramid pooling in deep
    convolutional networks, ECCV 2014, section 3.2, for the windows.
    """

_MAX_DOCUMENTATION = r"""The maximum of windows that divide the input as evenly as whole numbers allow

    Of an axis of n elements, output i of o looks from ⌊i n/o⌋ up to, and without,
    ⌈(i + 1) n/o⌉, as in AdaptiveAvgPool{n}d. With W(i) the window of output i,

        y[n, c, i] = max_{{q ∈ W(i)}} x[n, c, q]
        ∂L/∂x[n, c, q] = Σ_{{i: q ∈ W(i)}} G[n, c, i] · share(q, i)

    where the share of the window's maximum is 1 and any other's 0. Where m elements of a window
    are all the largest, PyTorch gives the first one a share of 1 and JAX's max 1/m to each:
    ``convention`` says which.

    ``output_size`` is one number, or one for each axis; None keeps an axis as it is.
    ``return_indices`` is not offered.

    Shapes: x (samples, channels, {size}) → (samples, channels, {out}).
    dtypes: float32 or float64.

    Raises ValueError for another rank of the input, and an output size that is not positive.

    Source: torch.nn.AdaptiveMaxPool{n}d, documentation; He et al., Spatial pyramid pooling in deep
    convolutional networks, ECCV 2014, section 3.2, for the windows.
    """

_LINE = {"n": 1, "size": "length", "out": "count"}
_PLANE = {"n": 2, "size": "height, width", "out": "rows, columns"}
_BODY = {"n": 3, "size": "depth, height, width", "out": "3 counts"}


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(
        box="stretch",
        forward="y = x Aᵀ",
        backward="∂L/∂x = G A",
        **_LINE,
    )
    n = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(
        box="rectangle",
        forward="y = A x Bᵀ",
        backward="∂L/∂x = Aᵀ G B",
        **_PLANE,
    )
    n = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(
        box="box",
        forward="y[i, j, k]       = Σ_{p, q, r} A[i, p] B[j, q] C[k, r] x[p, q, r]",
        backward="∂L/∂x[p, q, r]   = Σ_{i, j, k} A[i, p] B[j, q] C[k, r] G[i, j, k]",
        **_BODY,
    )
    n = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_LINE)
    n = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_PLANE)
    n = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_BODY)
    n = 3
