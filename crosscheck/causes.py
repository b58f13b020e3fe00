"""Causes: the probable mistake behind a finding, proved on the arrays where that is possible.

A rule is data: a slug, a predicate over the evidence, and what to say. The first rule whose predicate holds
on *every* disagreeing case names the cause; where none does, none is named. Adding a cause means
adding a `Rule` to `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from crosscheck.case import Case
from crosscheck.comparison import NUMERIC, Comparison, Kind
from crosscheck.derivative import describe_region
from crosscheck.finding import Finding
from crosscheck.spec import Array

if TYPE_CHECKING:
    from crosscheck.panel import Panel

#: Arrays that are equal up to this share of their largest element are called equal here: a cause
#: is a hint beside a verdict that other rules have already reached.
ALIKE = 1e-3
#: Codes that say all there is to say.
UNEXPLAINED = ("random-forward", "low-precision")
#: At most this many of the disagreeing comparisons are looked at for a cause.
LOOK_AT = 40


@dataclass(frozen=True)
class Evidence:
    """What a rule may look at: one disagreeing comparison with both arrays."""

    case: Case
    quantity: str
    got: Array
    expected: Array
    panel: Panel

    def alike(self, one: Array, other: Array) -> bool:
        """Equal shape and, up to `ALIKE` of the largest element, equal values."""
        if one.shape != other.shape or not one.size:
            return False
        scale = float(np.max(np.abs(other)))
        return scale > 0 and float(np.max(np.abs(one - other))) <= ALIKE * scale

    def ratio(self) -> float | None:
        """k, if got = k · expected in every element."""
        if self.got.shape != self.expected.shape or not self.got.size:
            return None
        scale = float(np.sum(self.expected.astype(np.float64) ** 2))
        if scale == 0:
            return None
        k = float(np.sum(self.got.astype(np.float64) * self.expected)) / scale
        return k if self.alike(self.got, k * self.expected) else None


Predicate = Callable[[list[Evidence]], str | None]


@dataclass(frozen=True)
class Rule:
    """One probable mistake.

    Attributes:
        slug: a stable name.
        holds: from all evidence of a finding to the sentence that explains it, or None.
    """

    slug: str
    holds: Predicate


def _all(test: Callable[[Evidence], bool], say: str) -> Predicate:
    def holds(evidence: list[Evidence]) -> str | None:
        return say if all(test(e) for e in evidence) else None

    return holds


def _not_summed(evidence: list[Evidence]) -> str | None:
    def extra_axes(e: Evidence) -> int:
        extra = e.got.ndim - e.expected.ndim
        batch = e.case.problem.sizes.get("batch")
        if extra <= 0 or (batch is not None and e.got.shape[0] != batch):
            return 0
        return extra if e.alike(e.got.sum(axis=tuple(range(extra))), e.expected) else 0

    if not all(extra_axes(e) for e in evidence):
        return None
    first = evidence[0]
    lead = first.got.shape[: extra_axes(first)]
    axis = (
        "the batch"
        if lead and lead[0] == first.case.problem.sizes.get("batch")
        else "the leading axes"
    )
    return (
        f"not summed over {axis}: it has shape {first.got.shape}, and its sum over the first "
        f"{'axis' if len(lead) == 1 else 'axes'}, of shape {first.expected.shape}, is right. "
        "What is added to every sample collects a gradient from every sample."
    )


def _transposed(evidence: list[Evidence]) -> str | None:
    def order(e: Evidence) -> set[tuple[int, ...]]:
        return {
            axes
            for axes in permutations(range(e.got.ndim))
            if axes != tuple(range(e.got.ndim)) and e.alike(e.got.transpose(axes), e.expected)
        }

    if any(e.got.ndim != e.expected.ndim or not 2 <= e.got.ndim <= 4 for e in evidence):
        return None
    shared = set.intersection(*(order(e) for e in evidence))
    if not shared:
        return None
    axes = sorted(shared)[0]
    how = "transposing it" if len(axes) == 2 else f"permuting its axes to {axes}"
    return f"transposed: {how} makes it agree."


def _extra_axis(evidence: list[Evidence]) -> str | None:
    def holds(e: Evidence) -> bool:
        same = e.got.size == e.expected.size and e.got.shape != e.expected.shape
        return same and e.alike(e.got.reshape(e.expected.shape), e.expected)

    if not all(holds(e) for e in evidence):
        return None
    first = evidence[0]
    return (
        f"right values in the wrong shape: {first.got.shape}, should be {first.expected.shape}. "
        "An update with it would broadcast."
    )


def _factor(evidence: list[Evidence]) -> str | None:
    """got = k · expected: k is one number, or a product of powers of axis sizes times one."""
    ratios = [e.ratio() for e in evidence]
    if any(k is None or abs(k) < ALIKE for k in ratios):
        return None
    known = [k for k in ratios if k is not None]
    if _equal(known):
        k = known[0]
        if np.isclose(k, 1, rtol=ALIKE):
            return None  # a few elements are off: that is no factor
        if np.isclose(k, -1, rtol=ALIKE):
            return "the sign is flipped: it is −1 times the right one in every element."
        return f"a constant factor: it is {_number(k)} times the right one in every element."
    axes = sorted(set.intersection(*(set(e.case.problem.sizes) for e in evidence)))
    for count in (1, 2):
        for names in [(a,) for a in axes] if count == 1 else [*_couples(axes)]:
            for powers in product((1, -1), repeat=len(names)):
                sizes = [
                    float(
                        np.prod(
                            [
                                e.case.problem.sizes[n] ** float(p)
                                for n, p in zip(names, powers, strict=True)
                            ]
                        )
                    )
                    for e in evidence
                ]
                if _equal(sizes):
                    continue
                rest = [k / s for k, s in zip(known, sizes, strict=True)]
                if _equal(rest):
                    return _factor_sentence(names, powers, rest[0])
    return None


def _couples(axes: list[str]) -> list[tuple[str, ...]]:
    return [(a, b) for i, a in enumerate(axes) for b in axes[i + 1 :]]


def _factor_sentence(names: tuple[str, ...], powers: tuple[int, ...], rest: float) -> str:
    over = "·".join(n for n, p in zip(names, powers, strict=True) if p < 0)
    times = "·".join(n for n, p in zip(names, powers, strict=True) if p > 0)
    factor = (times or "1") + (f"/({over})" if "·" in over else f"/{over}" if over else "")
    lead = "" if np.isclose(rest, 1, rtol=ALIKE) else f"{_number(rest)}·"
    hint = (
        "a mean over it is missing, or a sum was taken twice"
        if times and not over
        else "it is divided by it once too often, or a mean stands for a sum"
        if over and not times
        else "a wrong normalisation"
    )
    return f"a factor of {lead}{factor}, over all sizes: {hint}."


def _equal(numbers: list[float]) -> bool:
    return bool(np.allclose(numbers, numbers[0], rtol=ALIKE, atol=0))


def _number(k: float) -> str:
    for denominator in (1, 2, 3, 4):
        top = round(float(k) * denominator)
        if top and np.isclose(k * denominator, top, rtol=ALIKE):
            return str(top) if denominator == 1 else f"{top}/{denominator}"
    return f"{k:.4g}"


def _zero(e: Evidence) -> bool:
    return e.got.shape == e.expected.shape and not np.any(e.got) and bool(np.any(e.expected))


def _upstream_ignored(evidence: list[Evidence]) -> str | None:
    """It equals the oracle's answer to an upstream gradient of ones."""

    def holds(e: Evidence) -> bool:
        for name in e.panel.oracles:
            if not e.quantity.startswith("grad_"):
                return False
            bound = e.panel.oracles[name].bind(e.case.problem)
            ones = {k: np.ones_like(a) for k, a in e.case.upstream().items()}
            found = bound.vjp(e.case.arrays(memory="plain"), ones).gradients.get(e.quantity[5:])
            return found is not None and e.alike(e.got, found)
        return False

    if not all(holds(e) for e in evidence):
        return None
    return (
        "the upstream gradient is ignored: it equals the gradient for an upstream gradient of ones."
    )


def _opposite_forward(evidence: list[Evidence]) -> str | None:
    if not all(e.quantity == "output" and e.alike(1 - e.got, e.expected) for e in evidence):
        return None
    return "it is 1 minus the right output: a sign is lost, as in 1/(1+exp(x))."


def _per_column(evidence: list[Evidence]) -> str | None:
    if not all(e.got.ndim == 2 and e.alike(e.got[:, ::-1], e.expected) for e in evidence):
        return None
    return "the order of the last axis is reversed."


RULES: tuple[Rule, ...] = (
    Rule("not-summed-over-batch", _not_summed),
    Rule("extra-axis", _extra_axis),
    Rule("transposed", _transposed),
    Rule(
        "zero", _all(_zero, "it is zero in every element: never computed, or computed and dropped.")
    ),
    Rule("upstream-ignored", _upstream_ignored),
    Rule("factor", _factor),
    Rule("one-minus", _opposite_forward),
    Rule("reversed", _per_column),
)


def explain(finding: Finding, panel: Panel) -> Finding:
    """The finding with its probable cause, where a rule holds on all its evidence.

    Args:
        finding: with the disagreeing comparisons.
        panel: to ask the oracles further questions.
    """
    if finding.code in (
        "raised",
        "missing",
        "contract",
        "wrong-dtype",
        "oracles-disagree",
        *UNEXPLAINED,
    ):
        return finding
    evidence = _evidence(finding, panel)
    if not evidence:
        return finding
    for rule in RULES:
        said = rule.holds(evidence)
        if said is not None:
            return replace(finding, cause=rule.slug, explanation=said)
    return replace(finding, explanation=_where(evidence[0]))


def _evidence(finding: Finding, panel: Panel) -> list[Evidence]:
    """One comparison per case, with a framework where there is one, float64 first."""
    best: dict[str, Comparison] = {}
    for comparison in finding.comparisons:
        usable = comparison.got is not None and comparison.expected is not None
        if (
            usable
            and comparison.kind in (Kind.VALUE, Kind.SHAPE)
            and comparison.left == panel.subject.name
        ):
            kept = best.get(comparison.case.id)
            if kept is None or kept.right == NUMERIC:
                best[comparison.case.id] = comparison
    ordered = sorted(best.values(), key=lambda c: c.case.dtype != "float64")
    return [
        Evidence(c.case, c.quantity, c.got, c.expected, panel)
        for c in ordered[:LOOK_AT]
        if c.got is not None and c.expected is not None
    ]


def _where(e: Evidence) -> str:
    """No rule knows it: say where in the array it is wrong."""
    if e.got.shape != e.expected.shape or e.got.ndim == 0:
        return ""
    difference = np.abs(e.got - e.expected)
    scale = float(np.max(np.abs(e.expected), initial=0.0))
    wrong = difference > 1e-6 * max(scale, float(np.finfo(np.float64).tiny))
    return f"wrong in {describe_region(wrong)}." if wrong.any() else ""
