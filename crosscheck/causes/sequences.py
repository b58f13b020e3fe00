"""Causes in normalization, softmax, losses on logits, and recurrence: paths that were forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.causes.evidence import Evidence, View, WhatIf
from crosscheck.causes.rule import VALUES, Diagnosis, Rule, proved
from crosscheck.spec import Array

#: A Jacobian's diagonal costs a call of an oracle per element.
MOST_ELEMENTS, LOOKED_AT = 160, 2
#: Where digits are lost the mean is this many times farther off than where they are not.
FAR = 10


def _diagonal(evidence: Evidence) -> Diagnosis | None:
    views = sorted(evidence.views, key=lambda v: v.u.size)[:LOOKED_AT]
    if not views or evidence.shapes_differ or any(
        v.output is None or v.output.shape != v.x.shape or v.u.size > MOST_ELEMENTS
        or v.x.ndim < 2 or v.got is None or v.got.shape != v.x.shape
        for v in views
    ):  # fmt: skip
        return None
    for view in views:
        name, diagonal = next(iter(view.upstream)), np.zeros(view.u.size)
        for i in range(view.u.size):
            alone = np.zeros(view.u.size)
            alone[i] = view.u.ravel()[i]
            part = view.would_be(upstream={name: alone.reshape(view.u.shape)})
            if part is None:
                return None
            diagonal[i] = part.ravel()[i]
        if not view.alike(diagonal.reshape(view.u.shape), view.got):
            return None
    return proved(
        evidence,
        "treated as if each output depended on its own input alone: only the diagonal of the "
        "Jacobian is there.",
        "it equals the upstream gradient times the diagonal of the Jacobian",
    )


def _statistics(view: View) -> Iterator[tuple[str, Array]]:
    """What the gradient of x would be with mean, variance or both as constants.

    For every set of axes over which the right gradient is that of a normalization: see the
    derivation in reference_nn.normalization.
    """
    eps, right = view.problem.options.get("eps"), view.expected
    if right is None or view.x.dtype.kind != "f" or view.u.shape != view.x.shape:
        return
    if right.shape != view.x.shape or "eps" not in view.problem.options:
        return
    eps = float(np.finfo(view.x.dtype).eps) if eps is None else float(eps)
    scaled = view.u * _scale(view)
    shapes = [(view.x.shape, axes) for axes in _subsets(view.x.ndim)]
    groups = view.problem.sizes.get("num_groups") or view.problem.options.get("num_groups")
    if groups:
        shapes.append(((len(view.x), int(groups), -1), (2,)))
    for shape, axes in shapes:
        x, g = view.x.reshape(shape), scaled.reshape(shape)
        for centred in (True, False):
            middle = x - x.mean(axis=axes, keepdims=True) if centred else x
            deviation = np.sqrt((middle**2).mean(axis=axes, keepdims=True) + eps)
            normal = middle / deviation
            of_mean = g.mean(axis=axes, keepdims=True) * centred
            of_scale = normal * (g * normal).mean(axis=axes, keepdims=True)
            if not view.alike(((g - of_mean - of_scale) / deviation).reshape(right.shape), right):
                continue
            yield "mean and variance", (g / deviation).reshape(right.shape)
            yield "the variance", ((g - of_mean) / deviation).reshape(right.shape)
            yield "the mean", ((g - of_scale) / deviation).reshape(right.shape)
            return


def _scale(view: View) -> Array:
    """The learned scale, shaped to broadcast over x; ones without."""
    weights = view.values.get("weights")
    if weights is None:
        return np.ones(())
    if weights.ndim == 1 and view.x.ndim > 1 and view.problem.layer.name not in (
        "LayerNorm", "RMSNorm",
    ):  # fmt: skip
        return weights.reshape(1, -1, *(1,) * (view.x.ndim - 2))
    return weights


def _subsets(ndim: int) -> list[tuple[int, ...]]:
    axes = range(ndim)
    return [s for count in range(1, ndim + 1) for s in combinations(axes, count)]


def _constant(evidence: Evidence) -> Diagnosis | None:
    if not evidence.views or evidence.shapes_differ:
        return None
    for what in ("mean and variance", "the variance", "the mean"):
        if all(view.alike(dict(_statistics(view)).get(what), view.got) for view in evidence.views):
            return proved(
                evidence,
                f"{what} are treated as constants." if " and " in what
                else f"{what} is treated as a constant.",
                f"it equals the right gradient without the part that goes through {what}",
                what=what,
            )  # fmt: skip
    return None


def _later(evidence: Evidence) -> Diagnosis | None:
    """The gradient that each step's input gets through that step's output alone."""

    def what_if(time: int) -> WhatIf:
        def composed(view: View) -> Array | None:
            right = view.expected
            if right is None or view.of != next(iter(view.problem.inputs)) or right.ndim != 3:
                return None
            total = np.zeros(right.shape, right.dtype)
            steps = right.shape[time]
            name = next(iter(view.upstream))
            for t in range(steps):
                at: tuple[Any, ...] = (*(slice(None),) * time, t)
                alone = np.zeros_like(view.u)
                alone[at] = view.u[at]
                others = {
                    k: a if t == steps - 1 else np.zeros_like(a)
                    for k, a in view.upstream.items()
                    if k != name
                }
                part = view.would_be(upstream={name: alone, **others})
                if part is None:
                    return None
                total[at] = part[at]
            return total

        return composed

    if not evidence.views or "hidden_size" not in evidence.views[0].problem.sizes:
        return None
    if evidence.first((t, what_if(t)) for t in (0, 1)) is None:
        return None
    return proved(
        evidence,
        "what reaches the input through later steps is missing: no gradient flows back in time.",
        "it equals what each step's input gets through that step's output alone",
    )


def _logits(evidence: Evidence) -> Diagnosis | None:
    """The gradient of a loss on logits without its softmax or sigmoid."""

    def targets(view: View) -> Array | None:
        x, target = view.x, view.values.get("target")
        if target is None:
            return None
        if target.dtype.kind in "iu" and x.ndim == 2 and target.shape == x.shape[:1]:
            inside = (target >= 0) & (target < x.shape[1])
            hot = np.eye(x.shape[1])[np.where(inside, target, 0)]
            return np.asarray(hot * inside[:, None])
        return target if target.shape == x.shape else None

    def divided(view: View, slope: Array) -> Array | None:
        u = view.u
        if u.ndim == 0 and view.problem.options.get("reduction") == "mean":
            per_class = view.problem.layer.name in ("CrossEntropyLoss", "NLLLoss")
            return np.asarray(u * slope / (len(slope) if per_class else slope.size))
        return np.asarray(u * slope) if u.shape in ((), slope.shape) else None

    def difference(view: View) -> Array | None:
        t = targets(view)
        return None if t is None else divided(view, view.x - t)

    def logarithm(view: View) -> Array | None:
        t = targets(view)
        with np.errstate(all="ignore"):
            return None if t is None else divided(view, -t / view.x)

    name = evidence.first([("difference", difference), ("logarithm", logarithm)])
    if name is None:
        return None
    return proved(
        evidence,
        "the logits are taken for probabilities: the softmax (or sigmoid) of the forward pass is "
        "missing in the backward pass.",
        "it equals the gradient formula with the logits in the place of the probabilities",
    )


def _cancels(evidence: Evidence) -> Diagnosis | None:
    """A normalization that is wrong only where the mean is large against the spread."""

    def offset(case: Case) -> float:
        x = case.arrays(memory="plain")[next(iter(case.problem.inputs))].astype(np.float64)
        return float(np.abs(x.mean()) / max(x.std(), np.finfo(np.float64).tiny))

    if not evidence.wrong_cases or not evidence.right_cases:
        return None
    problem = evidence.wrong_cases[0].problem
    if "Norm" not in problem.layer.name or "eps" not in problem.options:
        return None
    least = min(map(offset, evidence.wrong_cases))
    if not least > FAR * max(map(offset, evidence.right_cases)):
        return None
    return Diagnosis(
        "likely",
        "digits are lost where the mean is large against the spread, as in E[x²] − E[x]², a "
        "difference of two large, nearly equal numbers.",
        (f"it is wrong only where the mean is more than {least:.2g} standard deviations from 0.",),
    )


#: Whose derivative it is → the derivative, written in what the activation gives.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "a sigmoid": lambda y: y * (1 - y),
    "a tanh": lambda y: 1 - y * y,
    "a ReLU": lambda y: np.asarray(y > 0, dtype=y.dtype),
}


def _fused(evidence: Evidence) -> Diagnosis | None:
    """The derivative of an activation that stands before the loss, or behind the layer."""

    def before(view: View, slope: Callable[[Array], Array]) -> Array | None:
        right = view.expected
        if right is None or view.of != next(iter(view.problem.inputs)) or view.u.shape:
            return None
        return right * slope(view.x) if right.shape == view.x.shape else None

    def behind(view: View, slope: Callable[[Array], Array]) -> Array | None:
        if view.output is None or not view.u.shape or view.output.shape != view.u.shape:
            return None
        return view.would_be(upstream={next(iter(view.upstream)): view.u * slope(view.output)})

    if not evidence.quantity.startswith("grad_"):
        return None
    found = evidence.first(
        ((whose, where), partial(how, slope=slope))
        for whose, slope in ACTIVATIONS.items()
        for where, how in (("before it", before), ("behind it", behind))
    )
    if found is None:
        return None
    whose, where = found
    return proved(
        evidence,
        f"the derivative of {whose} {where} is in it: the layer's own gradient is without it.",
        f"it equals the right one with the derivative of {whose} {where} multiplied in",
        whose=whose,
        where=where,
    )


RULES = (
    Rule(
        "activation-fused",
        "the derivative of a neighbouring activation in a layer's or a loss's gradient",
        _fused,
        "Which layer does the factor belong to, and does that layer multiply it in as well?",
        "In {q} is the derivative of {whose} {where}. Leave it to that layer's backward, or it is "
        "multiplied in twice. Only a layer that computes both forward has both in its backward.",
    ),
    Rule(
        "variance-cancels",
        "digits lost in a variance, as E[x²] − E[x]²",
        _cancels,
        "How large are E[x²] and E[x]² for numbers around 1000, and how large is their difference?",
        "Subtract the mean first, then take the mean of the squares: ((x − μ)²).mean().",
        (*VALUES, "non-finite"),
    ),
    Rule(
        "statistics-constant",
        "mean or variance treated as constants",
        _constant,
        "If one element of x moves, does only its own output move?",
        "{what}: depends on every element of x too. Add the gradient that flows through it; "
        "that of x then sums to zero over what is normalised.",
    ),
    Rule(
        "later-steps-ignored",
        "paths through later time steps ignored",
        _later,
        "On which outputs does the first step's input have an effect?",
        "Carry the gradient of the hidden state from step t+1 back to step t and add it to that "
        "of the output there.",
    ),
    Rule(
        "softmax-left-out",
        "softmax or sigmoid left out of a loss's gradient",
        _logits,
        "Is the prediction a probability or a logit, in the forward pass and in the backward pass?",
        "Apply the softmax (or sigmoid) to the prediction first; then p − t is the gradient.",
    ),
    Rule(
        "diagonal-jacobian",
        "treated as element by element, as p (1−p) for a softmax",
        _diagonal,
        "If one input grows, does only its own output change?",
        "Every output depends on every input of its row. For a softmax: "
        "y · (G − Σ G y), summed along the axis.",
    ),
)
