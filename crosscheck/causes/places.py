"""Causes of place: the right numbers at the wrong index, or not at every index."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View, WhatIf
from crosscheck.causes.rule import Diagnosis, Rule, proved
from crosscheck.causes.windows import Index
from crosscheck.spec import Array

#: How far an index may be off.
STEPS = (1, -1, 2, -2)


def _axes(evidence: Evidence) -> range:
    first = evidence.views[0].got if evidence.views else None
    return range(0 if first is None or evidence.shapes_differ else first.ndim)


def _rolled(view: View, axis: int, by: int, around: bool) -> Array | None:
    """The right array, moved along an axis; what leaves it comes in at the other end, or zeros do."""
    right = view.expected
    if right is None or right.ndim <= axis or right.shape[axis] <= abs(by):
        return None
    moved = np.roll(right, by, axis=axis)
    if not around:
        fresh = slice(0, by) if by > 0 else slice(by, None)
        at: Index = (*(slice(None),) * axis, fresh)
        moved[at] = 0
    return moved


def _shifted(evidence: Evidence) -> Diagnosis | None:
    def candidates() -> Iterator[tuple[Any, WhatIf]]:
        for axis in _axes(evidence):
            for by in STEPS:
                for around in (True, False):
                    what_if = partial(_rolled, axis=axis, by=by, around=around)
                    yield (axis, by), what_if

    found = evidence.first(candidates())
    if found is None:
        return None
    axis, by = found
    return proved(
        evidence,
        f"an index is off by {abs(by)}: along axis {axis} every number stands {abs(by)} too "
        f"{'far' if by > 0 else 'early'}.",
        f"it equals the right one moved by {by} along axis {axis}",
        by=by,
        axis=axis,
    )


def _without(view: View, axis: int, ends: tuple[int, ...]) -> Array | None:
    """The right array with zeros at its first or last index along an axis."""
    right = view.expected
    if right is None or right.ndim <= axis or right.shape[axis] < 2:
        return None
    kept = right.copy()
    for end in ends:
        at: Index = (*(slice(None),) * axis, end)
        kept[at] = 0
    return kept


def _unwritten(evidence: Evidence) -> Diagnosis | None:
    ends = {"last": (-1,), "first": (0,), "first and the last": (0, -1)}
    found = evidence.first(
        ((axis, which), partial(_without, axis=axis, ends=places))
        for axis in _axes(evidence)
        for which, places in ends.items()
    )
    if found is None:
        return None
    axis, which = found
    return proved(
        evidence,
        f"the {which} index along axis {axis} is never written: a loop ends too early, or begins "
        "too late.",
        f"it equals the right one with zeros at the {which} index along axis {axis}",
        which=which,
        axis=axis,
    )


RULES = (
    Rule(
        "index-off",
        "every number an index too far or too early",
        _shifted,
        "Which element is computed first, and where is it written?",
        "{q} is moved by {by} along axis {axis}: compare the first index that is read with the "
        "first that is written.",
    ),
    Rule(
        "end-not-written",
        "the first or last index never written",
        _unwritten,
        "What is the last number that range(n − 1) gives?",
        "{q} is 0 at the {which} index along axis {axis}. Let the loop run over all of it: "
        "range(n).",
    ),
)
