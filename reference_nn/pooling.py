"""Max and average pooling in one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
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

__all__ = ["AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d"]

Pads = list[tuple[int, int]]


class _Pool(Layer):
    """What both kinds share: where the windows lie."""

    n: ClassVar[int]

    def __init__(
        self, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
    ) -> None:
        name = type(self).__name__
        self.kernel_size = as_tuple(kernel_size, self.n, "kernel_size")
        self.stride = as_tuple(kernel_size if stride is None else stride, self.n, "stride")
        self.padding = as_tuple(padding, self.n, "padding")
        self.dilation = as_tuple(dilation, self.n, "dilation")
        self.ceil_mode = ceil_mode
        for option in ("kernel_size", "stride", "dilation"):
            if min(getattr(self, option)) < 1:
                raise ValueError(f"{name}: {option}={getattr(self, option)} must be 1 or more")
        span = reach(self.kernel_size, self.dilation)
        if any(p < 0 or p > s // 2 for p, s in zip(self.padding, span, strict=True)):
            raise ValueError(
                f"{name}: padding={self.padding} must be between 0 and half of what the kernel "
                f"spans, {span}: no window may lie in the padding alone"
            )

    def _pads(self, x: Array) -> Pads:
        """What to add before and after each axis of space, so that the last window fits.

        Without ``ceil_mode`` a window that would reach beyond the padding is left out, with it
        the axis is extended for that window, unless it would start in the padding after the input.
        """
        require_rank(type(self).__name__, x, self.n)
        span = reach(self.kernel_size, self.dilation)
        pads = []
        for size, r, s, p in zip(x.shape[2:], span, self.stride, self.padding, strict=True):
            free = size + 2 * p - r
            count = (-(-free // s) if self.ceil_mode else free // s) + 1
            if self.ceil_mode and (count - 1) * s >= size + p:
                count -= 1
            if count < 1:
                raise ValueError(
                    f"{type(self).__name__}: a kernel that spans {r} does not fit a size of {size} "
                    f"with padding {p}, in an input of shape {x.shape}"
                )
            pads.append((p, max(p, (count - 1) * s + r - size - p)))
        return pads

    def _looks(self, padded: Array) -> Iterator[Array]:
        """For each kernel position k what all windows see there: padded[…, s p + d k]."""
        view = windows(padded, self.kernel_size, self.stride, self.dilation)
        for position in product(*map(range, self.kernel_size)):
            index: tuple[Any, ...] = (..., *position)
            yield view[index]

    def _add(self, patches: Array, x: Array, pads: Pads) -> Array:
        """Every window's gradients added where they came from, without the padding."""
        size = [n + a + b for n, (a, b) in zip(x.shape[2:], pads, strict=True)]
        return crop(add_windows(patches, size, self.stride, self.dilation), pads)


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        require_choice(type(self).__name__, "return_indices", return_indices, (False,))
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)

    def _first_inside(self, count: tuple[int, ...]) -> Array:
        """For every window the number of its first position that is not in the padding before."""
        total = np.zeros(count, dtype=np.intp)
        for axis, (k, s, p, d) in enumerate(
            zip(self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        ):
            start = np.arange(count[axis]) * s - p
            first = np.maximum(-(start // d), 0)
            total = total * k + first.reshape(-1, *(1,) * (self.n - 1 - axis))
        return total

    def _maxima(self, x: Array, pads: Pads) -> tuple[Array, Array]:
        """The maximum of every window, and the number of the kernel position that has it."""
        looks = self._looks(pad(x, pads, -np.inf))
        best = next(looks).copy()
        which = np.broadcast_to(self._first_inside(best.shape[2:]), best.shape).copy()
        for number, seen in enumerate(looks, start=1):
            higher = np.maximum(best, seen)
            np.copyto(which, number, where=higher != best)
            best = higher
        return best, which

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *count)."""
        return self._maxima(x, self._pads(x))[0]

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        pads = self._pads(x)
        _, which = self._maxima(x, pads)
        numbers = np.arange(np.prod(self.kernel_size)).reshape(-1, *(1,) * which.ndim)
        taken = np.where(which == numbers, grad_output, 0).reshape(*self.kernel_size, *which.shape)
        space = tuple(range(self.n))
        return self._add(np.moveaxis(taken, space, tuple(range(-self.n, 0))), x, pads)


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        if divisor_override == 0:
            raise ValueError(f"{type(self).__name__}: divisor_override=0 must not be 0")
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def _sums(self, padded: Array) -> Array:
        looks = self._looks(padded)
        total = next(looks).copy()
        for seen in looks:
            total += seen
        return total

    def _divisor(self, x: Array, pads: Pads) -> Array:
        """What each window's sum is divided by: the number of elements that count. Shape (*count)."""
        dtype = x.real.dtype
        if self.divisor_override is not None:
            return np.asarray(self.divisor_override, dtype=dtype)
        declared = [(p, p) for p in self.padding]
        extra = [(0, after - p) for (_, after), p in zip(pads, self.padding, strict=True)]
        counts = pad(np.ones(x.shape[2:], dtype), declared, float(self.count_include_pad))
        return self._sums(pad(counts, extra))

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *count)."""
        pads = self._pads(x)
        return self._sums(pad(x, pads)) / self._divisor(x, pads)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        pads = self._pads(x)
        share = grad_output / self._divisor(x, pads)
        each = share.reshape(*share.shape, *(1,) * self.n)
        return self._add(np.broadcast_to(each, share.shape + self.kernel_size), x, pads)


_MAX_DOCUMENTATION = r"""y[n, c, p] = max_k x̄[n, c, s p + d k]

    where x̄ is x padded with −∞ (so that padding never wins, whatever the sign of x), p runs over
    output positions and k over kernel positions ({where}), s is the stride and d
    the dilation.

    Moving one element moves y only if it is the window's maximum. With k* the position of the
    maximum of window p,

        ∂L/∂x̄[n, c, q] = Σ_{{p: s p + d k*(p) = q}} G[n, c, p]

    A sum, because overlapping windows may have the same maximum. Where several elements of a
    window are equal the maximum has a kink, and any share between them is a subgradient: here the
    first one, in the order of the kernel positions, takes all, as in PyTorch and in JAX's
    reduce_window. Where x has NaN, so has y; a window of −∞ alone gives its gradient to its first
    element, never to the padding.

    Without a ``stride`` it is the kernel's size: windows that tile the input. ``ceil_mode``
    rounds the number of windows up instead of down; ``return_indices`` is not offered.

    Shapes: x (samples, channels, {size}) → (samples, channels, {out}), each size
    (size + 2 padding − d (k − 1) − 1) // stride + 1. dtypes: float32 or float64.

    Raises ValueError for padding of more than half the kernel, and for inputs of another rank or
    smaller than the kernel.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3;
    torch.nn.MaxPool{n}d, documentation.
    """

_AVERAGE_DOCUMENTATION = r"""y[n, c, p] = (1/D[p]) Σ_k x̄[n, c, s p + k]

    where x̄ is x padded with zeros, p runs over output positions and k over kernel positions
    ({where}), s is the stride. D[p] is the number of elements in window p: those of x and, with
    ``count_include_pad``, of the padding too. What ``ceil_mode`` adds at the end, to round the
    number of windows up instead of down, never counts.{override}

    Linear in x: each element of a window has the weight 1/D, and collects from every window that
    holds it,

        ∂L/∂x̄[n, c, q] = Σ_{{p, k: s p + k = q}} G[n, c, p] / D[p]

    and ∂L/∂x is the part of ∂L/∂x̄ that is not padding.

    Without a ``stride`` it is the kernel's size: windows that tile the input.

    Shapes: x (samples, channels, {size}) → (samples, channels, {out}), each size
    (size + 2 padding − k) // stride + 1. dtypes: float32 or float64.

    Raises ValueError for padding of more than half the kernel, and for inputs of another rank or
    smaller than the kernel.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.3;
    torch.nn.AvgPool{n}d, documentation.
    """

_LINE = {"n": 1, "where": "along the length", "size": "length", "out": "count"}
_PLANE = {"n": 2, "where": "pairs of numbers", "size": "height, width", "out": "rows, columns"}
_BODY = {"n": 3, "where": "triples of numbers", "size": "depth, height, width", "out": "3 counts"}
_OVERRIDE = "\n    A ``divisor_override`` stands for D in every window."


class MaxPool1d(_MaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_LINE)
    n = 1


class MaxPool2d(_MaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_PLANE)
    n = 2


class MaxPool3d(_MaxPool):
    __doc__ = _MAX_DOCUMENTATION.format(**_BODY)
    n = 3


class AvgPool1d(_AvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(override="", **_LINE)
    n = 1

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(override=_OVERRIDE, **_PLANE)
    n = 2


class AvgPool3d(_AvgPool):
    __doc__ = _AVERAGE_DOCUMENTATION.format(override=_OVERRIDE, **_BODY)
    n = 3
