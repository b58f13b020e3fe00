"""Which comparison shows a finding best, and where in its array two answers differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crosscheck.comparison import NUMERIC, Comparison
from crosscheck.spec import Array

if TYPE_CHECKING:
    from crosscheck.finding import Finding


def evidence(finding: Finding) -> Comparison | None:
    """The comparison that shows a finding best: with both arrays, plain, in float64, the first."""

    def rank(c: Comparison) -> tuple[bool, ...]:
        return (
            c.got is None or c.expected is None,
            c.right == NUMERIC,
            c.case.memory != "plain",
            c.case.dtype != "float64",
        )

    return min(finding.comparisons, key=rank, default=None)


def worst_elements(got: Array, expected: Array, count: int) -> list[tuple[str, str, str, str]]:
    """The elements that differ most, as text: where, got, expected, difference. Equal shapes only."""
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    order = np.argsort(-np.nan_to_num(difference, nan=np.inf).ravel(), kind="stable")[:count]
    places = [tuple(int(i) for i in np.unravel_index(int(flat), got.shape)) for flat in order]
    return [
        (str([*at]), f"{got[at]:.9g}", f"{expected[at]:.9g}", f"{difference[at]:.3g}")
        for at in places
    ]


def axis_names(comparison: Comparison, ndim: int) -> tuple[str, ...]:
    """The axes of the compared quantity as the layer names them; ``axis 0`` where it does not."""
    problem = comparison.case.problem
    tensors = {**problem.given, **problem.outputs}
    tensor = tensors.get(comparison.quantity.removeprefix("grad_"))
    words = tensor.axes.split() if tensor is not None and isinstance(tensor.axes, str) else []
    if len(words) != ndim:
        words = [""] * ndim
    return tuple(
        f"axis {i}" if word.isdigit() or not word else word for i, word in enumerate(words)
    )


def wrong_elements(comparison: Comparison, got: Array, expected: Array) -> Array:
    """A mask of the elements that differ by more than the tolerance; equal shapes only."""
    if got.dtype.kind != "f" and expected.dtype.kind != "f":
        return np.asarray(got != expected)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    same = (got == expected) | (difference <= (comparison.tolerance or 0.0))
    return ~np.asarray(same)


def where(comparison: Comparison, got: Array, expected: Array) -> str:
    """One line: how many elements, the worst one, and what all of them have in common.

    Returns:
        Such as ``4 of 12 elements, the worst at [batch=1, features=0]; only where features is 0``.
        Empty if the shapes differ: there are no elements to point at.
    """
    if got.shape != expected.shape or got.size == 0:
        return ""
    wrong = wrong_elements(comparison, got, expected)
    count = int(np.count_nonzero(wrong))
    if not count:
        return ""
    if got.ndim == 0:
        return "the one number"
    names = axis_names(comparison, got.ndim)
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    ranked = np.where(wrong, np.nan_to_num(difference, nan=np.inf, posinf=np.inf), -1.0)
    worst = np.unravel_index(int(np.argmax(ranked)), got.shape)
    place = ", ".join(f"{name}={int(i)}" for name, i in zip(names, worst, strict=True))
    many = f"all {count}" if count == got.size else f"{count} of {got.size}"
    text = f"{many} elements, the worst at [{place}]"
    if count < got.size:
        common = [c for axis, name in enumerate(names) if (c := _common(wrong, axis, name))]
        if common:
            text += "; only where " + " and ".join(common)
    return text


def _common(wrong: Array, axis: int, name: str) -> str:
    """The indices along one axis outside of which nothing is wrong, if they are few enough to say."""
    others = tuple(i for i in range(wrong.ndim) if i != axis)
    hit = [int(i) for i in np.flatnonzero(wrong.any(axis=others))]
    size = wrong.shape[axis]
    if len(hit) == size or len(hit) > 3:
        missing = [i for i in range(size) if i not in hit]
        if len(hit) == size or len(missing) > 3:
            return ""
        return f"{name} is not {' or '.join(map(str, missing))}"
    return f"{name} is {' or '.join(map(str, hit))}"
