"""Findings that say nothing of their own: what is wrong because something else is."""

from __future__ import annotations

from collections.abc import Sequence

from crosscheck.causes import FOLLOWS
from crosscheck.finding import Finding


def following(findings: Sequence[Finding]) -> list[str]:
    """For each finding why it is no more than a consequence, in words; "" for those that stand alone.

    Args:
        findings: of one report, in their order: what heads them explains those after it.
    """
    return [_reason(finding, findings[0]) for finding in findings]


def _reason(finding: Finding, head: Finding) -> str:
    if finding is head or finding.code == "contract":
        return ""
    if head.code == "convention" and finding.explanation == head.explanation:
        return "Different for the same reason"
    if head.code == "first-wrong-layer":
        return "Different because of that layer"
    if finding.cause == FOLLOWS.slug:
        return (
            "Right derivatives of the wrong forward, and so different too"
            if finding.code == "forward-wrong-backward-consistent"
            else "Right, but not the derivative of that forward"
        )
    return ""
