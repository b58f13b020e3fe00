"""Causes in convolution, pooling and padding: where windows lie, overlap and tie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View
from crosscheck.causes.operands import _proved
from crosscheck.causes.rule import Diagnosis, Rule
from crosscheck.families.convolution import each
from crosscheck.spec import Array, Problem

#: What stands between the brackets of an array: slices, numbers, an ellipsis.
Index = tuple[Any, ...]
#: Simulating windows one by one costs a call of an oracle each.
MOST_WINDOWS, SIMULATED = 150, 2


def _space(p: Problem) -> tuple[str, ...]:
    """The axes of space of a layer with windows, () for others."""
    axes = tuple(name.removeprefix("kernel_") for name in p.sizes if name.startswith("kernel_"))
    return axes if all(axis in p.sizes for axis in axes) else ()


def _numbers(p: Problem, option: str, otherwise: int) -> tuple[int, ...] | None:
    n = len(_space(p))
    if not n:
        return None
    value = p.options.get(option, otherwise)
    if value is None:
        return tuple(p.sizes[f"kernel_{axis}"] for axis in _space(p))
    return None if isinstance(value, str) else each(value, n)


def _geometry(p: Problem) -> list[tuple[int, int, int, int]] | None:
    """(kernel, stride, padding, dilation) for every axis of space."""
    parts = [_numbers(p, "stride", 1), _numbers(p, "padding", 0), _numbers(p, "dilation", 1)]
    if not _space(p) or None in parts or p.layer.name.startswith("ConvTranspose"):
        return None
    stride, padding, dilation = (part or () for part in parts)
    kernel = [p.sizes[f"kernel_{axis}"] for axis in _space(p)]
    return [*zip(kernel, stride, padding, dilation, strict=True)]


def _assigned(view: View, *, backwards: bool) -> Array | None:
    """The gradient of x if every window overwrote what the windows before it left."""
    geometry, expected = _geometry(view.problem), view.expected
    if geometry is None or expected is None or view.of != "x":
        return None
    counts = view.u.shape[2:]
    positions = [*product(*map(range, counts))]
    if not len(counts) == len(geometry) == expected.ndim - 2 or len(positions) > MOST_WINDOWS:
        return None
    name = next(iter(view.upstream))
    total = np.zeros(expected.shape, expected.dtype)
    for position in reversed(positions) if backwards else positions:
        alone = np.zeros_like(view.u)
        at: Index = (..., *position)
        alone[at] = view.u[at]
        part = view.would_be(upstream={name: alone})
        if part is None:
            return None
        where: list[Array] = []
        for i, (k, s, pad, d), size in zip(position, geometry, expected.shape[2:], strict=True):
            touched = i * s - pad + d * np.arange(k)
            where.append(touched[(touched >= 0) & (touched < size)])
        region: Index = np.ix_(*map(np.arange, expected.shape[:2]), *where)
        total[region] = part[region]
    return total


def _overlap(evidence: Evidence) -> Diagnosis | None:
    views = sorted(evidence.views, key=lambda v: v.u.size)[:SIMULATED]
    if not views or evidence.quantity != "grad_x" or _geometry(views[0].problem) is None:
        return None
    if evidence.shapes_differ:
        return None
    for backwards in (False, True):
        if all(view.alike(_assigned(view, backwards=backwards), view.got) for view in views):
            return Diagnosis(
                evidence.certainty,
                "where windows overlap the last one overwrites the others: = stands for +=.",
                (
                    f"it equals what is left when each window overwrites the one before, in "
                    f"{len(views)} cases.",
                ),
            )
    return None


def _offset(evidence: Evidence) -> Diagnosis | None:
    """The padded gradient cut at its corner instead of in its middle: all is shifted."""
    if not evidence.views or evidence.shapes_differ or evidence.quantity != "grad_x":
        return None
    for view in evidence.views:
        got, right, pads = view.got, view.expected, _numbers(view.problem, "padding", 0)
        if got is None or right is None or not pads or not any(pads):
            return None
        behind: Index = (..., *(slice(p, None) for p in pads))
        sizes = zip(right.shape[2:], pads, strict=True)
        before: Index = (..., *(slice(0, n - p) for n, p in sizes))
        if not view.alike(got[behind], right[before]):
            return None
    return _proved(
        evidence,
        "the padding is cut off at one side only: everything is shifted by the padding.",
        "moved by the padding it agrees, as far as the two overlap",
    )


def _zero_padding(evidence: Evidence) -> Diagnosis | None:
    def what_if(view: View) -> Array | None:
        p = view.problem
        pads = _numbers(p, "padding", 0)
        if not pads or "MaxPool" not in p.layer.name or p.options.get("ceil_mode"):
            return None
        grown = np.pad(view.x, [(0, 0), (0, 0), *((n, n) for n in pads)])
        sizes = {axis: p.sizes[axis] + 2 * n for axis, n in zip(_space(p), pads, strict=True)}
        return view.would_be({"x": grown}, options={"padding": 0}, sizes=sizes)

    if evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return _proved(
        evidence,
        "max pooling pads with zeros: where a window is all negative, the padding wins.",
        "it equals the right pooling of the input padded with zeros",
    )


def _kernel_swapped(evidence: Evidence) -> Diagnosis | None:
    """Height and width of the kernel exchanged, seen in the output's shape and values."""

    def swaps() -> Iterator[tuple[str, str]]:
        axes = [f"kernel_{a}" for a in _space(evidence.views[0].problem)]
        yield from ((a, b) for i, a in enumerate(axes) for b in axes[i + 1 :])

    if not evidence.views or evidence.quantity.startswith("grad_"):
        return None
    for one, other in swaps():
        fits = True
        for view in evidence.views:
            sizes = {one: view.problem.sizes[other], other: view.problem.sizes[one]}
            turned = {
                n: view.values[n].swapaxes(-1, -2)
                for n in view.problem.parameters
                if view.values[n].ndim > 2
            }
            fits = fits and view.alike(view.would_be(turned, sizes=sizes), view.got)
        if fits:
            names = f"{one} and {other}"
            return _proved(
                evidence,
                f"{names} are exchanged.",
                "it equals the right output for the kernel turned on its side",
                names=names,
            )
    return None


def _ties(evidence: Evidence) -> Diagnosis | None:
    """Wrong only where several elements of a window are the largest."""
    tied = [v for v in evidence.views if "tie" in v.case.kind]
    if not tied or len(tied) < len(evidence.views) or not evidence.right_cases:
        return None
    if evidence.shapes_differ or any(v.got is None or v.expected is None for v in tied):
        return None
    more = all(float(np.sum(v.got)) != float(np.sum(v.expected)) for v in tied)  # type: ignore[arg-type]
    says = (
        "every one of several equal maxima gets the whole gradient."
        if more
        else "of several equal maxima another one gets the gradient: a convention."
    )
    return Diagnosis(
        "likely",
        says,
        (
            "it is wrong only where elements of a window are equal, and right in "
            f"{len(evidence.right_cases)} cases without ties.",
        ),
    )


RULES = (
    Rule(
        "padding-offset",
        "padding cut off at one side only",
        _offset,
        "Where in the padded gradient does the input's own part begin?",
        "Cut pad elements off at both ends: grad[..., pad:pad+height, pad:pad+width].",
    ),
    Rule(
        "zero-padding",
        "max pooling padded with zeros",
        _zero_padding,
        "What is the maximum of a window at the border if all its elements are negative?",
        "Pad with −inf, so that the padding never is the maximum.",
    ),
    Rule(
        "kernel-swapped",
        "height and width of the kernel exchanged",
        _kernel_swapped,
        "Which comes first in x.shape and in kernel_size: height or width?",
        "{names} are exchanged. Unpack shapes as (batch, channels, height, width).",
    ),
    Rule(
        "ties",
        "equal maxima in a window",
        _ties,
        "What happens to {q} if two elements of a window are the largest?",
        "Give the gradient to one of them, the first: use argmax, not a comparison with the maximum.",
    ),
    Rule(
        "overlap-overwritten",
        "= instead of += where windows overlap",
        _overlap,
        "What becomes of an input element that two windows have read?",
        "Add up: grad_x[...] += …, since each window that read an element adds to its gradient.",
    ),
)
