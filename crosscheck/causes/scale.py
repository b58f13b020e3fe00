"""Causes of scale: a factor, an offset, a clip; what is wrong is how much, not where."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosscheck.causes.evidence import Evidence, View
from crosscheck.causes.fit import SAME, Fit, fit, number, sizes_of
from crosscheck.causes.rule import Diagnosis, Rule
from crosscheck.spec import Array

#: A gradient as small as this is 0 up to rounding, as that of a softmax over one score.
ZERO = 1e-12


def ratio(view: View) -> float | None:
    """k, if got = k · expected in every element; by least squares, then checked."""
    got, expected = view.got, view.expected
    if got is None or expected is None or got.shape != expected.shape or not got.size:
        return None
    with np.errstate(all="ignore"):
        exact = expected.astype(np.float64)
        scale = float(np.sum(exact**2))
        if not 0 < scale < np.inf:
            return None
        k = float(np.sum(got * exact)) / scale
        return k if abs(k) > SAME and view.alike(got, k * exact) else None


def ratios(evidence: Evidence) -> list[float] | None:
    """The ratio of every view, or None where one is no multiple."""
    found = [ratio(view) for view in evidence.views]
    known = [k for k in found if k is not None]
    return known if known and len(known) == len(found) else None


def fitted(evidence: Evidence) -> Fit | None:
    """The ratios as a product of sizes; the cases that agree count as ratio 1."""
    wrong = ratios(evidence)
    if wrong is None or not evidence.enough:
        return None
    right = [v for v in evidence.right_views if _tells(v)]
    problems = [v.problem for v in (*evidence.views, *right)]
    return fit(wrong + [1.0] * len(right), [sizes_of(p) for p in problems])


def _tells(view: View) -> bool:
    """Whether a factor would show: zero times anything is right."""
    expected = view.expected
    return expected is not None and bool(np.max(np.abs(expected), initial=0.0) > ZERO)


def _seen(evidence: Evidence) -> str:
    lines = [
        f"{number(k)} at {', '.join(f'{n}={s}' for n, s in v.problem.sizes.items())}"
        for v, k in zip(evidence.views, ratios(evidence) or (), strict=False)
    ]
    return "the ratio to the right one is " + "; ".join(lines[:3])


def _flipped(evidence: Evidence) -> Diagnosis | None:
    found = fitted(evidence)
    if found is None or found.powers or not np.isclose(found.number, -1, rtol=SAME):
        return None
    return Diagnosis(
        evidence.certainty,
        "the sign is flipped: it is −1 times the right one in every element.",
        (f"in {found.cases} cases the ratio to the right one is −1 in every element.",),
    )


def _constant(evidence: Evidence) -> Diagnosis | None:
    found = fitted(evidence)
    if found is None or found.powers or np.isclose(abs(found.number), 1, rtol=SAME):
        return None
    k = number(found.number)
    # A size that was the same in every case may be what the factor is.
    table = [sizes_of(v.problem) for v in (*evidence.views, *evidence.right_views)]
    suspects = [
        name
        for name, size in table[0].items()
        if all(t.get(name) == size for t in table)
        and np.isclose(found.number, [size, 1 / size], rtol=SAME).any()
    ]
    why = [f"in {found.cases} cases, whatever the sizes, the ratio to the right one is {k}."]
    if suspects:
        why.append(f"but {' and '.join(suspects)} had the same size in all of them.")
    return Diagnosis(
        "proved" if found.cases > 1 and not suspects else "likely",
        f"a constant factor: it is {k} times the right one in every element.",
        tuple(why),
        {"k": k, "inverse": number(1 / found.number)},
    )


def _option(evidence: Evidence) -> Diagnosis | None:
    known = ratios(evidence)
    if known is None or not evidence.enough:
        return None
    forms: dict[str, Callable[[float], float]] = {
        "1 - {o}": lambda o: 1 - o,
        "1/(1 - {o})": lambda o: 1 / (1 - o),
        "{o}": lambda o: o,
        "1/{o}": lambda o: 1 / o,
        "-{o}": lambda o: -o,
        "{o}²": lambda o: o * o,
    }
    options = {
        name
        for name, value in evidence.views[0].problem.options.items()
        if isinstance(value, float) and 0 < abs(value) != 1
    }
    for name in sorted(options):
        for text, form in forms.items():
            values = [v.problem[name] for v in evidence.views]
            if any(not isinstance(o, float) or o in (0.0, 1.0) for o in values):
                continue
            if all(np.isclose(k, form(o), rtol=SAME) for k, o in zip(known, values, strict=True)):
                # With one plain number the option may be a coincidence; a probability is none.
                probable = name == "p" and values[0] < 1
                plain = number(known[0]) in ("1/2", "2", "-1") and not probable
                certain = "proved" if len(set(values)) > 1 or not plain else "likely"
                expression = text.format(o=name)
                return Diagnosis(
                    certain,
                    f"a factor of {expression}, which an option sets; {number(known[0])} here.",
                    (_seen(evidence) + f", which is {expression}.",),
                    {"factor": expression},
                )
    return None


def _size(sign: int) -> Callable[[Evidence], Diagnosis | None]:
    """A rule's test for powers that are all positive (1), all negative (-1) or mixed (0)."""

    def test(evidence: Evidence) -> Diagnosis | None:
        found = fitted(evidence)
        if found is None or not found.powers or _rooted(found):
            return None
        signs = {int(np.sign(p)) for p in found.powers.values()}
        if (signs == {1, -1}) != (sign == 0) or (sign and signs != {sign}):
            return None
        mean = evidence.views[0].problem.options.get("reduction") == "mean"
        why = {
            1: "a mean over it is missing" if mean else "it is multiplied by it, or summed twice",
            -1: "it is divided by it once too often, or a mean stands for a sum",
            0: "the wrong size is divided by",
        }[sign]
        return Diagnosis(
            "proved" if found.cases > 2 else "likely",
            f"a factor of {found}, over all sizes: {why}.",
            (_seen(evidence) + f": {found} fits all {found.cases} cases.",),
            {"factor": str(found), "sizes": " and ".join(found.powers)},
        )

    return test


def _rooted(found: Fit) -> bool:
    return any(abs(power) < 1 for power in found.powers.values())


def _root(evidence: Evidence) -> Diagnosis | None:
    found = fitted(evidence)
    if found is None or not _rooted(found):
        return None
    return Diagnosis(
        "proved" if found.cases > 2 else "likely",
        f"a factor of {found}, over all sizes: a scale by the root of a size is left out, or taken "
        "twice.",
        (_seen(evidence) + f": {found} fits all {found.cases} cases.",),
        {"factor": str(found), "sizes": " and ".join(found.powers)},
    )


def _difference(view: View) -> Array | None:
    if view.got is None or view.expected is None or view.got.shape != view.expected.shape:
        return None
    return np.asarray(view.got.astype(np.float64) - view.expected)


def _magnitude(evidence: Evidence) -> Diagnosis | None:
    """got = |expected|."""
    if not evidence.enough or not evidence.explains(
        lambda v: None if v.expected is None else np.abs(v.expected)
    ):
        return None
    return Diagnosis(
        evidence.certainty,
        "the sign is lost: it is the magnitude of the right one in every element.",
        (f"it equals |the right one| in all {len(evidence.views)} cases looked at.",),
    )


def _decay(evidence: Evidence) -> Diagnosis | None:
    """got = expected + λ w, or + λ sign(w), with one λ for all cases."""
    of = evidence.views[0].of if evidence.views else ""
    if not of or of not in evidence.views[0].problem.parameters or not evidence.enough:
        return None
    for term, shape in (("{w}", np.asarray), ("sign({w})", np.sign)):
        factors = []
        for view in evidence.views:
            difference, w = _difference(view), shape(view.values[of])
            if difference is None:
                return None
            factors.append(float(np.sum(difference * w) / np.sum(w * w)))
            if not np.allclose(difference, factors[-1] * w, atol=1e-9, rtol=0):
                break
        else:
            if np.allclose(factors, factors[0], rtol=1e-5):
                what = f"{number(factors[0])}·{term.format(w=of)}"
                return Diagnosis(
                    evidence.certainty,
                    f"a regulariser's gradient is in it: it is the right one plus {what}.",
                    (f"what is too much equals {what} in all {len(factors)} cases looked at.",),
                    {"term": what},
                )
    return None


def _offset(evidence: Evidence) -> Diagnosis | None:
    if not evidence.enough or not evidence.views:
        return None
    offsets = []
    for view in evidence.views:
        difference = _difference(view)
        if difference is None or not difference.size:
            return None
        offsets.append(float(np.mean(difference)))
        if not np.allclose(difference, offsets[-1], atol=1e-9, rtol=0):
            return None
    if not np.allclose(offsets, offsets[0], rtol=1e-5) or abs(offsets[0]) < 1e-8:
        return None
    k = number(offsets[0])
    return Diagnosis(
        evidence.certainty,
        f"a constant is added: it is the right one plus {k} in every element.",
        (f"what is too much is {k} in every element of all {len(offsets)} cases looked at.",),
        {"k": k},
    )


def _clipped(evidence: Evidence) -> Diagnosis | None:
    """got = clip(expected, −c, c), or got = expected · c/‖expected‖ where the norm is larger."""
    limits, norms, cut = [], [], 0
    for view in evidence.views:
        got, expected = view.got, view.expected
        if got is None or expected is None or got.shape != expected.shape or got.size < 2:
            return None
        c = float(np.max(np.abs(got)))
        k = ratio(view)
        if view.alike(got, np.clip(expected, -c, c)) and not view.alike(got, expected):
            limits.append(c)
            cut += int(np.sum(np.abs(got) >= c * (1 - SAME)))
        elif k is not None and 0 < k < 1:
            norms.append(float(np.linalg.norm(got.astype(np.float64))))
        else:
            return None
    views = len(evidence.views)
    if not views:
        return None
    if len(limits) == views and np.allclose(limits, limits[0], rtol=SAME) and cut > views:
        return Diagnosis(
            evidence.certainty,
            f"it is clipped: no element is larger than {limits[0]:.4g}.",
            (f"it equals the right one clipped to ±{limits[0]:.4g}, in all cases looked at.",),
            {"c": f"{limits[0]:.4g}", "what": "every element"},
        )
    if len(norms) == views > 1 and np.allclose(norms, norms[0], rtol=SAME):
        return Diagnosis(
            evidence.certainty,
            f"it is clipped by its norm, which is {norms[0]:.4g} in every wrong case.",
            (f"it is the right one scaled to the norm {norms[0]:.4g}, in all cases looked at.",),
            {"c": f"{norms[0]:.4g}", "what": "the norm"},
        )
    return None


def _zero(evidence: Evidence) -> Diagnosis | None:
    for v in evidence.views:
        if v.got is None or v.expected is None or v.got.shape != v.expected.shape:
            return None
        right = float(np.max(np.abs(v.expected), initial=0.0))
        if not right or float(np.max(np.abs(v.got), initial=0.0)) > ZERO * right:
            return None
    if not evidence.views:
        return None
    return Diagnosis(
        "proved",
        "it is zero in every element: never computed, or computed and dropped.",
        (f"all elements are 0 in the {len(evidence.views)} cases looked at.",),
    )


RULES = (
    Rule(
        "zero",
        "zero in every element",
        _zero,
        "Where is {q} assigned? Is it assigned on every path?",
        "{q} is 0 everywhere. Compute it, and store it under the name that is read.",
    ),
    Rule(
        "clipped",
        "clipped inside backward",
        _clipped,
        "Does {q} stay right when all inputs are made a thousand times smaller?",
        "backward limits {what} to {c}. Gradients are clipped in the training loop, over all "
        "parameters at once; take it out of backward.",
    ),
    Rule(
        "sign-flipped",
        "sign flipped",
        _flipped,
        "Which is subtracted from which, and what does the derivative of −a give?",
        "{q} has the wrong sign. Swap the difference, or multiply by −1.",
    ),
    Rule(
        "sign-lost",
        "the magnitude of the right one, as of |x| without its sign",
        _magnitude,
        "What is the derivative of |x| for negative x?",
        "{q} is never negative, and should be. The derivative of |a| is sign(a), not 1.",
    ),
    Rule(
        "option-factor",
        "a factor that an option sets, as 1/(1−p) of dropout",
        _option,
        "Which scaling of the forward pass is missing in the backward pass?",
        "{q} is {factor} times the right one. What the forward pass multiplies by, the backward "
        "pass multiplies by too.",
    ),
    Rule(
        "constant-factor",
        "a constant factor, as the 2 of a square",
        _constant,
        "Differentiate the formula on paper once more: which number appears in front?",
        "{q} is {k} times the right one. Multiply it by {inverse}.",
    ),
    Rule(
        "root-of-size",
        "a factor of the root of a size, as the scale of attention",
        _root,
        "By which root does the forward pass divide, and where does the backward pass?",
        "{q} is {factor} times the right one. What is divided by a root in the forward pass, as "
        "scores by √d, is divided by it in the backward pass too, once.",
    ),
    Rule(
        "multiplied-by-size",
        "multiplied by a size, or a mean's 1/N missing",
        _size(1),
        "How does {q} change when {sizes} doubles, and how should it?",
        "{q} is {factor} times the right one. Divide by it: where the forward pass takes a mean, "
        "so does the gradient; and a sum is taken once.",
    ),
    Rule(
        "divided-by-size",
        "divided by a size: a mean where a sum belongs",
        _size(-1),
        "How does {q} change when {sizes} doubles, and how should it?",
        "{q} is {factor} times the right one. Take the sum, not the mean: the 1/N of a mean is in "
        "the loss already, and reaches this layer with the upstream gradient.",
    ),
    Rule(
        "ratio-of-sizes",
        "divided by the wrong size",
        _size(0),
        "By which size does the forward pass divide, and by which does the backward pass?",
        "{q} is {factor} times the right one: a wrong size is divided by. It would be right "
        "only where these sizes are equal.",
    ),
    Rule(
        "weight-decay",
        "a regulariser's gradient in the layer's",
        _decay,
        "Is {q} the gradient of the output alone, or is something of the parameter itself in it?",
        "{q} is the right one plus {term}. A regulariser has its own gradient, added by whoever "
        "adds it to the loss; take it out of the layer (or declare it in the exercise).",
    ),
    Rule(
        "constant-offset",
        "a constant added to a gradient, as λ without sign(w)",
        _offset,
        "What is added to {q}, and does it depend on anything?",
        "{q} is the right one plus {k}. The gradient of λ|w| is λ sign(w), and belongs to the "
        "regulariser, not to the layer.",
    ),
)
