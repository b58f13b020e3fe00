"""Causes of reduction, broadcasting and shape: summed too little, too much, or along another axis."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View, WhatIf
from crosscheck.causes.rule import Diagnosis, Rule, proved
from crosscheck.spec import Array


def _empty(evidence: Evidence) -> Diagnosis | None:
    if not evidence.views or any(v.got is None or v.got.size for v in evidence.views):
        return None
    padding = [v.problem.options.get("padding") for v in evidence.views]
    none = all(p in (0, (0, 0), (0,)) for p in padding)
    why = f"its shape is {evidence.views[0].got.shape}"  # type: ignore[union-attr]
    return Diagnosis(
        "proved",
        "it is empty: a slice such as pad:-pad with pad = 0 leaves nothing.",
        (why + (", and every such case has padding 0." if none else "."),),
    )


def summed(evidence: Evidence) -> tuple[int, ...] | None:
    """The axes over which what was given still has to be summed."""
    first = evidence.views[0] if evidence.views else None
    if first is None or first.got is None or first.expected is None:
        return None
    more = first.got.ndim - first.expected.ndim
    if more <= 0:
        return None
    most = first.got.ndim if first.expected.size == 1 else more  # one number for all: of any axes
    for count in range(more, most + 1):
        for axes in combinations(range(first.got.ndim), count):
            if evidence.repairs(partial(_sum_over, axes=axes)):
                return axes
    return None


def _sum_over(view: View, got: Array, axes: tuple[int, ...]) -> Array | None:
    if got.ndim <= max(axes) or view.expected is None:
        return None
    found = np.asarray(got.sum(axis=axes))
    return found.reshape(view.expected.shape) if found.size == view.expected.size == 1 else found


def _batched(view: View) -> bool:
    got = view.got
    return got is not None and bool(got.ndim) and got.shape[0] == view.problem.sizes.get("batch")


def _over(evidence: Evidence, *, batch: bool) -> Diagnosis | None:
    axes = summed(evidence)
    first = evidence.views[0] if evidence.views else None
    if axes is None or first is None or first.got is None or first.expected is None:
        return None
    if all(first.got.shape[a] == 1 for a in axes) and first.problem.sizes.get("batch") != 1:
        return None
    if (0 in axes and all(map(_batched, evidence.views))) != batch:
        return None
    over = "the batch" if batch else "all positions"
    listed = "axis " + str(axes[0]) if len(axes) == 1 else "axes " + ", ".join(map(str, axes))
    # One sample is the sum over itself: then it may be no more than an axis too many.
    trivial = all(v.got is None or v.got.size == v.expected.size for v in evidence.views
                  if v.expected is not None)  # fmt: skip
    return Diagnosis(
        "likely" if trivial else evidence.certainty,
        f"not summed over {over}: it has shape {first.got.shape}, and its sum over {listed}, of "
        f"shape {first.expected.shape}, is right. What is added to every sample collects a "
        "gradient from every sample.",
        (f"summing it over {listed} makes it agree.",),
        {"over": over, "axes": listed, "axis": axes[0] if len(axes) == 1 else axes},
    )


def _extra_axis(evidence: Evidence) -> Diagnosis | None:
    def reshape(view: View, got: Array) -> Array | None:
        right = view.expected
        if right is None or got.size != right.size:
            return None
        return None if got.shape == right.shape else got.reshape(right.shape)

    if not evidence.repairs(reshape):
        return None
    first = evidence.views[0]
    assert first.got is not None and first.expected is not None
    shapes = f"{first.got.shape}, should be {first.expected.shape}"
    if all(v.problem.sizes.get("batch") == 1 for v in evidence.views) and not evidence.right_cases:
        return None  # of one sample nobody can say whether it is the axis or the sum
    return proved(
        evidence,
        f"right values in the wrong shape: {shapes}. An update with it would broadcast.",
        f"reshaped to {first.expected.shape} it agrees",
        got=first.got.shape,
        right=first.expected.shape,
    )


def _squeezed(evidence: Evidence) -> Diagnosis | None:
    def reshape(view: View, got: Array) -> Array | None:
        right = view.expected
        if right is None or got.shape != tuple(n for n in right.shape if n != 1):
            return None
        return got.reshape(right.shape) if 1 in right.shape else None

    if not evidence.repairs(reshape):
        return None
    first = evidence.views[0]
    assert first.got is not None and first.expected is not None
    return Diagnosis(
        "proved",
        f"an axis of size 1 is lost: shape {first.got.shape}, should be {first.expected.shape}. "
        "squeeze() drops every such axis.",
        ("it agrees once the axes of size 1 are back, and in every case without such an axis.",),
        {"right": first.expected.shape},
    )


def _wrong_axis(evidence: Evidence) -> Diagnosis | None:
    """A sum of the upstream gradient over other axes, or an option's axis, or that of a softmax."""
    if not evidence.views:
        return None
    first = evidence.views[0]

    def candidates() -> Iterator[tuple[Any, WhatIf]]:
        ndim = first.u.ndim
        if first.of in first.problem.parameters:
            for count in range(1, ndim + 1):
                for axes in combinations(range(ndim), count):
                    yield axes, partial(_upstream_summed, axes=axes)
        if "dim" in first.problem.options:
            own = first.problem["dim"] % first.x.ndim
            for dim in range(first.x.ndim):
                if dim != own:
                    yield dim, partial(View.would_be, options={"dim": dim})
                    yield dim, partial(_softmax_along, axis=dim)

    axes = evidence.first(candidates())
    if axes is None:
        return None
    which = ", ".join(map(str, axes)) if isinstance(axes, tuple) else str(axes)
    return proved(
        evidence,
        f"summed or taken along the wrong axis: {which}.",
        f"it equals what is got along axis {which}",
        axes=which,
    )


def _upstream_summed(view: View, axes: tuple[int, ...]) -> Array | None:
    return np.asarray(view.u.sum(axis=axes)) if view.u.ndim > max(axes) else None


def _softmax_along(view: View, axis: int) -> Array | None:
    """y (G − Σ G y), or G − softmax Σ G, with the sum along another axis than y's."""
    y = view.output
    if y is None or not view.of or not y.shape == view.u.shape == view.x.shape:
        return None
    if np.all(y <= 0):  # log-probabilities
        return np.asarray(view.u - np.exp(y) * view.u.sum(axis=axis, keepdims=True))
    sign = -1 if view.problem.layer.name == "Softmin" else 1
    return np.asarray(sign * y * (view.u - (view.u * y).sum(axis=axis, keepdims=True)))


def _whole(evidence: Evidence) -> Diagnosis | None:
    """A softmax of all elements at once: of the array as one long row."""

    def what_if(view: View) -> Array | None:
        p = view.problem
        if "dim" not in p.options or len(p.inputs) != 1 or len(p.sizes) != view.x.ndim:
            return None
        *others, last = p.sizes
        name = next(iter(p.inputs))
        flat = view.x.reshape(*(1,) * (view.x.ndim - 1), -1)
        sizes = {**dict.fromkeys(others, 1), last: view.x.size}
        rows = {k: a.reshape(flat.shape) for k, a in view.upstream.items() if a.size == flat.size}
        found = view.would_be({name: flat}, rows, {"dim": -1}, sizes)
        return None if found is None or found.size != view.x.size else found.reshape(view.x.shape)

    if not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "taken over the whole array instead of along one axis.",
        "it equals what the right layer gives for the whole array as one row",
    )


def _every_pair(evidence: Evidence) -> Diagnosis | None:
    """The loss of every prediction with every target: (N,) against (N, 1) is (N, N)."""

    def what_if(view: View) -> Array | None:
        p = view.problem
        inputs = [view.values[n] for n in p.inputs]
        n = p.sizes.get("batch")
        if n is None or len(inputs) < 2 or len({a.shape for a in inputs}) != 1:
            return None
        first = np.repeat(inputs[0], n, axis=0)
        rest = [np.concatenate([a] * n) for a in inputs[1:]]
        grown = dict(zip(p.inputs, [first, *rest], strict=True))
        return view.would_be(grown, sizes={"batch": n * n})

    if evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "every prediction is compared with every target: shapes broadcast to (N, N).",
        "it equals the loss of all N² pairs of the batch",
    )


RULES = (
    Rule(
        "empty-slice",
        "an empty array, as from pad:-pad with pad = 0",
        _empty,
        "What does x[0:-0] give?",
        "{q} is empty. Cut the padding with pad:size+pad, which is right for pad = 0 too.",
    ),
    Rule(
        "squeezed",
        "an axis of size 1 lost",
        _squeezed,
        "What is the shape of {q} for a batch of one, and where does an axis get lost?",
        "{q} loses its axes of size 1: replace squeeze() by squeeze(axis=…) or a reshape to the "
        "shape that is meant, {right} here.",
    ),
    Rule(
        "not-summed-over-batch",
        "not summed over the batch",
        lambda e: _over(e, batch=True),
        "How many samples does one parameter act on, and what shape should its gradient have?",
        "{q} keeps an axis that has to be summed over: take .sum(axis={axis}).",
    ),
    Rule(
        "partly-summed",
        "summed over the batch but not over the positions",
        lambda e: _over(e, batch=False),
        "Over which axes does one element of the parameter act? Over which is {q} summed?",
        "{q} still has {axes} to be summed over: every position of every sample adds to it.",
    ),
    Rule(
        "extra-axis",
        "right values in the wrong shape",
        _extra_axis,
        "What are the shapes of {q} and of what it is the gradient of?",
        "{q} has shape {got}, it should have {right}. Leave keepdims out, or reshape.",
    ),
    Rule(
        "wrong-axis",
        "summed or normalised along the wrong axis",
        _wrong_axis,
        "Which axis holds the samples, and which axis do you sum over?",
        "{q} is taken along axis {axes}, which is the wrong one.",
    ),
    Rule(
        "whole-array",
        "over the whole array instead of along one axis",
        _whole,
        "Does every row of the result sum to 1, or the array as a whole?",
        "Give the axis to sum (and to max), with keepdims=True.",
    ),
    Rule(
        "every-pair",
        "a loss of every pair, by broadcasting",
        _every_pair,
        "What is the shape of prediction − target?",
        "Prediction and target broadcast to all pairs. Give both the same shape before "
        "subtracting, and check that they have it.",
    ),
)
