"""Where in an array something is, in words."""

from __future__ import annotations

import numpy as np

from crosscheck.derivative.probe import Array


def describe_region(mask: Array) -> str:
    """A phrase for where `mask` is True: an element, a row, a column, the border, everywhere.

    Args:
        mask: boolean array of any shape.
    """
    mask = np.asarray(mask, dtype=bool)
    count, total = int(np.count_nonzero(mask)), mask.size
    if count == 0:
        return "no element"
    if count == total:
        return "every element" if total > 1 else "the only element"
    where = np.argwhere(mask)
    if count == 1:
        return f"one element, {_index(where[0])}"
    single = []
    for axis in range(mask.ndim):
        hit = np.unique(where[:, axis])
        if len(hit) < mask.shape[axis]:
            single.append((axis, hit))
    if len(single) == 1 and count == len(single[0][1]) * total // mask.shape[single[0][0]]:
        axis, hit = single[0]
        return _slices(axis, hit, mask.shape, mask.ndim)
    if _is_border(mask):
        return "the border"
    if mask.ndim >= 2 and mask.shape[-1] == mask.shape[-2]:
        diagonal = np.broadcast_to(np.eye(mask.shape[-1], dtype=bool), mask.shape)
        if np.array_equal(mask, diagonal):
            return "the diagonal"
        if np.array_equal(mask, ~diagonal):
            return "everything but the diagonal"
    low, high = where.min(axis=0), where.max(axis=0)
    if count == int(np.prod(high - low + 1)):
        return "the block " + _index([f"{a}:{b + 1}" for a, b in zip(low, high, strict=True)])
    first = ", ".join(_index(row) for row in where[:3])
    return f"{count} of {total} elements, scattered: {first}{' …' if count > 3 else ''}"


def _index(row: object) -> str:
    return "[" + ", ".join(str(i) for i in row) + "]"  # type: ignore[attr-defined]


def _slices(axis: int, hit: Array, shape: tuple[int, ...], ndim: int) -> str:
    name = (
        {0: "row", 1: "column"}[axis]
        if ndim == 2
        else "element"
        if ndim == 1
        else f"axis {axis}, index"
    )
    if len(hit) == 1:
        return f"{name} {hit[0]}"
    steps = np.unique(np.diff(hit))
    if len(steps) == 1 and steps[0] > 1 and hit[0] < steps[0] and hit[-1] + steps[0] >= shape[axis]:
        every = f"every {_ordinal(int(steps[0]))}"
        if ndim > 2:
            return f"{every} index of axis {axis}, from {hit[0]}"
        return f"{every} {name}, from {hit[0]}"
    if len(steps) == 1 and steps[0] == 1:
        return (
            f"{name}s {hit[0]} to {hit[-1]}" if ndim <= 2 else f"axis {axis}, {hit[0]} to {hit[-1]}"
        )
    listed = ", ".join(map(str, hit[:6])) + (" …" if len(hit) > 6 else "")
    return f"{name}s {listed}" if ndim <= 2 else f"axis {axis}, indices {listed}"


def _ordinal(n: int) -> str:
    """``second``, ``third``, ``4th``, ``21st``, as in "every second row"."""
    if n in (2, 3):
        return ("second", "third")[n - 2]
    suffix = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{suffix}"


def _is_border(mask: Array) -> bool:
    if mask.ndim < 2 or min(mask.shape[-2:]) < 3:
        return False
    inner = mask[..., 1:-1, 1:-1]
    outer = mask.copy()
    outer[..., 1:-1, 1:-1] = True
    return not inner.any() and bool(outer.all())
