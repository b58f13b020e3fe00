"""Causes of operand, transposition and variable: the right formula with the wrong thing in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np

from crosscheck.causes.evidence import Evidence, View, WhatIf
from crosscheck.causes.rule import Diagnosis, Rule, proved
from crosscheck.causes.scale import ratios
from crosscheck.spec import Array
from crosscheck.tolerance import quantities


def ones(view: View) -> Array | None:
    """The quantity for an upstream gradient of ones."""
    return view.would_be(upstream={k: np.ones_like(a) for k, a in view.upstream.items()})


def _ignored(evidence: Evidence) -> Diagnosis | None:
    if not evidence.quantity.startswith("grad_") or not evidence.explains(ones):
        return None
    return proved(
        evidence,
        "the upstream gradient is ignored: it equals the gradient for an upstream gradient of ones.",
        "it equals what the right layer gives for an upstream gradient of ones",
    )


def _upstream(evidence: Evidence) -> Diagnosis | None:
    def what_if(view: View) -> Array | None:
        return view.u if view.of in view.problem.inputs else None

    if not evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "the upstream gradient is returned unchanged: the layer's own derivative is missing.",
        "it equals the upstream gradient in every element",
    )


def _twice(evidence: Evidence) -> Diagnosis | None:
    """The upstream gradient is in it twice: got = expected ⊙ u, or that of u ⊙ u."""
    if not evidence.quantity.startswith("grad_"):
        return None
    squared: list[tuple[Any, WhatIf]] = [
        ("", lambda v: v.would_be(upstream={k: a * a for k, a in v.upstream.items()})),
    ]
    if evidence.first(squared) is None:
        return None
    return proved(
        evidence,
        "the upstream gradient is multiplied in twice.",
        "it equals what the right layer gives for the square of the upstream gradient",
    )


def _gradient_for_parameter(evidence: Evidence) -> Diagnosis | None:
    def swapped(name: str) -> WhatIf:
        def what_if(view: View) -> Array | None:
            gradient = view.right.gradients.get(name) if view.right is not None else None
            if gradient is None or gradient.shape != view.values[name].shape:
                return None
            return view.would_be(values={name: gradient})

        return what_if

    if not evidence.views or not evidence.quantity.startswith("grad_"):
        return None
    problem = evidence.views[0].problem
    names = [n for n in problem.parameters if n in problem.differentiable]
    name = evidence.first((n, swapped(n)) for n in names)
    if name is None:
        return None
    return proved(
        evidence,
        f"grad_{name} stands where {name} belongs.",
        f"it equals what the right layer gives with grad_{name} in the place of {name}",
        name=name,
    )


def _with_flipped(view: View, name: str, axes: tuple[int, ...]) -> Array | None:
    return view.would_be(values={name: np.flip(view.values[name], axes)})


def _with_swapped(view: View, name: str, one: int, other: int) -> Array | None:
    return view.would_be(values={name: view.values[name].swapaxes(one, other)})


def _with_constant(view: View, name: str, value: float) -> Array | None:
    return view.would_be(values={name: np.full_like(view.values[name], value)})


def _with_times(view: View, name: str, size: str) -> Array | None:
    times = int(size) if size in ("-1", "2") else view.problem.sizes[size]
    return view.would_be(values={name: view.values[name] * times})


def _of_flipped(evidence: Evidence) -> Diagnosis | None:
    """A parameter read backwards along some axes, or with two axes swapped."""
    if not evidence.views:
        return None
    problem = evidence.views[0].problem

    def candidates() -> Iterator[tuple[Any, WhatIf]]:
        for name in problem.parameters:
            ndim = evidence.views[0].values[name].ndim
            for count in range(min(ndim, 3), 0, -1):
                for axes in combinations(range(ndim), count):
                    key = (name, f"reversed along {_axes(axes)}")
                    yield key, partial(_with_flipped, name=name, axes=axes)
            for one, other in combinations(range(ndim), 2):
                key = (name, f"with {_axes((one, other))} swapped")
                yield key, partial(_with_swapped, name=name, one=one, other=other)

    found = evidence.first(candidates())
    if found is None:
        return None
    name, how = found
    return proved(
        evidence,
        f"{name} is taken {how}.",
        f"it equals what the right layer gives with {name} {how}",
        name=name,
        how=how,
    )


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else "axes " + " and ".join(map(str, axes))


def _orders(array: Array) -> list[tuple[int, ...]]:
    same = tuple(range(array.ndim))
    return [axes for axes in permutations(same) if axes != same] if 2 <= array.ndim <= 5 else []


def _of_another(evidence: Evidence) -> Diagnosis | None:
    """The right answer to another question: two gradients, or two outputs, exchanged."""
    if not evidence.views or evidence.views[0].right is None or ratios(evidence) is not None:
        return None  # a multiple of the right one is named by its factor
    names = quantities(evidence.views[0].right)
    gradient = evidence.quantity.startswith("grad_")
    other = evidence.first(
        (name, partial(_another, name=name))
        for name in names
        if name != evidence.quantity and name.startswith("grad_") == gradient
    )
    if other is None:
        return None
    return proved(
        evidence,
        f"it is {other}, under the wrong name.",
        f"it equals the right {other}",
        other=other,
    )


def _another(view: View, name: str) -> Array | None:
    return None if view.right is None else quantities(view.right).get(name)


def _transposed(evidence: Evidence) -> Diagnosis | None:
    first = evidence.views[0] if evidence.views else None
    if (
        first is None
        or first.got is None
        or any(
            v.got is None or v.expected is None or v.got.ndim != v.expected.ndim
            for v in evidence.views
        )
    ):
        return None
    for axes in _orders(first.got):
        back = tuple(int(i) for i in np.argsort(axes))
        fits = evidence.repairs(lambda v, got, a=axes: got.transpose(a))  # type: ignore[misc]
        if fits and all(
            v.expected is None or v.alike(v.expected.transpose(back), v.expected)
            for v in evidence.right_views
        ):
            how = "transposing it" if len(axes) == 2 else f"permuting its axes to {axes}"
            return proved(
                evidence, f"transposed: {how} makes it agree.", f"{how} makes it agree", how=how
            )
    return None


def _reversed(evidence: Evidence) -> Diagnosis | None:
    first = evidence.views[0] if evidence.views else None
    if first is None or first.got is None:
        return None
    for count in range(1, min(first.got.ndim, 3) + 1):
        for axes in combinations(range(first.got.ndim), count):
            if evidence.repairs(
                lambda v, got, a=axes: np.flip(got, a) if got.ndim > max(a) else None  # type: ignore[misc]
            ):
                where = _axes(axes)
                return proved(
                    evidence,
                    f"the order along {where} is reversed: flipping it makes it agree.",
                    f"flipping it along {where} makes it agree",
                    where=where,
                )
    return None


def _reshaped(evidence: Evidence) -> Diagnosis | None:
    """The right numbers in the order of other axes: a reshape did what only a transpose does."""
    first = evidence.views[0] if evidence.views else None
    if first is None or first.expected is None or evidence.shapes_differ:
        return None

    def reshaped(axes: tuple[int, ...], backwards: bool) -> WhatIf:
        def what_if(view: View) -> Array | None:
            right = view.expected
            if right is None or right.ndim != len(axes):
                return None
            if backwards:
                moved = right.reshape([right.shape[a] for a in axes])
                return np.asarray(moved.transpose(np.argsort(axes)))
            return np.ascontiguousarray(right.transpose(axes)).reshape(right.shape)

        return what_if

    axes = evidence.first(
        (axes, reshaped(axes, way)) for axes in _orders(first.expected) for way in (False, True)
    )
    if axes is None:
        return None
    return proved(
        evidence,
        "reshaped where it should be transposed: the right numbers in the wrong places.",
        f"it equals the right one with its axes in the order {axes}, read back in the old shape",
        axes=axes,
    )


def _of_output(evidence: Evidence) -> Diagnosis | None:
    def what_if(view: View) -> Array | None:
        name = next(iter(view.problem.inputs))
        if view.output is None or view.output.shape != view.x.shape or view.of != name:
            return None
        return view.would_be(values={name: view.output})

    if not evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "the derivative is taken at the output instead of at the input.",
        "it equals the right gradient at another point: the output in the place of the input",
    )


def _of_input(evidence: Evidence) -> Diagnosis | None:
    """A derivative written in the output, as y (1 − y), that was given the input."""

    def along(axis: int, sign: int = 1) -> WhatIf:
        return lambda v: sign * v.x * (v.u - (v.u * v.x).sum(axis=axis, keepdims=True))

    def logarithm(axis: int) -> WhatIf:
        return lambda v: v.u - np.exp(v.x) * v.u.sum(axis=axis, keepdims=True)

    formulas: list[tuple[Any, WhatIf]] = [
        ("1 − y²", lambda v: v.u * (1 - v.x * v.x)),
        ("y (1 − y)", lambda v: v.u * v.x * (1 - v.x)),
        ("y", lambda v: v.u * v.x),
        *((f"y (G − Σ G y) along axis {a}", along(a)) for a in (-1, -2, 0)),
        *((f"−y (G − Σ G y) along axis {a}", along(a, -1)) for a in (-1, -2, 0)),
        *((f"G − exp(y) Σ G along axis {a}", logarithm(a)) for a in (-1, -2, 0)),
        ("y + 1", lambda v: np.where(v.x > 0, v.u, v.u * (v.x + 1))),
    ]
    if not evidence.views or not evidence.quantity.startswith("grad_"):
        return None
    if any(
        v.x.ndim < 2 or v.x.shape != v.u.shape for v in (*evidence.views, *evidence.right_views)
    ):
        return None
    formula = evidence.first(formulas)
    if formula is None:
        return None
    return proved(
        evidence,
        f"the derivative {formula} is meant of the output y, but was given the input.",
        f"it equals the upstream gradient times {formula} with the input for y",
        formula=formula,
    )


def _one_minus(evidence: Evidence) -> Diagnosis | None:
    if evidence.quantity.startswith("grad_") or not evidence.repairs(lambda v, got: 1 - got):
        return None
    return proved(
        evidence,
        "it is 1 minus the right output: a sign is lost, as in 1/(1+exp(x)).",
        "1 minus it is right",
    )


def _input_sign(evidence: Evidence) -> Diagnosis | None:
    def what_if(view: View) -> Array | None:
        name = next(iter(view.problem.inputs))
        return view.would_be(values={name: -view.x}) if view.x.dtype.kind == "f" else None

    if evidence.quantity.startswith("grad_") or not evidence.explains(what_if):
        return None
    return proved(
        evidence,
        "the sign of the input is lost: it is right for −x.",
        "it equals what the right layer gives for −x",
    )


def _left_out(evidence: Evidence) -> Diagnosis | None:
    """A parameter that has no effect: as if it were 0 (added) or 1 (multiplied)."""

    def candidates() -> Iterator[tuple[Any, WhatIf]]:
        for name in evidence.views[0].problem.parameters:
            for value in (0.0, 1.0):
                yield (name, value), partial(_with_constant, name=name, value=value)

    found = evidence.first(candidates()) if evidence.views else None
    if found is None:
        return None
    name, value = found
    return proved(
        evidence,
        f"{name} is left out: it is as if {name} were {value:g}.",
        f"it equals what the right layer gives with {name} = {value:g}",
        name=name,
    )


def _several(evidence: Evidence) -> Diagnosis | None:
    """A parameter taken n times, n a size: a bias added once per input channel."""

    def candidates() -> Iterator[tuple[Any, WhatIf]]:
        problem = evidence.views[0].problem
        for name in problem.parameters:
            for size in ("-1", "2", *problem.sizes):
                yield (name, size), partial(_with_times, name=name, size=size)

    if not evidence.views or (len(evidence.views) < 2 and not evidence.right_views):
        return None
    if ratios(evidence) is not None:
        return None  # a multiple of the right one is named by its factor
    found = evidence.first(candidates())
    if found is None:
        return None
    name, size = found
    times = {"-1": "with the wrong sign", "2": "twice"}.get(size, f"{size} times, not once")
    return proved(
        evidence,
        f"{name} is taken {times}.",
        f"it equals what the right layer gives with {size} times {name}",
        name=name,
        times=times,
    )


RULES = (
    Rule(
        "upstream-ignored",
        "upstream gradient ignored",
        _ignored,
        "What does {q} become when the upstream gradient is doubled?",
        "{q} does not depend on the upstream gradient. Multiply the layer's own derivative by it "
        "(the chain rule).",
    ),
    Rule(
        "returns-upstream",
        "upstream gradient returned unchanged",
        _upstream,
        "What is this layer's own derivative, and where is it multiplied in?",
        "{q} is the upstream gradient itself. Multiply it by the layer's derivative. A softmax "
        "may pass it on only when it is fused with the loss behind it.",
    ),
    Rule(
        "another-quantity",
        "right, but under the name of another: two gradients exchanged",
        _of_another,
        "In which order does backward return its gradients, and in which does forward take its "
        "arguments?",
        "What is given as {q} is {other}. Return gradients in the order of forward's arguments.",
    ),
    Rule(
        "transposed",
        "transposed, or axes permuted",
        _transposed,
        "Which axis of {q} belongs to which axis of what it is the gradient of?",
        "{q} has its axes in the wrong order: {how} makes it agree.",
    ),
    Rule(
        "reversed",
        "an axis in reversed order",
        _reversed,
        "In which order are the elements of {q} written, and in which were they read?",
        "{q} is reversed along {where}: flip it back.",
    ),
    Rule(
        "reshape-for-transpose",
        "reshape where a transpose is needed",
        _reshaped,
        "Does reshape move numbers, or only say how long the rows are?",
        "The numbers of {q} are right but in the wrong places: reshape keeps their order in "
        "memory. Transpose first, then reshape.",
    ),
    Rule(
        "one-minus",
        "1 minus the right output",
        _one_minus,
        "What should {q} be for a very large x, and what is it?",
        "{q} is 1 minus the right one: write 1/(1+exp(−x)), with the minus.",
    ),
    Rule(
        "sign-of-input",
        "sign of the input lost",
        _input_sign,
        "What should {q} be for a very large x, and what is it?",
        "{q} is right for −x: a minus before x is missing, or one too many.",
    ),
    Rule(
        "gradient-for-parameter",
        "a parameter's gradient in the place of the parameter",
        _gradient_for_parameter,
        "Which two arrays are multiplied for {q}? Does {q} quadruple when the upstream doubles?",
        "{q} is computed with grad_{name}; it needs {name} itself.",
    ),
    Rule(
        "parameter-left-out",
        "a parameter left out",
        _left_out,
        "Does {q} change when {name} does?",
        "{q} is computed without {name}. Put it in where the formula has it.",
    ),
    Rule(
        "parameter-several-times",
        "a parameter taken more than once, as a bias per input channel",
        _several,
        "How often is {name} added, and in which loop does that stand?",
        "{name} is taken {times}. Take it out of the inner loop.",
    ),
    Rule(
        "parameter-flipped",
        "a parameter read backwards or with axes swapped, as an unflipped kernel",
        _of_flipped,
        "In which order does {q} have to read {name}, if the forward pass read it forwards?",
        "{q} takes {name} {how}. Read it the other way round.",
    ),
    Rule(
        "upstream-twice",
        "upstream gradient multiplied in twice",
        _twice,
        "What does {q} become when the upstream gradient is doubled?",
        "{q} has the upstream gradient in it twice. Multiply by it once.",
    ),
    Rule(
        "derivative-at-output",
        "derivative taken at the output",
        _of_output,
        "At which point is the derivative taken: what is handed to it?",
        "The derivative is evaluated at the layer's output; evaluate it at the input x.",
    ),
    Rule(
        "wrong-variable",
        "a derivative written in the output, given the input",
        _of_input,
        "Is the variable in your derivative the input of the layer, or its output?",
        "{formula} is the derivative written in the output y. Compute y first, and put it in.",
    ),
)
