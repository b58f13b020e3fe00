"""Reports as Markdown, for the summary of a CI job, and as annotations of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from crosscheck.comparison import Verdict
from crosscheck.report.page import SIGNS, view

if TYPE_CHECKING:
    from crosscheck.report import Report


def to_markdown(reports: Sequence[Report]) -> str:
    """A table of layers, then every finding; GitHub's flavour, everything foreign escaped."""
    names = list(dict.fromkeys(name for r in reports for name in r.witnesses))
    checks = sum(len(r.comparisons) for r in reports)
    lines = [
        "| layer | verdict | cases | checks | " + " | ".join(names) + " | worst | limit |",
        "|---|---|--:|--:|" + "---|" * len(names) + "--:|--:|",
    ]
    for report in reports:
        shown = view(report)
        cells = [
            _escape(report.subject if report.subject != "reference_nn" else report.layer.name),
            f"{SIGNS[report.verdict.value]} {report.verdict.value}",
            str(len(report.cases)),
            str(len(report.comparisons)),
            *(_witness(shown, name) for name in names),
            "–" if shown["worst"] is None else f"{shown['worst']:.2g}",
            "–" if shown["limit"] is None else f"{shown['limit']:.0e}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{checks} checks. worst: largest error / tolerance. limit: an error of this "
              "share of a quantity's norm in any one element would have shown."]  # fmt: skip
    for report in reports:
        for finding in view(report)["findings"]:
            lines += ["", f"### {_escape(finding['message'])}", ""]
            if finding["explanation"]:
                lines += [_escape(finding["explanation"]), ""]
            against = ", ".join(f"{k}: {v}" for k, v in finding["against"].items())
            lines += [f"`{finding['quantity']}` against {_escape(against)}.", ""]
            if finding["elements"]:
                lines += ["| at | got | expected | difference |", "|---|--:|--:|--:|"]
                lines += ["| " + " | ".join(row) + " |" for row in finding["elements"]]
                lines.append("")
            lines += ["```python", finding["repeat"].replace("```", "` ` `"), "```"]
    return "\n".join(lines) + "\n"


def to_annotations(reports: Sequence[Report]) -> str:
    """One workflow command a finding: ``::error title=…::message``.

    Format: GitHub Docs, Workflow commands for GitHub Actions, "Setting an error message".
    """
    lines = []
    for report in reports:
        for finding in report.findings:
            title = f"{report.subject} as {report.layer.name}: {finding.code}"
            message = " ".join(filter(None, (finding.message, finding.explanation)))
            lines.append(f"::error title={_property(title)}::{_data(message)}")
        if report.verdict is Verdict.UNCHECKED:
            reasons = "; ".join(f"{n}×: {reason}" for reason, n in report.unchecked().items())
            title = f"{report.layer.name}: unchecked"
            lines.append(f"::warning title={_property(title)}::{_data(reasons)}")
    return "".join(line + "\n" for line in lines)


def _witness(shown: object, name: str) -> str:
    assert isinstance(shown, dict)
    if name not in shown["witnesses"]:
        return "–"
    index = shown["columns"].index(name)
    words = [row.marks[index].word for row in shown["rows"]]
    for word in ("disagree", "unchecked", "differs", "agree"):
        if word in words:
            return f"{SIGNS[word]} {word}"
    return _escape(shown["witnesses"][name])


def _escape(text: str) -> str:
    """No markup, no table cell and no mention of anybody comes out of foreign text."""
    folded = " ".join(text.split())
    folded = folded.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + ch if ch in r"\`*_{}[]()#+!|~@" else ch for ch in folded)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
