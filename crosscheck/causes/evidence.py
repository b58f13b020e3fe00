"""Evidence: all that is known of a finding, and what else can be asked of the witnesses.

A rule looks at `View`s: one case each, with what the subject gave and what is right. A view answers
"what would it be if": it runs a trusted implementation with other values, another upstream
gradient, other options. A mistake is proved where that equals what the subject gave, on every view.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from crosscheck.case import Case
from crosscheck.comparison import NUMERIC, Comparison, Kind, Verdict
from crosscheck.errors import CrosscheckError
from crosscheck.evaluation import Evaluation, Implementation, ImplementationError, NotOffered
from crosscheck.finding import Finding
from crosscheck.spec import Array, Problem, Values
from crosscheck.tolerance import quantities

if TYPE_CHECKING:
    from crosscheck.panel import Panel

#: Arrays are called equal here up to this share of the largest element. A cause is a hint beside
#: a verdict that other rules reached; what is claimed as proved has to fit far better than any
#: two different formulas do.
ALIKE = {"float64": 1e-9, "float32": 1e-4}
#: At most this many disagreeing cases are looked at, and this many that agree.
WRONG_VIEWS, RIGHT_VIEWS = 6, 3
#: Fewer compared elements than this prove nothing: one number fits many formulas.
ENOUGH = 4

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

#: From a view to what the quantity would be, or None where that cannot be said.
WhatIf = Callable[["View"], "Array | None"]


class View:
    """One case: what the subject gave, what is right, and what would be if.

    Attributes:
        case: the case.
        quantity: such as ``grad_bias``.
        got: the subject's array; None in a case where it agrees.
    """

    def __init__(
        self,
        case: Case,
        quantity: str,
        trusted: Implementation | None,
        got: Array | None = None,
        expected: Array | None = None,
    ) -> None:
        self.case = case
        self.quantity = quantity
        self.trusted = trusted
        self.got = got
        self._expected = expected
        self._asked: dict[Any, Evaluation | None] = {}

    @property
    def problem(self) -> Problem:
        """Layer, options, sizes."""
        return self.case.problem

    @cached_property
    def values(self) -> dict[str, Array]:
        """Inputs, parameters and buffers."""
        return self.case.arrays(memory="plain")

    @cached_property
    def upstream(self) -> dict[str, Array]:
        """The upstream gradient of every output."""
        return self.case.upstream(memory="plain")

    @property
    def u(self) -> Array:
        """The upstream gradient of the first output."""
        return next(iter(self.upstream.values()), np.zeros(()))

    @property
    def x(self) -> Array:
        """The first input."""
        return self.values[next(iter(self.problem.inputs))]

    @property
    def of(self) -> str:
        """What the gradient is of: ``bias`` for ``grad_bias``; "" for an output."""
        return self.quantity[5:] if self.quantity.startswith("grad_") else ""

    @cached_property
    def right(self) -> Evaluation | None:
        """All that a trusted witness gives for the case."""
        return self.ask()

    @property
    def expected(self) -> Array | None:
        """What the quantity should be."""
        if self._expected is None and self.right is not None:
            self._expected = quantities(self.right).get(self.quantity)
        return self._expected

    @property
    def output(self) -> Array | None:
        """The right first output."""
        name = next(iter(self.problem.outputs))
        return None if self.right is None else self.right.outputs.get(name)

    def ask(
        self,
        values: Mapping[str, Array] | None = None,
        upstream: Mapping[str, Array] | None = None,
        options: Mapping[str, Any] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> Evaluation | None:
        """A trusted witness's answer with something changed; None if it has none.

        Args:
            values, upstream: name → another array.
            options, sizes: the options and sizes that change.
        """
        if self.trusted is None:
            return None
        problem = self.problem
        try:
            if options or sizes:
                problem = problem.layer.problem(
                    {**problem.options, **(options or {})}, {**problem.sizes, **(sizes or {})}
                )
            given = {**self.values, **(values or {})}
            shapes = problem.shapes()
            if any(given[n].shape != shapes[n] for n in problem.given):
                return None
            given = {n: given[n].astype(self.values[n].dtype, copy=True) for n in problem.given}
            above = {**self.upstream, **(upstream or {})}
            for name in problem.differentiable_outputs:
                if above[name].shape != shapes[name]:  # the forward alone is asked for
                    above[name] = np.ones(shapes[name])
            above = {n: above[n].astype(self.case.dtype) for n in problem.differentiable_outputs}
            with np.errstate(all="ignore"):
                return self.trusted.bind(problem).vjp(given, above)
        except (ImplementationError, NotOffered, CrosscheckError, KeyError):
            return None
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return None  # a layer's spec that cannot make sense of the changed problem

    def would_be(
        self,
        values: Mapping[str, Array] | None = None,
        upstream: Mapping[str, Array] | None = None,
        options: Mapping[str, Any] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> Array | None:
        """The quantity in `ask`'s answer."""
        found = self.ask(values, upstream, options, sizes)
        return None if found is None else quantities(found).get(self.quantity)

    def alike(self, one: Array | None, other: Array | None) -> bool:
        """Equal shape and, up to `ALIKE` of the largest element, equal finite values, not all 0.

        Where what was got is itself close to what was expected, a tenth of that error is the bound:
        an array that is no nearer to what was got than the right one explains nothing.
        """
        if one is None or other is None or one.shape != other.shape or not one.size:
            return False
        with np.errstate(all="ignore"):
            scale = float(np.max(np.abs(other)))
            difference = float(np.max(np.abs(one.astype(np.float64) - other)))
            error = np.inf
            if self.got is not None and self.expected is not None:
                if self.got.shape == self.expected.shape and self.got.size:
                    error = float(np.max(np.abs(self.got.astype(np.float64) - self.expected)))
        bound = ALIKE[self.case.dtype] * scale
        return 0 < scale < np.inf and difference <= (min(bound, error / 10) if error else bound)


@dataclass
class Evidence:
    """What a rule may look at.

    Attributes:
        finding: code, quantity, and every disagreeing comparison.
        panel: the subject and its witnesses.
        views: disagreeing cases with both arrays, the plainest first.
        right_views: cases in which the quantity agrees.
        wrong_cases, right_cases: all cases where the quantity disagrees, and where it agrees.
        said: in words why, per disagreeing case: an exception's text, a clause.
    """

    finding: Finding
    panel: Panel
    views: list[View]
    right_views: list[View]
    wrong_cases: list[Case]
    right_cases: list[Case]
    said: list[str] = field(default_factory=list)

    @property
    def quantity(self) -> str:
        """What the finding is about."""
        return self.finding.quantity

    @property
    def shapes_differ(self) -> bool:
        """Whether what was given has another shape than it should, in some case."""
        return any(
            v.got is not None and v.expected is not None and v.got.shape != v.expected.shape
            for v in self.views
        )

    @cached_property
    def enough(self) -> bool:
        """Whether there are enough numbers to prove a formula on."""
        return (
            sum(v.got.size for v in self.views if v.got is not None) >= ENOUGH
            or len(self.views) >= ENOUGH - 1
        )

    @property
    def certainty(self) -> str:
        """What a formula that fits every view is called."""
        return "proved" if self.enough else "likely"

    def explains(self, what_if: WhatIf) -> bool:
        """Whether a mistake gives what was given, in every view, and what is right elsewhere."""
        if not self.views:
            return False
        for view in self.views:
            if not view.alike(what_if(view), view.got):
                return False
        return all(_same(view, what_if(view)) for view in self.right_views)

    def repairs(self, repair: Callable[[View, Array], Array | None]) -> bool:
        """Whether a change of what was given makes it agree, in every view."""
        return bool(self.views) and all(
            view.got is not None and view.alike(repair(view, view.got), view.expected)
            for view in self.views
        )

    def first(self, candidates: Iterable[tuple[Any, WhatIf]]) -> Any | None:
        """The key of the first of several what-ifs that explains all views."""
        return next((key for key, what_if in candidates if self.explains(what_if)), None)

    def subject_answer(self, case: Case, **changes: Values) -> Evaluation | None:
        """What the subject gives once more, newly constructed."""
        try:
            bound = self.panel.subject.bind(case.problem)
            return bound.vjp(
                {**case.arrays(memory="plain"), **changes.get("values", {})},
                {**case.upstream(memory="plain"), **changes.get("upstream", {})},
            )
        except (ImplementationError, NotOffered):
            return None


def _same(view: View, what_if: Array | None) -> bool:
    """Where the subject is right, the mistake has to give what is right (or cannot be said)."""
    expected = view.expected
    if what_if is None or expected is None:
        return True
    if what_if.shape != expected.shape:
        return False
    if not np.any(expected):
        return not np.any(np.abs(what_if) > ALIKE[view.case.dtype])
    return view.alike(what_if, expected)


def attempt(question: Callable[[_Asked], _Answer], about: _Asked, what: str) -> _Answer | None:
    """An answer, or None with a warning: a hint that cannot be had costs the hint, never the report.

    Args:
        question: a rule's test, a convention's answer.
        about: what it is asked of.
        what: what could not be done, as the end of "crosscheck could not …".
    """
    try:
        return question(about)
    except Exception as error:
        text = f"crosscheck could not {what}: {error!r}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None


def trusted(panel: Panel) -> Implementation | None:
    """Who is asked "what if": the cheapest of those that are not the subject."""
    jax = panel.oracles.get("jax")
    return panel.oracles.get("torch") or panel.fallback or jax


def gather(finding: Finding, comparisons: Sequence[Comparison], panel: Panel) -> Evidence:
    """The evidence of a finding out of all comparisons of a check."""
    subject = panel.subject.name
    mine = [c for c in comparisons if c.quantity == finding.quantity and c.left == subject]
    wrong_ids = {c.case.id for c in finding.comparisons}
    wrong = {c.case.id: c.case for c in finding.comparisons}
    disagreeing = {
        c.case.id for c in mine if c.verdict is Verdict.DISAGREE and c.known is None
    } | wrong_ids
    right = {
        c.case.id: c.case
        for c in mine
        if c.verdict is Verdict.AGREE and c.case.id not in disagreeing
    }
    best: dict[str, Comparison] = {}
    for c in finding.comparisons:
        if c.got is None or c.expected is None or c.left != subject:
            continue
        if c.kind in (Kind.VALUE, Kind.SHAPE, Kind.DTYPE, Kind.NON_FINITE):
            kept = best.get(c.case.id)
            if kept is None or kept.right == NUMERIC:
                best[c.case.id] = c
    who = trusted(panel)
    views = [View(c.case, c.quantity, who, c.got, c.expected) for c in best.values()]
    if panel.differences and panel.fallback is not None and _differ(views, panel.fallback):
        # A framework with a known difference is no measure here; who follows the spec is.
        who = panel.fallback
        views = [View(v.case, v.quantity, who, v.got) for v in views]
    right_views = [View(case, finding.quantity, who) for case in right.values()]
    return Evidence(
        finding=finding,
        panel=panel,
        views=_plainest(views, WRONG_VIEWS),
        right_views=[v for v in _plainest(right_views, RIGHT_VIEWS) if _plain(v.case)],
        wrong_cases=list(wrong.values()),
        right_cases=list(right.values()),
        said=[c.reason for c in finding.comparisons if c.reason],
    )


def _differ(views: list[View], other: Implementation) -> bool:
    """Whether a trusted implementation gives something else than the views expect."""
    plain = next((v for v in views if _plain(v.case)), None)
    if plain is None:
        return False
    own = View(plain.case, plain.quantity, other).expected
    return own is not None and not plain.alike(own, plain.expected)


def _plainest(views: list[View], most: int) -> list[View]:
    """The plain ones in float64, of different problems, if there are any; small arrays last."""
    chosen = [v for v in views if _plain(v.case)] or [
        v for v in views if not v.case.at_kink and v.case.kind not in v.problem.layer.special
    ] or views  # fmt: skip
    if any(v.case.dtype == "float64" for v in chosen):
        chosen = [v for v in chosen if v.case.dtype == "float64"]
    distinct: dict[Any, View] = {}
    for view in chosen:
        distinct.setdefault((view.problem.key(), view.case.kind), view)
    return sorted(distinct.values(), key=lambda v: 1 in v.problem.sizes.values())[:most]


def _plain(case: Case) -> bool:
    return (
        case.dtype == "float64"
        and case.memory == "plain"
        and not case.at_kink
        and case.kind not in case.problem.layer.special
    )
