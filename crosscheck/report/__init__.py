"""Report: what a check came to, as an object; shown as text, JSON or in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crosscheck.comparison import Comparison, Kind, Verdict, coarse, overall
from crosscheck.errors import Disagreement
from crosscheck.finding import Finding
from crosscheck.spec import Layer


@dataclass(frozen=True)
class Report:
    """The result of `crosscheck.check`.

    Attributes:
        layer: the spec that was checked.
        subject: the name of the implementation under test.
        witnesses: witness → its version, or why it could not be asked.
        comparisons: every comparison of every case.
        findings: what is wrong, in words; empty when all agree.
        notes: what was left out, and why.
        seconds: how long it took.
        implementation: what was checked, as it was given; None for reference_nn's layer.
    """

    layer: Layer
    subject: str
    witnesses: Mapping[str, str]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    implementation: Any = field(default=None, repr=False, compare=False)

    @property
    def verdict(self) -> Verdict:
        """DISAGREE if anything does, else UNCHECKED if anything could not be checked, else AGREE."""
        return overall(self.comparisons)

    @property
    def cases(self) -> tuple[str, ...]:
        """The ids of the cases, in order."""
        return tuple(dict.fromkeys(c.case.id for c in self.comparisons))

    @property
    def worst(self) -> Comparison | None:
        """The closest call: the comparison with the largest error in units of its tolerance."""
        counted = [c for c in self.comparisons if c.margin is not None and c.known is None]
        return max(counted, key=lambda c: c.margin or 0.0, default=None)

    @property
    def limit(self) -> float | None:
        """The coarsest detection limit of any agreement in float64, in units of the quantity's norm."""
        limits = [
            c.relative_limit
            for c in self.comparisons
            if c.verdict is Verdict.AGREE
            and c.relative_limit is not None
            and c.case.dtype == "float64"
        ]
        return max((x for x in limits if x is not None), default=None)

    def require_agreement(self) -> None:
        """Raise unless nothing disagrees; what could not be checked does not raise.

        Raises:
            Disagreement: an AssertionError whose message is the report.
        """
        __tracebackhide__ = True
        if self.verdict is Verdict.DISAGREE:
            raise Disagreement(str(self))

    def unchecked(self) -> dict[str, int]:
        """Reason → number of comparisons that could not be made, `coarse` ones left out."""
        reasons: dict[str, int] = {}
        shown = coarse(self.comparisons)
        for comparison in self.comparisons:
            if comparison.verdict is Verdict.UNCHECKED and id(comparison) not in shown:
                reasons[comparison.reason] = reasons.get(comparison.reason, 0) + 1
        return reasons

    def coarse(self) -> int:
        """How many comparisons were too coarse to say anything, of quantities that agree elsewhere."""
        return len(coarse(self.comparisons))

    def failing_case(self) -> Comparison | None:
        """A disagreeing comparison whose case is worth keeping, the plainest first."""
        wrong = [
            c
            for c in self.comparisons
            if c.verdict is Verdict.DISAGREE and c.known is None and c.kind is not Kind.CONTROL
        ]
        return min(
            wrong, key=lambda c: (c.case.memory != "plain", c.case.dtype != "float64"), default=None
        )

    def script(self) -> str:
        """A short Python script that shows the first finding without crosscheck.

        Raises:
            NoSource: the implementation's code cannot be written down; the message says why.
        """
        from crosscheck.report.script import to_script

        return to_script(self, self.implementation)

    def to_json(self) -> dict[str, Any]:
        """Plain data: see `crosscheck.report.data` for the format."""
        from crosscheck.report.data import to_data

        return to_data(self)

    def __str__(self) -> str:
        from crosscheck.report.text import to_text

        return to_text(self)

    def _repr_html_(self) -> str:
        from crosscheck.report.html import to_html

        return to_html(self)
