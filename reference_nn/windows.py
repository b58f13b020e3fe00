"""Sliding windows in any number of dimensions: what convolution, pooling and unfolding share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from reference_nn.layer import Array

Size = int | Sequence[int]
#: What stands between the brackets of an array: slices, numbers, an ellipsis.
Index = tuple[Any, ...]


def as_tuple(value: Size, n: int, what: str) -> tuple[int, ...]:
    """One number for every dimension, or one for each.

    Raises:
        ValueError: a sequence of another length.
    """
    if isinstance(value, int | np.integer):
        return (int(value),) * n
    if len(value) != n:
        raise ValueError(f"{what}={value!r}: expected a number or {n} numbers")
    return tuple(int(v) for v in value)


def require_at_least(layer: str, least: int, **options: tuple[int, ...]) -> None:
    """Refuse options with a number below `least`.

    Raises:
        ValueError: the message names the layer and the option.
    """
    for name, numbers in options.items():
        if min(numbers) < least:
            raise ValueError(f"{layer}: {name}={numbers} must be {least} or more")


def require_rank(layer: str, x: Array, n: int) -> None:
    """Refuse an input that has not a batch axis, a channel axis and n more.

    Raises:
        ValueError: the message says what was expected and found.
    """
    if x.ndim != n + 2:
        raise ValueError(f"{layer}: expected (batch, channels, {n} more), got shape {x.shape}")


def pad(x: Array, padding: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
    """Pad the last axes, one (before, after) for each; a copy even if nothing is added."""
    widths = [(0, 0)] * (x.ndim - len(padding)) + list(padding)
    return np.pad(x, widths, constant_values=value)


def crop(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Undo `pad`: the inner part, as a copy. Nothing is cut where the padding is 0."""
    sizes = x.shape[-len(padding) :]
    inner = (slice(low, n - high) for (low, high), n in zip(padding, sizes, strict=True))
    where: Index = (..., *inner)
    return x[where].copy()


def reach(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """How many elements a dilated kernel spans: d (k − 1) + 1."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def windows(
    x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """Every window of the last axes, as a read-only view.

    Shapes: x (…, *size) → (…, *count, *kernel), count = (size − d (k − 1) − 1)//stride + 1.

    Raises:
        ValueError: the kernel is larger than the input.
    """
    span = reach(kernel, dilation)
    size = x.shape[-len(span) :]
    if any(s > n for s, n in zip(span, size, strict=True)):
        raise ValueError(f"a kernel that spans {span} does not fit an input of {size}")
    axes = tuple(range(x.ndim - len(span), x.ndim))
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=axes)
    steps = (slice(None, None, s) for s in stride)
    holes = (slice(None, None, d) for d in dilation)
    taken: Index = (..., *steps, *holes)
    return view[taken]


def add_windows(
    patches: Array, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Array:
    """The transpose of `windows`: add every window's elements where they came from.

    Where windows overlap the contributions add up (+=, not =): an element that was read by several
    windows collects a gradient from each.

    Shapes: patches (…, *count, *kernel) → (…, *size).
    """
    n = len(size)
    lead = patches.shape[: patches.ndim - 2 * n]
    count = patches.shape[patches.ndim - 2 * n : patches.ndim - n]
    kernel = patches.shape[patches.ndim - n :]
    total = np.zeros((*lead, *size), dtype=patches.dtype)
    for position in product(*map(range, kernel)):
        spans = (
            slice(p * d, p * d + s * (c - 1) + 1, s)
            for p, d, s, c in zip(position, dilation, stride, count, strict=True)
        )
        place: Index = (..., *spans)
        source: Index = (..., *position)
        total[place] += patches[source]
    return total
