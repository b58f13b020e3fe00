"""A report as plain data, for JSON: versioned, no NaN, no object of ours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crosscheck.versions import versions

if TYPE_CHECKING:
    from crosscheck.comparison import Comparison
    from crosscheck.finding import Finding
    from crosscheck.report import Report

FORMAT = "crosscheck-report"
FORMAT_VERSION = 1


def to_data(report: Report) -> dict[str, Any]:
    """The whole report. Numbers that are not finite are null."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "versions": versions(),
        "layer": report.layer.name,
        "subject": report.subject,
        "verdict": report.verdict.value,
        "witnesses": dict(report.witnesses),
        "seconds": round(report.seconds, 4),
        "notes": list(report.notes),
        "findings": [_finding(finding) for finding in report.findings],
        "comparisons": [_comparison(comparison) for comparison in report.comparisons],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "quantity": finding.quantity,
        "message": finding.message,
        "cause": finding.cause,
        "explanation": finding.explanation,
        "certainty": finding.certainty or None,
        "evidence": list(finding.evidence),
        "hint": finding.hint,
        "answer": finding.answer,
        "cases": sorted({c.case.id for c in finding.comparisons}),
        "against": dict(finding.against),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "case": comparison.case.id,
        "sizes": comparison.case.problem.sizes,
        "seed": comparison.case.seed,
        "quantity": comparison.quantity,
        "left": comparison.left,
        "right": comparison.right,
        "verdict": comparison.verdict.value,
        "error": _number(comparison.error),
        "tolerance": _number(comparison.tolerance),
        "limit": _number(comparison.limit),
        "relative_limit": _number(comparison.relative_limit),
        "kind": comparison.kind.value if comparison.kind else None,
        "reason": comparison.reason,
        "known": comparison.known,
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
