"""A report in a notebook cell: one escaped fragment, no script, no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from crosscheck.comparison import Verdict
from crosscheck.errors import UsageError

if TYPE_CHECKING:
    from crosscheck.report import Report

_COLOUR = {Verdict.AGREE: "#1b7f4b", Verdict.DISAGREE: "#c2410c", Verdict.UNCHECKED: "#8a6100"}


def to_html(report: Report) -> str:
    """The report with tables and pictures; without jinja2, its text in a framed box."""
    from crosscheck.report.page import to_fragment

    try:
        return to_fragment(report)
    except UsageError:
        body = escape(str(report))
        return (
            f'<div style="border-left:4px solid {_COLOUR[report.verdict]};padding:0.2em 1em">'
            f"<b>{escape(report.subject)}</b>: {report.verdict.value}"
            f'<pre style="margin:0.4em 0;overflow-x:auto;line-height:1.35">{body}</pre></div>'
        )
