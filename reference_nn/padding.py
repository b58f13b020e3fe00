"""Padding: constants, mirrors, repeated edges and circles, in one to three dimensions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reference_nn.layer import Array, Layer
from reference_nn.windows import Size, as_tuple, crop, pad, require_rank

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Layer):
    """What all share: ``padding``, in torch's order, as (before, after) for each axis of space."""

    n: ClassVar[int]

    def __init__(self, padding: Size) -> None:
        flat = as_tuple(padding, 2 * self.n, "padding")
        last_axis_first = list(zip(flat[::2], flat[1::2], strict=True))
        self.padding = last_axis_first[::-1]

    def _check(self, x: Array) -> None:
        require_rank(type(self).__name__, x, self.n)


class _ConstantPad(_Pad):
    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value
        self._added = [(max(a, 0), max(b, 0)) for a, b in self.padding]
        self._cut = [(max(-a, 0), max(-b, 0)) for a, b in self.padding]

    def _check(self, x: Array) -> None:
        super()._check(x)
        for size, (a, b) in zip(x.shape[2:], self.padding, strict=True):
            if size + min(a, 0) + min(b, 0) < 0:
                raise ValueError(
                    f"{type(self).__name__}: padding ({a}, {b}) cuts more than a size of {size} has"
                )

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *padded size)."""
        self._check(x)
        return pad(crop(x, self._cut), self._added, self.value)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return pad(crop(grad_output, self._added), self._cut)


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)


class _CopyPad(_Pad):
    """Padding by copies of the input: `source` says which element a position copies."""

    def __init__(self, padding: Size) -> None:
        super().__init__(padding)
        if min(map(min, self.padding)) < 0:
            raise ValueError(f"{type(self).__name__}: padding={padding} must not be negative")

    def limit(self, size: int) -> int | None:
        """The widest padding that an axis of this size can have, or None for any."""
        raise NotImplementedError

    def source(self, q: Array, size: int) -> Array:
        """The element of 0 … size − 1 that stands at the positions q, which may lie outside."""
        raise NotImplementedError

    def _check(self, x: Array) -> None:
        super()._check(x)
        for size, pads in zip(x.shape[2:], self.padding, strict=True):
            limit = self.limit(size)
            if limit is not None and max(pads) > limit:
                raise ValueError(
                    f"{type(self).__name__}: padding {pads} of a size of {size} is wider than {limit}"
                )

    def forward(self, x: Array) -> Array:
        """(samples, channels, *size) → (samples, channels, *padded size)."""
        self._check(x)
        for axis, (before, after) in enumerate(self.padding, start=2):
            size = x.shape[axis]
            x = np.take(x, self.source(np.arange(-before, size + after), size), axis=axis)
        return x

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        self._check(x)
        total = grad_output
        for axis, (before, after) in enumerate(self.padding, start=2):
            size = x.shape[axis]
            upstream = np.moveaxis(total, axis, 0)
            inner = upstream[before : before + size].copy()
            for q in (*range(-before, 0), *range(size, size + after)):
                inner[self.source(np.asarray(q), size)] += upstream[before + q]
            total = np.moveaxis(inner, 0, axis)
        return np.ascontiguousarray(total)


class _ReflectionPad(_CopyPad):
    def limit(self, size: int) -> int | None:
        """One less than the size: the edge itself is not repeated."""
        return size - 1

    def source(self, q: Array, size: int) -> Array:
        """Mirrored at 0 and at size − 1."""
        return np.asarray(size - 1 - np.abs(size - 1 - np.abs(q)))


class _ReplicationPad(_CopyPad):
    def limit(self, size: int) -> int | None:
        """None: an edge can be repeated for ever."""
        return None

    def source(self, q: Array, size: int) -> Array:
        """The nearest edge."""
        return np.clip(q, 0, size - 1)


class _CircularPad(_CopyPad):
    def limit(self, size: int) -> int | None:
        """Once around."""
        return size

    def source(self, q: Array, size: int) -> Array:
        """Around the circle."""
        return q % size


_CONSTANT = r"""The input in a frame of one value

        y[n, c, p] = x[n, c, p − before] inside, {value} in the frame

    The frame does not depend on x, so the gradient of x is the upstream gradient without it.
    Negative padding cuts off instead, and what is cut off has a gradient of zero.

    ``padding`` is one number for all sides, or {sides}.

    Shapes: x (samples, channels, {size}) → the same, each size larger by both its paddings.
    dtypes: float32 or float64. Raises ValueError for another rank, and where more is cut than
    there is.

    Source: torch.nn.{name}Pad{n}d, documentation.
    """

_COPY = r"""{what}

        y[n, c, p] = x[n, c, σ(p − before)]      for each axis, one after the other, with
        {source}

    {example}

    A copy hands its gradient to what it copies, so each x collects the upstream gradient of all
    positions that show it:

        ∂L/∂x[n, c, q] = Σ_{{p: σ(p − before) = q}} G[n, c, p]

    ``padding`` is one number for all sides, or {sides}.

    Shapes: x (samples, channels, {size}) → the same, each size larger by both its paddings.
    dtypes: float32 or float64. Raises ValueError for another rank and for negative padding{limit}.

    Source: torch.nn.{name}Pad{n}d, documentation.
    """

_REFLECTION = {
    "name": "Reflection",
    "what": "The input continued by its mirror image; the edge itself is not repeated",
    "source": "σ(q) = −q before 0, 2 (size − 1) − q from size on, q between",
    "example": "(a, b, c, d) padded by 2 is (c, b, a, b, c, d, c, b).",
    "limit": ",\n    and for padding wider than size − 1",
}
_REPLICATION = {
    "name": "Replication",
    "what": "The input continued by its edges",
    "source": "σ(q) = 0 before 0, size − 1 from size on, q between",
    "example": "(a, b, c, d) padded by 2 is (a, a, a, b, c, d, d, d).",
    "limit": "",
}
_CIRCULAR = {
    "name": "Circular",
    "what": "The input on a circle: after the end it begins again",
    "source": "σ(q) = q modulo size",
    "example": "(a, b, c, d) padded by 2 is (c, d, a, b, c, d, a, b).",
    "limit": ",\n    and for padding wider than the size",
}
_SPACE = {
    1: {"n": "1", "size": "length", "sides": "(left, right)"},
    2: {"n": "2", "size": "height, width", "sides": "(left, right, top, bottom): last axis first"},
    3: {
        "n": "3",
        "size": "depth, height, width",
        "sides": "(left, right, top, bottom, front, back): last axis first",
    },
}


class ConstantPad1d(_ConstantPad):
    __doc__ = _CONSTANT.format(name="Constant", value="``value``", **_SPACE[1])
    n = 1


class ConstantPad2d(_ConstantPad):
    __doc__ = _CONSTANT.format(name="Constant", value="``value``", **_SPACE[2])
    n = 2


class ConstantPad3d(_ConstantPad):
    __doc__ = _CONSTANT.format(name="Constant", value="``value``", **_SPACE[3])
    n = 3


class ZeroPad1d(_ZeroPad):
    __doc__ = _CONSTANT.format(name="Zero", value="0", **_SPACE[1])
    n = 1


class ZeroPad2d(_ZeroPad):
    __doc__ = _CONSTANT.format(name="Zero", value="0", **_SPACE[2])
    n = 2


class ZeroPad3d(_ZeroPad):
    __doc__ = _CONSTANT.format(name="Zero", value="0", **_SPACE[3])
    n = 3


class ReflectionPad1d(_ReflectionPad):
    __doc__ = _COPY.format(**_REFLECTION, **_SPACE[1])
    n = 1


class ReflectionPad2d(_ReflectionPad):
    __doc__ = _COPY.format(**_REFLECTION, **_SPACE[2])
    n = 2


class ReflectionPad3d(_ReflectionPad):
    __doc__ = _COPY.format(**_REFLECTION, **_SPACE[3])
    n = 3


class ReplicationPad1d(_ReplicationPad):
    __doc__ = _COPY.format(**_REPLICATION, **_SPACE[1])
    n = 1


class ReplicationPad2d(_ReplicationPad):
    __doc__ = _COPY.format(**_REPLICATION, **_SPACE[2])
    n = 2


class ReplicationPad3d(_ReplicationPad):
    __doc__ = _COPY.format(**_REPLICATION, **_SPACE[3])
    n = 3


class CircularPad1d(_CircularPad):
    __doc__ = _COPY.format(**_CIRCULAR, **_SPACE[1])
    n = 1


class CircularPad2d(_CircularPad):
    __doc__ = _COPY.format(**_CIRCULAR, **_SPACE[2])
    n = 2


class CircularPad3d(_CircularPad):
    __doc__ = _COPY.format(**_CIRCULAR, **_SPACE[3])
    n = 3
