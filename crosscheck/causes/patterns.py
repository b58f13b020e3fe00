"""Causes read off which cases are wrong and which are right: no formula is known, but the place is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosscheck.case import Case
from crosscheck.causes.evidence import Evidence
from crosscheck.causes.rule import VALUES, Diagnosis, Rule

ANYTHING = (*VALUES, "raised", "non-finite", "wrong-dtype", "missing")


def separates(evidence: Evidence, feature: Callable[[Case], bool]) -> bool:
    """Whether a feature holds in every wrong case and in no right one, and there are both."""
    return (
        bool(evidence.wrong_cases)
        and bool(evidence.right_cases)
        and all(map(feature, evidence.wrong_cases))
        and not any(map(feature, evidence.right_cases))
    )


def _counts(evidence: Evidence) -> str:
    return f"wrong in {len(evidence.wrong_cases)} cases, right in {len(evidence.right_cases)}"


def _padded(case: Case) -> bool:
    padding = case.problem.options.get("padding", 0)
    return bool(np.any(padding)) if not isinstance(padding, str) else padding == "same"


def _option_names(evidence: Evidence) -> list[str]:
    return [n for n in evidence.wrong_cases[0].problem.options] if evidence.wrong_cases else []


def _padding(evidence: Evidence) -> Diagnosis | None:
    if not separates(evidence, _padded):
        return None
    return Diagnosis(
        "likely",
        "the padding is not dealt with: it is wrong only with padding.",
        (f"{_counts(evidence)}: the wrong ones have padding, the right ones have none.",),
    )


def _option(evidence: Evidence) -> Diagnosis | None:
    for name in _option_names(evidence):
        default = evidence.wrong_cases[0].problem.layer.options[name]
        if separates(evidence, lambda c, n=name, d=default: c.problem.options[n] != d):  # type: ignore[misc]
            return Diagnosis(
                "likely",
                f"the option {name} is not dealt with: it is wrong only with another {name} than "
                f"{default}.",
                (f"{_counts(evidence)}: in the right ones {name} is {default}.",),
                {"name": name, "default": default},
            )
    return None


def _memory(evidence: Evidence) -> Diagnosis | None:
    strided = separates(evidence, lambda c: c.memory == "strided")
    if not strided and not separates(evidence, lambda c: c.memory != "plain"):
        return None
    return Diagnosis(
        "proved" if strided else "likely",
        "it depends on how the array lies in memory: it is wrong only for "
        + ("views that are not contiguous." if strided else "arrays that are not plain ones."),
        (f"{_counts(evidence)}, with equal values: only the memory layout differs.",),
    )


def _single(evidence: Evidence) -> Diagnosis | None:
    """Only at size 1 of one axis."""
    names = evidence.wrong_cases[0].problem.sizes if evidence.wrong_cases else {}
    for name in names:
        if separates(evidence, lambda c, n=name: c.problem.sizes.get(n) == 1):  # type: ignore[misc]
            return Diagnosis(
                "likely",
                f"it goes wrong only where {name} is 1.",
                (f"{_counts(evidence)}: only the wrong ones have {name} = 1.",),
                {"name": name},
            )
    return None


def _precision(evidence: Evidence) -> Diagnosis | None:
    if not separates(evidence, lambda c: c.dtype == "float32"):
        return None
    return Diagnosis(
        "likely",
        "it goes wrong only in float32: digits are lost, or a constant is too small for it.",
        (f"{_counts(evidence)}: the wrong ones are in float32.",),
    )


def _kink(evidence: Evidence) -> Diagnosis | None:
    if not separates(evidence, lambda c: c.at_kink) or evidence.shapes_differ:
        return None
    return Diagnosis(
        "likely",
        "it differs only where the layer has a kink: which side counts there is a convention.",
        (f"{_counts(evidence)}: the wrong ones sit on a kink, as at x == 0.",),
    )


def _overflow(evidence: Evidence) -> Diagnosis | None:
    special = {"extreme", "far off"}
    if evidence.finding.code != "non-finite" and not separates(
        evidence, lambda c: c.kind in special
    ):
        return None
    if evidence.finding.code == "non-finite" and any(
        c.kind not in special for c in evidence.wrong_cases
    ):
        return None
    return Diagnosis(
        "likely",
        "an exponential overflows: it is wrong only for large inputs.",
        (f"{_counts(evidence)}: the wrong ones have inputs around 1e4.",),
    )


def _missing(evidence: Evidence) -> Diagnosis | None:
    if evidence.finding.code != "missing":
        return None
    return Diagnosis("proved", "it is never given.", tuple(evidence.said[:1]))


RULES = (
    Rule(
        "never-given",
        "a gradient that is never given",
        _missing,
        "What does backward return, and where are the parameters' gradients stored?",
        "{q} is not there. Return the gradient of the input, and store that of a parameter p as "
        "self.grad_p.",
        ANYTHING,
    ),
    Rule(
        "memory-layout",
        "wrong for views that are not contiguous",
        _memory,
        "Does {s} read the memory behind an array, or the array?",
        "Index the array, or make a contiguous copy first: np.ascontiguousarray(x). "
        "reshape(-1) of a view is a copy: what is written into it is lost.",
        ANYTHING,
    ),
    Rule(
        "overflow",
        "an exponential overflows",
        _overflow,
        "What is exp(1000), and what is inf/inf?",
        "Take care that no exponent is large: subtract the maximum in a softmax; for a sigmoid "
        "use exp(−|x|).",
        ANYTHING,
    ),
    Rule(
        "kink-convention",
        "the other side of a kink",
        _kink,
        "Which derivative does your formula take exactly where two pieces meet?",
        "At the kink itself the frameworks take the other side, for ReLU x > 0. It is a "
        "convention; follow it.",
        ANYTHING,
    ),
    Rule(
        "only-with-padding",
        "wrong with padding only",
        _padding,
        "Which array do you take windows of in the backward pass: the padded one?",
        "Pad x in the backward pass as in the forward pass, work on the padded arrays, and cut "
        "the padding off at the end.",
        ANYTHING,
    ),
    Rule(
        "only-with-option",
        "wrong with one option only",
        _option,
        "What does {name} change in the forward pass, and where is that in the backward pass?",
        "It is right while {name} is {default}. Use {name} in the backward pass too.",
        ANYTHING,
    ),
    Rule(
        "only-in-float32",
        "wrong in float32 only",
        _precision,
        "Are two nearly equal numbers subtracted, or is a small constant added?",
        "Rewrite it so that no digits are lost, and make constants relative to the dtype.",
        ANYTHING,
    ),
    Rule(
        "only-at-size-one",
        "wrong at size 1 only",
        _single,
        "What does your code do with an axis of size 1: squeeze, or broadcast?",
        "It is wrong only for {name} = 1: give axes to squeeze and sum explicitly.",
        ANYTHING,
    ),
)
