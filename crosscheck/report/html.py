"""A report in a notebook cell: one escaped fragment, no script, no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from crosscheck.comparison import Verdict

if TYPE_CHECKING:
    from crosscheck.report import Report

_COLOUR = {Verdict.AGREE: "#0a7d33", Verdict.DISAGREE: "#c4320a", Verdict.UNCHECKED: "#8a6100"}


def to_html(report: Report) -> str:
    """The text report in a framed box whose edge has the verdict's colour."""
    body = escape(str(report))
    verdict = report.verdict
    return (
        f'<div style="border-left:4px solid {_COLOUR[verdict]};padding:0.2em 1em">'
        f"<b>{escape(report.subject)}</b>: {verdict.value}"
        f'<pre style="margin:0.4em 0;overflow-x:auto;line-height:1.35">{body}</pre></div>'
    )
