"""Comparison: two witnesses, one quantity, one verdict, and how small an error would have shown.

Shapes and dtypes come first, so that nothing broadcasts into agreement; NaN agrees with nothing;
empty arrays are not compared at all. Every agreement carries a negative control: an error of the
detection limit is planted in one element, and the same comparison must notice it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.spec import Array
from crosscheck.tolerance import Rounding, largest, largest_finite

#: The name of the numeric witness.
NUMERIC = "numeric"


class Verdict(enum.Enum):
    """What a comparison or a whole report comes to."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNCHECKED = "unchecked"


class Kind(enum.Enum):
    """In what way two witnesses disagree."""

    VALUE = "value"
    SHAPE = "shape"
    DTYPE = "dtype"
    NON_FINITE = "non-finite"
    MISSING = "missing"
    RAISED = "raised"
    CONTRACT = "contract"
    CONTROL = "control"
    RANDOM = "random"
    LOW_PRECISION = "low precision"
    COARSE = "coarse"


@dataclass(frozen=True)
class Outcome:
    """How two arrays, or two numbers, compare. See `Comparison` for the attributes."""

    verdict: Verdict
    error: float | None = None
    tolerance: float | None = None
    limit: float | None = None
    kind: Kind | None = None
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two witnesses on one quantity of one case.

    Attributes:
        case: the case.
        quantity: ``output`` (or the output's name), ``grad_x``, ``contract: …``.
        left, right: the witnesses' names.
        verdict: agree, disagree, or unchecked with a `reason`.
        error: the largest difference of any element (for the numeric witness: of the directional
            derivative); None if there was nothing to subtract.
        tolerance: what `error` may be, by `crosscheck.tolerance`.
        limit: the detection limit: an error of this size in any one element would have shown.
        norm: the quantity's 2-norm, to which the limit is related; where a gradient vanishes, the
            upstream gradient's size.
        kind: in what way they disagree.
        reason: why unchecked, or in words why or where they disagree; of an agreement, what is
            to be said about it.
        known: the slug of the ledger entry that explains a disagreement of the frameworks.
        got, expected: left's and right's array, kept for disagreements only.
    """

    case: Case
    quantity: str
    left: str
    right: str
    outcome: Outcome
    norm: float = 0.0
    known: str | None = None
    got: Array | None = field(default=None, repr=False)
    expected: Array | None = field(default=None, repr=False)

    @property
    def verdict(self) -> Verdict:
        """agree, disagree or unchecked."""
        return self.outcome.verdict

    @property
    def error(self) -> float | None:
        """The largest difference."""
        return self.outcome.error

    @property
    def tolerance(self) -> float | None:
        """What the difference may be."""
        return self.outcome.tolerance

    @property
    def limit(self) -> float | None:
        """The detection limit, in the quantity's own unit."""
        return self.outcome.limit

    @property
    def kind(self) -> Kind | None:
        """In what way they disagree."""
        return self.outcome.kind

    @property
    def reason(self) -> str:
        """Why unchecked, or in words why they disagree."""
        return self.outcome.reason

    @property
    def relative_limit(self) -> float | None:
        """The detection limit in units of the quantity's norm; None for one that is nothing but rounding."""
        if self.limit is None or not self.limit <= self.norm:
            return None
        return self.limit / self.norm

    @property
    def margin(self) -> float | None:
        """error / tolerance: above 1 they disagree."""
        if self.error is None or self.tolerance is None:
            return None
        if self.tolerance == 0:
            return 0.0 if self.error == 0 else float("inf")
        return self.error / self.tolerance


def compare_arrays(left: Array, right: Array, tolerance: float, *, dtype: bool = True) -> Outcome:
    """Compare two arrays that should be equal up to rounding.

    Args:
        left, right: any arrays; `right` is the one that is trusted.
        tolerance: how far any element may be off.
        dtype: whether their dtypes must be the same.
    """
    outcome = _compare(left, right, tolerance, dtype)
    if outcome.verdict is not Verdict.AGREE or left.dtype.kind != "f":
        return outcome
    ulp = float(np.spacing(largest_finite(right)))
    limit = (tolerance + (outcome.error or 0.0)) * (1 + 2.0**-40) + 2 * ulp
    if not _control_noticed(left, right, tolerance, limit):
        return replace(
            outcome,
            verdict=Verdict.UNCHECKED,
            kind=Kind.CONTROL,
            reason=f"the negative control failed: an error of {limit:.1e} was not noticed",
        )
    return Outcome(Verdict.AGREE, outcome.error, tolerance, limit)


def _compare(left: Array, right: Array, tolerance: float, dtype: bool) -> Outcome:
    def differ(kind: Kind, reason: str, error: float | None = None) -> Outcome:
        return Outcome(Verdict.DISAGREE, error, tolerance, kind=kind, reason=reason)

    def judged(error: float) -> Outcome:
        if dtype and left.dtype != right.dtype:
            agree = " (the values agree)" if error <= tolerance else ""
            reason = f"dtype {left.dtype}, should be {right.dtype}{agree}"
            return differ(Kind.DTYPE, reason, error)
        if not error <= tolerance:
            return differ(Kind.VALUE, "", error)
        return Outcome(Verdict.AGREE, error, tolerance)

    if left.shape != right.shape:
        return differ(Kind.SHAPE, f"shape {left.shape}, should be {right.shape}")
    if right.size == 0:
        return Outcome(Verdict.UNCHECKED, reason="empty: there is nothing to compare")
    if left.dtype.kind in "biu" and right.dtype.kind in "biu":
        wrong = int(np.count_nonzero(left != right))
        if wrong:
            return differ(Kind.VALUE, f"{wrong} of {right.size} elements differ", float(wrong))
        return Outcome(Verdict.AGREE, 0.0, 0.0)
    with np.errstate(all="ignore"):
        difference = _double(left) - _double(right)
        error = largest(difference)
    if math.isfinite(error):  # so is everything on both sides, and nothing needs to be masked
        return judged(error)
    nan_left, nan_right = np.isnan(left), np.isnan(right)
    if nan_left.any() and nan_right.any() and np.array_equal(nan_left, nan_right):
        return Outcome(Verdict.UNCHECKED, reason="both are NaN: NaN agrees with nothing")
    finite_left, finite_right = np.isfinite(left), np.isfinite(right)
    infinite = ~finite_left | ~finite_right
    if infinite.any() and not np.array_equal(left[infinite], right[infinite]):
        count = int(np.count_nonzero(infinite))
        worst = "NaN" if nan_left.any() or nan_right.any() else "Inf"
        who = "got" if (~finite_left).any() else "expected"
        return differ(Kind.NON_FINITE, f"{who} {worst} in {count} of {right.size} elements")
    return judged(largest(np.where(infinite, 0.0, difference)))


def _control_noticed(left: Array, right: Array, tolerance: float, limit: float) -> bool:
    """Plant an error of the limit where it is hardest to see: against the largest difference."""
    exact, planted = _double(right), left.astype(np.float64)
    with np.errstate(all="ignore"):
        distance = np.asarray(planted - exact)
        np.abs(distance, out=distance)
    position = np.unravel_index(int(distance.argmax()), left.shape)  # of NaN, if there is one
    if not math.isfinite(distance[position]):
        distance = np.where(np.isfinite(distance), distance, 0.0)
        position = np.unravel_index(int(distance.argmax()), left.shape)
    if not math.isfinite(planted[position]):
        return True  # infinities everywhere, equal ones: there is no limit to test
    del distance
    planted[position] -= np.copysign(limit, planted[position] - exact[position])
    return _compare(planted, exact, tolerance, False).verdict is Verdict.DISAGREE


def _double(array: Array) -> Array:
    return array.astype(np.float64, copy=False)


def compare_numbers(left: float, right: float, tolerance: float, smallest: float) -> Outcome:
    """Compare two directional derivatives.

    Args:
        left, right: <v, gradient> and the numeric derivative along v.
        tolerance: what their difference may be: rounding and the derivative's own error.
        smallest: the smallest weight of any element in v; an error in that element alone shows
            when it exceeds the limit.
    """
    if not (np.isfinite(left) and np.isfinite(right)):
        return Outcome(Verdict.DISAGREE, None, tolerance, kind=Kind.NON_FINITE, reason="not finite")
    error = abs(left - right)
    if not error <= tolerance:
        return Outcome(Verdict.DISAGREE, error, tolerance, kind=Kind.VALUE)
    limit = (tolerance + error) / smallest if smallest > 0 else float("inf")
    room = np.spacing(abs(left)) + np.spacing(abs(right))
    for sign in (-1.0, 1.0):
        if not abs(left + sign * (1.001 * limit * smallest + room) - right) > tolerance:
            reason = f"the negative control failed: an error of {limit:.1e} was not noticed"
            return Outcome(Verdict.UNCHECKED, error, tolerance, kind=Kind.CONTROL, reason=reason)
    return Outcome(Verdict.AGREE, error, tolerance, limit)


def not_vacuous(outcome: Outcome, quantity: str, rounding: Rounding) -> Outcome:
    """The outcome; unchecked where an error could hide in it that is as large as the quantity."""
    if outcome.verdict is Verdict.AGREE and outcome.limit is not None:
        if rounding.vacuous(quantity, outcome.limit):
            reason = (
                f"too coarse: an error of {outcome.limit:.1e} could hide in values of "
                f"{rounding.size.get(quantity, 0.0):.1e}"
            )
            return replace(outcome, verdict=Verdict.UNCHECKED, kind=Kind.COARSE, reason=reason)
    return outcome


def overall(comparisons: Any) -> Verdict:
    """Disagree if any (unexplained) comparison does, else unchecked if any is, else agree.

    What one case is too coarse to show (`coarse`) is no open question.
    """
    relevant = [c for c in comparisons if c.known is None]
    if any(c.verdict is Verdict.DISAGREE for c in relevant):
        return Verdict.DISAGREE
    shown = coarse(relevant)
    if any(c.verdict is Verdict.UNCHECKED and id(c) not in shown for c in relevant):
        return Verdict.UNCHECKED
    return Verdict.AGREE if relevant else Verdict.UNCHECKED


def coarse(comparisons: Iterable[Comparison]) -> frozenset[int]:
    """The ids of comparisons too coarse to say anything, of quantities that agree in other cases.

    In float32 and at an extreme point an error could hide that is as large as what is compared. The
    same two witnesses agree on the same quantity elsewhere, so it has been checked.
    """
    listed = [*comparisons]
    agreed = {(c.quantity, c.left, c.right) for c in listed if c.verdict is Verdict.AGREE}
    return frozenset(
        id(c)
        for c in listed
        if c.verdict is Verdict.UNCHECKED
        and c.kind is Kind.COARSE
        and (c.quantity, c.left, c.right) in agreed
    )
