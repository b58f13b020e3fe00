"""Causes where gradients are gathered: what is used several times collects several gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View
from crosscheck.causes.rule import Diagnosis, Rule, proved
from crosscheck.causes.windows import Index, windows
from crosscheck.spec import Array

#: A gradient is taken apart by asking an oracle once for every position of the output.
MOST_POSITIONS, SIMULATED = 150, 2

#: What one position of the output adds to a gradient, in the order of the positions.
Parts = list[tuple[tuple[int, ...], Array]]
#: Which elements of a gradient a position writes, from the position and what it adds.
Region = Callable[[tuple[int, ...], Array], Any]


def _axes(view: View) -> Iterator[tuple[int, ...]]:
    """The axes of the output that a loop may run over: space, all but the last, samples, all."""
    n = view.u.ndim
    choices = [(*range(2, n),), (*range(n - 1),), (0,), (*range(n),)]
    yield from (axes for axes in dict.fromkeys(choices) if axes and axes[-1] < n)


def _parts(view: View, axes: tuple[int, ...]) -> Parts | None:
    """The right gradient as a sum over positions along some axes of the output."""
    shape = view.u.shape
    positions = [*product(*(range(shape[a]) for a in axes))]
    if not 1 < len(positions) <= MOST_POSITIONS:
        return None
    name, found = next(iter(view.upstream)), []
    for position in positions:
        at: list[Any] = [slice(None)] * len(shape)
        for axis, i in zip(axes, position, strict=True):
            at[axis] = i
        alone = np.zeros_like(view.u)
        alone[tuple(at)] = view.u[tuple(at)]
        part = view.would_be(upstream={name: alone})
        if part is None:
            return None
        found.append((position, part))
    return found


def _regions(view: View, axes: tuple[int, ...]) -> Iterator[Region]:
    """What a position writes: whatever it adds something to; or its whole window."""
    yield lambda position, part: part != 0
    read = windows(view) if axes == (*range(2, view.u.ndim),) and view.of == "x" else None
    if read is None:
        return

    def window(position: tuple[int, ...], part: Array) -> Index:
        where = [read[axis][i] for axis, i in enumerate(position)]
        return np.ix_(*map(np.arange, part.shape[:2]), *where)

    yield window


def _assigned(parts: Parts, region: Region, *, backwards: bool) -> Array:
    """The gradient if every position overwrote what the positions before it left."""
    total = np.zeros_like(parts[0][1])
    for position, part in reversed(parts) if backwards else parts:
        where = region(position, part)
        total[where] = part[where]
    return total


#: A way to overwrite: axes of the output, number of the region, whether the loop runs backwards.
Way = tuple[tuple[int, ...], int, bool]


def _ways(view: View, axes: tuple[int, ...]) -> Iterator[tuple[Way, Array]]:
    """Every way to overwrite along some axes, with the gradient that it gives."""
    parts = _parts(view, axes)
    for which, region in enumerate(_regions(view, axes) if parts else ()):
        for backwards in (False, True):
            yield (axes, which, backwards), _assigned(parts or [], region, backwards=backwards)


def _overwritten(evidence: Evidence) -> Diagnosis | None:
    if not evidence.quantity.startswith("grad_") or evidence.shapes_differ:
        return None
    views = sorted(evidence.views, key=lambda v: v.u.size)[:SIMULATED]
    right = sorted(evidence.right_views, key=lambda v: v.u.size)[:1]
    if not views:
        return None
    first, *others = views
    for way, made in (found for axes in _axes(first) for found in _ways(first, axes)):
        if not first.alike(made, first.got):
            continue
        if all(v.alike(dict(_ways(v, way[0])).get(way), v.got) for v in others) and all(
            v.alike(dict(_ways(v, way[0])).get(way, v.expected), v.expected) for v in right
        ):
            which = "first" if way[2] else "last"
            samples = way[0] == (0,) and first.of in first.problem.parameters
            whose = f"of the {which} sample" if samples else f"that came {which}"
            return proved(
                evidence,
                f"overwritten instead of added: only the gradient {whose} is kept. = stands for +=.",
                "it equals what is left when every gradient overwrites the one before it",
            )
    return None


def _ties(evidence: Evidence) -> Diagnosis | None:
    """Wrong only where several elements of a window are the largest."""
    tied = [v for v in evidence.views if "tie" in v.case.kind]
    if not tied or len(tied) < len(evidence.views) or not evidence.right_cases:
        return None
    if evidence.shapes_differ or any(v.got is None or v.expected is None for v in tied):
        return None
    why = (
        "it is wrong only where elements of a window are equal, and right in "
        f"{len(evidence.right_cases)} cases without ties.",
    )
    for share, says in (
        (False, "every one of several equal maxima gets the whole gradient."),
        (True, "several equal maxima share the gradient: here the first one gets it all."),
    ):
        if all(v.alike(_every_maximum(v, share=share), v.got) for v in tied):
            return Diagnosis(evidence.certainty, says, why)
    more = any(not v.alike(np.sum(v.got), np.sum(v.expected)) for v in tied)  # type: ignore[arg-type]
    says = (
        "of several equal maxima more than one gets the gradient."
        if more
        else "of several equal maxima another one gets the gradient: a convention."
    )
    return Diagnosis("likely", says, why)


def _every_maximum(view: View, *, share: bool) -> Array | None:
    """The gradient of x if every maximum of a window got it, whole or an equal share."""
    read = windows(view)
    if read is None or view.of != next(iter(view.problem.inputs)):
        return None
    total = np.zeros(view.x.shape)
    for position in np.ndindex(*view.u.shape[2:]):
        at = (slice(None), slice(None), *np.ix_(*(read[a][i] for a, i in enumerate(position))))
        seen = view.x[at]
        space = tuple(range(2, seen.ndim))
        largest = seen == seen.max(axis=space, keepdims=True)
        up = view.u[(..., *position)].reshape(*seen.shape[:2], *(1,) * len(space))
        total[at] += largest * up / (largest.sum(axis=space, keepdims=True) if share else 1)
    return total


RULES = (
    Rule(
        "ties",
        "equal maxima in a window",
        _ties,
        "What happens to {q} if two elements of a window are the largest?",
        "Give the gradient to one of them, the first: use argmax, not a comparison with the maximum.",
    ),
    Rule(
        "overwritten",
        "= instead of += where something is used several times",
        _overwritten,
        "What becomes of an element that is used twice: in two windows, samples or places?",
        "Add up: grad[...] += …, since every use adds to the gradient. With an index array, "
        "grad[index] += … counts a repeated index once: use np.add.at(grad, index, …).",
    ),
)
