"""Causes in convolution, pooling and padding: where windows lie, and what is in the padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View
from crosscheck.causes.rule import Diagnosis, Rule, proved
from crosscheck.families.convolution import each
from crosscheck.spec import Array, Problem

#: What stands between the brackets of an array: slices, numbers, an ellipsis.
Index = tuple[Any, ...]


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


def windows(view: View) -> list[list[Array]] | None:
    """What each output position reads of the input: along every axis of space, indices per window.

    None for a layer without windows, and for a transposed convolution, which writes them.
    """
    p, counts = view.problem, view.u.shape[2:]
    if p.layer.name.startswith("Adaptive"):
        return [
            [np.arange(i * size // n, -(-(i + 1) * size // n)) for i in range(n)]
            for size, n in zip(view.x.shape[2:], counts, strict=True)
        ]
    parts = [_numbers(p, "stride", 1), _numbers(p, "padding", 0), _numbers(p, "dilation", 1)]
    if not _space(p) or None in parts or p.layer.name.startswith("ConvTranspose"):
        return None
    if len(counts) != len(_space(p)) or view.x.ndim != view.u.ndim:
        return None
    found = []
    kernel = [p.sizes[f"kernel_{axis}"] for axis in _space(p)]
    sizes = zip(view.x.shape[2:], counts, kernel, *(part or () for part in parts), strict=True)
    for size, n, k, s, pad, d in sizes:
        touched = [i * s - pad + d * np.arange(k) for i in range(n)]
        found.append([t[(t >= 0) & (t < size)] for t in touched])
    return found


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
    return proved(
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
    return proved(
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
            return proved(
                evidence,
                f"{names} are exchanged.",
                "it equals the right output for the kernel turned on its side",
                names=names,
            )
    return None


def _padding_dropped(evidence: Evidence) -> Diagnosis | None:
    """A padding that copies elements: what comes back to the copies is cut off."""

    def what_if(view: View) -> Array | None:
        pads = view.problem.options.get("padding")
        if "Pad" not in view.problem.layer.name or not isinstance(pads, tuple):
            return None
        middle: list[slice] = []  # the last axis comes first, as (before, after)
        for axis, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True), start=1):
            size = view.u.shape[-axis]
            middle.insert(0, slice(max(before, 0), size - max(after, 0)))
        inside: Index = (..., *middle)
        kept = np.zeros_like(view.u)
        kept[inside] = view.u[inside]
        return view.would_be(upstream={next(iter(view.upstream)): kept})

    if not evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "the padding's gradient is cut off: it belongs to the elements that the padding copies.",
        "it equals the right gradient for an upstream gradient that is 0 in the padding",
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
        "padding-dropped",
        "the gradient of copied padding cut off",
        _padding_dropped,
        "Where do the numbers in the padding come from, and what does the loss say of them?",
        "Every padded element is a copy of one of the input: add its gradient to that element's.",
    ),
)
