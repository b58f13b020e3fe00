"""The detective: is it a mistake, or another framework's convention?

Whoever ports a model meets differences that are nobody's mistake: gates in another order, a variance
divided by n − 1, another eps. On the disagreeing cases the known alternatives are tried one after the
other, and the one under which everything agrees is reported, with what to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosscheck.case import Case
from crosscheck.causes.evidence import View, attempt, trusted
from crosscheck.comparison import NUMERIC, Comparison, Verdict
from crosscheck.detective import formulas, layouts
from crosscheck.detective.alternative import Alternative
from crosscheck.detective.orders import Order, orders
from crosscheck.evaluation import Evaluation, Implementation, ImplementationError, NotOffered
from crosscheck.finding import Finding
from crosscheck.spec import Array, Problem
from crosscheck.tolerance import quantities

if TYPE_CHECKING:
    from crosscheck.panel import Panel

__all__ = ["CODE", "Alternative", "alternatives", "investigate"]

CODE = "convention"
#: The code of what `crosscheck.mismatch` found to be a mean for a sum and the like.
MISMATCH = "convention-mismatch"
#: No change: what fits this needs no other convention.
AS_IT_IS = Alternative("as-it-is", "", "", lambda view: view.right)
#: How many times the tolerance an alternative's answer may be off: it is computed on a detour.
SLACK = 10.0
#: At most this many disagreeing cases have to fit, and this many of those that agree.
WRONG, RIGHT = 4, 2
#: What an output shows whose layer reads arrays in another order of axes.
OUTPUT_WRONG = ("raised", "wrong-shape", "forward-wrong", "non-finite")
#: Findings that another convention may explain.
BY_VALUE = (
    "forward-wrong",
    "wrong-shape",
    "raised",
    "non-finite",
    "backward-wrong",
    "backward-wrong-by-oracles",
    "gradient-convention",
    "forward-and-backward-wrong",
    "forward-wrong-backward-consistent",
    "not-its-own-derivative",
)


def alternatives(problem: Problem) -> Iterator[Alternative]:
    """Every convention that is tried on a problem, the likeliest first."""
    yield from layouts.alternatives(problem)
    yield from formulas.alternatives(problem)


def investigate(
    findings: Sequence[Finding], comparisons: Sequence[Comparison], panel: Panel
) -> list[Finding]:
    """The findings, headed by the convention that explains them all, if there is one.

    Args:
        findings: of one check.
        comparisons: all of the check.
        panel: whose subject is asked, and whose oracles answer under other conventions.
    """
    about = [f for f in findings if f.code in (*BY_VALUE, MISMATCH)]
    others = [f for f in findings if f.code not in (*BY_VALUE, MISMATCH, "contract")]
    if not about or others:
        return [*findings]
    scene = _Scene(about, comparisons, panel)
    found = scene.solve()
    if found is None:
        return [*findings]
    if all(f.code == MISMATCH for f in about):  # known as a scale already: say whose it is
        return [
            replace(f, evidence=(*f.evidence, found.explanation), answer=found.answer)
            if f in about
            else f
            for f in findings
        ]
    explained = [
        replace(f, cause=found.cause, certainty=found.certainty, explanation=found.explanation)
        if f.code in BY_VALUE
        else f
        for f in findings
    ]
    return [found, *explained]


class _Scene:
    """What has to be explained: cases, the subject's answers, and the tolerances."""

    def __init__(
        self, findings: Sequence[Finding], comparisons: Sequence[Comparison], panel: Panel
    ) -> None:
        self.findings, self.panel = findings, panel
        self.quantity = findings[0].quantity
        subject = panel.subject.name
        wrong = {c.case.id: c.case for f in findings for c in f.comparisons}
        every = {c.case.id: c.case for c in comparisons}
        # An alternative is one to certain options: all cases looked at have those.
        first = next(iter(_few([*wrong.values()], 1)), None)
        options = None if first is None else dict(first.problem.options)
        same = {i: c for i, c in every.items() if dict(c.problem.options) == options}
        self.cases = [
            *_few([c for i, c in same.items() if i in wrong], WRONG),
            *_few([c for i, c in same.items() if i not in wrong], RIGHT),
        ]
        self.tolerance: dict[tuple[str, str], float] = {}
        self.by_numeric: dict[str, set[Verdict]] = {}
        for c in comparisons:
            if c.left != subject:
                continue
            if c.right == NUMERIC:
                self.by_numeric.setdefault(c.quantity, set()).add(c.verdict)
            elif c.tolerance is not None:
                self.tolerance[c.case.id, c.quantity] = c.tolerance
        self.wrong = set(wrong)

    def solve(self) -> Finding | None:
        """The first alternative that explains everything, or the first order of axes."""
        if not any(case.id in self.wrong for case in self.cases):
            return None
        with np.errstate(all="ignore"):
            return self._by_alternative() or self._by_order()

    def _by_alternative(self) -> Finding | None:
        answers = {case.id: self._subject(case) for case in self.cases}
        if any(answer is None for answer in answers.values()):
            return None
        asked = (trusted(self.panel), self.panel.fallback)
        witnesses = [w for w in dict.fromkeys(asked) if w is not None]
        if any(self._fits(AS_IT_IS, w, answers) for w in witnesses):
            return None  # what can be compared is right: there is nothing to explain
        for alternative in self._alternatives():
            for witness in witnesses:
                if self._fits(alternative, witness, answers):
                    return self._finding(alternative, answers)
        return None

    def _by_order(self) -> Finding | None:
        """The subject is given its arrays in another order of axes."""
        outputs = self.cases[0].problem.outputs
        if not any(f.quantity in outputs and f.code in OUTPUT_WRONG for f in self.findings):
            return None
        for order in orders(self.cases[0].problem):
            agreeing = [
                name
                for name, witness in {**self.panel.oracles, "": self.panel.fallback}.items()
                if witness and all(self._right_in(order, case, witness) for case in self.cases)
            ]
            if agreeing:
                meant = Alternative(
                    "axis-order", order.what, order.change, AS_IT_IS.answer, order.who
                )
                return self._told(meant, [*filter(None, agreeing)], "proved")
        return None

    def _right_in(self, order: Order, case: Case, witness: Implementation) -> bool:
        try:
            bound = self.panel.subject.bind(case.problem)
            found = bound.vjp(
                order.there(case.arrays(memory="plain")), order.there(case.upstream(memory="plain"))
            )
        except (ImplementationError, NotOffered):
            return False
        mine, right = order.back(found), View(case, self.quantity, witness).right
        if mine is None or right is None:
            return False
        given, expected = quantities(mine), quantities(right)
        return set(given) == set(expected) and all(
            self._near(case, name, array, expected[name]) for name, array in given.items()
        )

    def _alternatives(self) -> Iterator[Alternative]:
        # Of the case that has the most options set: an option's other values are all tried there.
        yield from alternatives(self.cases[0].problem)

    def _subject(self, case: Case) -> Evaluation | None:
        """What the subject gives: its outputs alone where its backward cannot take them."""
        try:
            bound = self.panel.subject.bind(case.problem)
        except (ImplementationError, NotOffered):
            return None
        try:
            found = bound.vjp(case.arrays(memory="plain"), case.upstream(memory="plain"))
            shapes = case.problem.shapes()
            if all(a.shape == shapes[n] for n, a in found.outputs.items()):
                return found  # else the upstream gradient did not fit, and what came of it is noise
        except (ImplementationError, NotOffered):
            pass
        try:
            outputs = dict(bound.forward(case.arrays(memory="plain")))
            return Evaluation({n: outputs[n] for n in case.problem.outputs if n in outputs}, {})
        except (ImplementationError, NotOffered):
            return None

    def _fits(
        self,
        alternative: Alternative,
        witness: Implementation,
        answers: Mapping[str, Evaluation | None],
    ) -> bool:
        for case in self.cases:
            mine = answers[case.id]
            failed = f"try a convention, {alternative.slug!r} of {case.id} failed"
            theirs = attempt(alternative.answer, View(case, self.quantity, witness), failed)
            if mine is None or theirs is None:
                return False
            given, expected = quantities(mine), quantities(theirs)
            if not set(case.problem.outputs) & set(expected):
                return False
            for name, array in given.items():
                if name not in expected:
                    if not self._own_derivative(name):
                        return False
                elif not self._near(case, name, array, expected[name]):
                    return False
        return True

    def _own_derivative(self, quantity: str) -> bool:
        """Whether the numeric witness found the gradient consistent with the subject's forward."""
        if not quantity.startswith("grad_"):
            return False  # an output or buffer that the alternative says nothing of
        return Verdict.DISAGREE not in self.by_numeric.get(quantity, {Verdict.DISAGREE})

    def _near(self, case: Case, quantity: str, one: Array, other: Array) -> bool:
        if one.shape != other.shape:
            return False
        if not np.array_equal(np.isfinite(one), np.isfinite(other)):
            return False
        both = np.isfinite(one)
        if one.size and not both.any():
            return False  # NaN everywhere explains nothing
        scale = float(np.max(np.abs(other[both]), initial=0.0))
        least = 1e-14 * scale if case.dtype == "float64" else 1e-6 * scale
        allowed = SLACK * max(self.tolerance.get((case.id, quantity), least), least)
        error = np.abs(one[both].astype(np.float64) - other[both])
        return float(np.max(error, initial=0.0)) <= allowed

    def _finding(
        self, alternative: Alternative, answers: Mapping[str, Evaluation | None]
    ) -> Finding:
        agreeing = [
            name
            for name, oracle in self.panel.oracles.items()
            if self._fits(alternative, oracle, answers)
        ]
        whole = all(answer is not None and answer.gradients for answer in answers.values())
        if whole and any(Verdict.AGREE in v for v in self.by_numeric.values()):
            agreeing.append("numeric differentiation")
        certain = "proved" if whole or not self._differentiable() else "likely"
        return self._told(alternative, agreeing, certain)

    def _told(self, alternative: Alternative, agreeing: Sequence[str], certain: str) -> Finding:
        names = {"torch": "PyTorch", "jax": "JAX"}
        listed = " and ".join(names.get(n, n) for n in agreeing) or "reference_nn"
        subject = self.panel.subject.name
        who = f" ({alternative.who})" if alternative.who else ""
        says = f"another convention: {alternative.what}{who}. With it, everything agrees."
        return Finding(
            CODE,
            self.quantity,
            f"{subject} follows another convention. With {alternative.what} it agrees with {listed}.",
            cause=alternative.slug,
            explanation=says,
            comparisons=self.findings[0].comparisons,
            against=self.findings[0].against,
            certainty=certain,
            evidence=(
                f"with {alternative.what} all quantities agree in the {len(self.cases)} cases "
                "looked at; without it they do not.",
            ),
            hint="Which defaults, and which order of the parameters, does the framework have that "
            "the weights came from?",
            answer=f"To agree: {alternative.change}.",
        )

    def _differentiable(self) -> bool:
        return bool(self.cases[0].problem.differentiable)


def _few(cases: list[Case], most: int) -> list[Case]:
    """Different problems in float64 and plain memory, as plain as there are."""
    usable = [c for c in cases if c.memory == "plain"] or cases
    usable = [c for c in usable if c.dtype == "float64"] or usable
    plain = [c for c in usable if not c.at_kink and c.kind not in c.problem.layer.special]
    distinct: dict[object, Case] = {}
    for case in plain or usable:
        distinct.setdefault((case.problem.key(), case.kind), case)
    ordered = sorted(distinct.values(), key=lambda c: 1 in c.problem.sizes.values())
    return ordered[:most]
