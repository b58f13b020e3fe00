"""Upsampling: the nearest element, or a straight line between two."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
from reference_nn.separable import along_axes

__all__ = ["Upsample"]

#: The mode's name says how many axes of space there are; the nearest exists for any.
SPACE = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
}


class Upsample(Layer):
    r"""An axis of n elements seen at o points

    Output i lies at the point t(i) of the input's axis, where element q lies at q. With r = n/o
    input elements to an output element (1/``scale_factor`` where that is given):

        align_corners=False     t = r (i + ½) − ½           elements are boxes, their outer
                                                            edges coincide
        align_corners=True      t = i (n − 1)/(o − 1)       elements are points, the first
                                                            and last coincide

    Linear interpolation weighs the two elements around t, clipped to 0 ≤ t ≤ n − 1,

        y[i] = (1 − λ) x[⌊t⌋] + λ x[⌊t⌋ + 1],      λ = t − ⌊t⌋

    and the nearest is the one element ⌊r i⌋ (``nearest-exact``: ⌊r (i + ½)⌋, the element whose
    box holds the point). Both are y = A x with a matrix A of one axis, applied to one axis after
    the other ("bilinear" is linear along rows, then along columns). So

        ∂L/∂x = Aᵀ G

    along every axis: each input collects from the outputs that it has a weight in. To go down in size
    works the same, but most inputs then go unseen: nothing is averaged.

    ⌊r i⌋ is a matter of rounding where r i is whole: r is float32 here, whatever the input, as it is
    in PyTorch.

    Shapes: x (samples, channels, *n) → (samples, channels, *o), one to three axes: o is ``size``,
    or ⌊n scale_factor⌋. ``recompute_scale_factor`` takes r = n/o even so, as linear interpolation
    does along an axis that keeps its size. dtypes: float32 or float64.

    Raises ValueError for an unknown mode, for both or neither of size and scale_factor, for
    align_corners where nothing is interpolated, and for another rank than the mode's.

    Source: torch.nn.Upsample, documentation; for bilinear interpolation Press et al., Numerical
    Recipes (2007), section 3.6.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        require_choice("Upsample", "mode", mode, tuple(SPACE))
        if (size is None) == (scale_factor is None):
            raise ValueError(
                f"Upsample: size={size!r}, scale_factor={scale_factor!r}: exactly one must be given"
            )
        if mode.startswith("nearest"):
            require_choice(f"Upsample(mode={mode!r})", "align_corners", align_corners, (None,))
        if recompute_scale_factor and scale_factor is None:
            raise ValueError("Upsample: recompute_scale_factor=True without a scale_factor")
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners = bool(align_corners)
        self.recompute_scale_factor = bool(recompute_scale_factor)

    def _target(self, x: Array) -> list[tuple[int, int, float]]:
        """For each axis of space n, o and r."""
        n = x.ndim - 2
        if n not in SPACE[self.mode]:
            wanted = " or ".join(map(str, SPACE[self.mode]))
            raise ValueError(
                f"Upsample: mode={self.mode!r} expects (samples, channels, {wanted} more), got "
                f"shape {x.shape}"
            )
        given = self.scale_factor if self.size is None else self.size
        assert given is not None
        each = tuple(given) if isinstance(given, Sequence) else (given,) * n
        if len(each) != n:
            raise ValueError(f"Upsample: {given!r} does not fit an input of shape {x.shape}")
        target = []
        for size, value in zip(x.shape[2:], each, strict=True):
            count = math.floor(size * value) if self.size is None else int(value)
            if count < 1:
                raise ValueError(f"Upsample: {given!r} leaves nothing of shape {x.shape}")
            kept = count == size and "linear" in self.mode
            whole = self.size is not None or self.recompute_scale_factor or kept
            target.append((size, count, size / count if whole else 1 / value))
        return target

    def _matrix(self, size: int, count: int, ratio: float) -> Array:
        """A, in float64: a row for every output, a column for every input."""
        i = np.arange(count)
        matrix = np.zeros((count, size))
        if self.mode.startswith("nearest"):
            middle = np.float32(0.5 if self.mode == "nearest-exact" else 0)
            seen = np.floor((i.astype(np.float32) + middle) * np.float32(ratio)).astype(int)
            matrix[i, np.minimum(seen, size - 1)] = 1
            return matrix
        if self.align_corners:
            t = i * ((size - 1) / (count - 1) if count > 1 else 0.0)
        else:
            t = ratio * (i + 0.5) - 0.5
        t = np.clip(t, 0, size - 1)
        low = np.floor(t).astype(int)
        weight = t - low
        matrix[i, low] += 1 - weight
        matrix[i, np.minimum(low + 1, size - 1)] += weight
        return matrix

    def _matrices(self, x: Array) -> list[Array]:
        return [self._matrix(*axis).astype(x.real.dtype) for axis in self._target(x)]

    def forward(self, x: Array) -> Array:
        """(samples, channels, *n) → (samples, channels, *o)."""
        return along_axes(x, self._matrices(x))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return along_axes(grad_output, [matrix.T for matrix in self._matrices(x)])
