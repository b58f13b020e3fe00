"""A report as text: one screen when all agree, the failing quantity first when not."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from crosscheck.comparison import NUMERIC, Comparison, Kind, Verdict, coarse
from crosscheck.report.where import where
from crosscheck.spec import Array

if TYPE_CHECKING:
    from crosscheck.finding import Finding
    from crosscheck.report import Report

WIDTH = 100
MARKS = {
    Verdict.AGREE: "[green]agree[/]",
    Verdict.DISAGREE: "[bold red]disagree[/]",
    Verdict.UNCHECKED: "[yellow]unchecked[/]",
}
#: How sure a cause is, as the first word of its sentence.
SURE = {"proved": "Proved:", "likely": "Probably", "possible": "Possibly"}
#: How many of the worst elements a failure shows.
WORST = 4


def to_text(report: Report, closing: Sequence[str] = ()) -> str:
    """Plain text, at most 100 columns, no colour.

    Args:
        report: the report.
        closing: lines for the end of a failure instead of the line that repeats it; not wrapped.
    """
    stream = io.StringIO()
    console = Console(
        file=stream, width=WIDTH, color_system=None, highlight=False, legacy_windows=False
    )
    show(report, console, closing)
    return stream.getvalue().rstrip()


def show(report: Report, console: Console, closing: Sequence[str] = ()) -> None:
    """Print a whole report: what is wrong first, and who was asked after it."""
    for finding in report.findings:
        _show_finding(finding, console)
        console.print()
    console.print(headline(report))
    if report.verdict is Verdict.AGREE or not report.findings:
        console.print(summary_table([report]))
    for reason, count in report.unchecked().items():
        console.print(f"[yellow]unchecked[/] {count}×: {escape(reason)}", soft_wrap=False)
    for note in report.notes:
        console.print(f"note: {escape(note)}")
    if report.verdict is Verdict.DISAGREE and closing:
        console.print()
        for line in closing:
            console.print(escape(line), soft_wrap=True)
    elif report.verdict is Verdict.DISAGREE:
        _show_repeat(report, console)


def headline(report: Report) -> str:
    """One line: who, what, verdict, against whom."""
    asked = ", ".join(
        f"{name} {v}" if name != "numeric" else "numeric differentiation"
        for name, v in report.witnesses.items()
    )
    name = escape(report.subject)
    of = "" if name == report.layer.name else f" as {escape(report.layer.name)}"
    return f"[bold]{name}[/]{of}: {MARKS[report.verdict]} — against {escape(asked) or 'nobody'}"


def summary_table(reports: Sequence[Report]) -> Table:
    """Layers as rows, witnesses as columns; fits 100 columns."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("cases", justify="right")
    table.add_column("checks", justify="right")
    names = list(dict.fromkeys(name for r in reports for name in r.witnesses))
    for name in (*names, "contract"):
        table.add_column(name, no_wrap=True)
    table.add_column("worst", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    for report in reports:
        table.add_row(*_row(report, names))
    return table


def _row(report: Report, names: Iterable[str]) -> list[str]:
    worst = report.worst
    margin = "–" if worst is None or worst.margin is None else f"{worst.margin:.2g}"
    limit = "–" if report.limit is None else f"{report.limit:.0e}"
    cells = [escape(report.layer.name), str(len(report.cases)), str(len(report.comparisons))]
    shown = coarse(report.comparisons)
    for name in (*names, "contract"):
        mine = [c for c in report.comparisons if report.subject == c.left and c.right == name]
        wrong = [c for c in mine if c.verdict is Verdict.DISAGREE and c.known is None]
        if report.witnesses.get(name) in ("not installed", "no twin"):
            cells.append(f"[dim]{report.witnesses[name]}[/]")
        elif not mine:
            own = [c for c in report.comparisons if c.kind is Kind.RAISED]
            cells.append("[bold red]raised[/]" if own else "[dim]–[/]")
        elif wrong:
            cells.append(f"[bold red]{len({c.quantity for c in wrong})} differ[/]")
        elif count := sum(c.verdict is Verdict.UNCHECKED and id(c) not in shown for c in mine):
            cells.append(f"[yellow]{count} unchecked[/]")
        else:
            cells.append("[green]agree[/]")
    return [*cells, margin, limit]


def _show_finding(finding: Finding, console: Console) -> None:
    """What is wrong, where, expected and got, who agrees with whom, probably why, in which case."""
    console.print(f"[bold red]{escape(finding.message)}[/]")
    shown = evidence(finding)
    if shown is not None and shown.got is not None and shown.expected is not None:
        place = where(shown, shown.got, shown.expected)
        if place:
            console.print(f"  [dim]where[/]     {escape(place)}")
        console.print(Padding(_worst_elements(shown, shown.got, shown.expected), (0, 0, 0, 2)))
    if shown is not None and shown.kind is Kind.RAISED:
        head, _, trace = shown.reason.partition("\n")
        shown_lines = trace if head in finding.message else shown.reason
        if shown_lines:
            console.print(Padding(escape(shown_lines), (0, 0, 0, 2)))
    elif finding.against:
        pattern = ", ".join(f"{k}: {v}" for k, v in finding.against.items())
        console.print(f"  [dim]{escape(finding.quantity)} against[/] {escape(pattern)}")
    if finding.explanation:
        console.print(
            f"  [bold]{SURE.get(finding.certainty or '', 'Probably')}[/] {escape(finding.explanation)}"
            if finding.cause
            else f"  {escape(finding.explanation)}"
        )
    cases = list(dict.fromkeys(c.case.id for c in finding.comparisons))
    more = f" and {len(cases) - 2} more" if len(cases) > 2 else ""
    console.print(
        f"  [dim]{escape(finding.code)} · {escape(finding.quantity)} in[/] "
        f"{escape(', '.join(cases[:2]))}{more}"
    )


def evidence(finding: Finding) -> Comparison | None:
    """The comparison that shows a finding best: with both arrays, plain, in float64, the first."""

    def rank(c: Comparison) -> tuple[bool, ...]:
        return (
            c.got is None or c.expected is None,
            c.right == NUMERIC,
            c.case.memory != "plain",
            c.case.dtype != "float64",
        )

    return min(finding.comparisons, key=rank, default=None)


def _worst_elements(comparison: Comparison, got: Array, expected: Array) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    if got.shape != expected.shape:
        table.add_column("")
        table.add_column("shape")
        table.add_column("first values")
        for who, array in ((f"expected ({comparison.right})", expected), ("got", got)):
            first = ", ".join(f"{x:.6g}" for x in array.ravel()[:WORST])
            table.add_row(
                who, str(array.shape), escape(first + (" …" if array.size > WORST else ""))
            )
        return table
    for column in ("at", f"expected ({comparison.right})", "got", "difference"):
        table.add_column(column, justify="right" if column != "at" else "left")
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    order = np.argsort(-np.nan_to_num(difference, nan=np.inf).ravel(), kind="stable")[:WORST]
    for flat in order:
        at = tuple(int(i) for i in np.unravel_index(int(flat), got.shape))
        table.add_row(
            escape(str(list(at))), f"{expected[at]:.9g}", f"{got[at]:.9g}", f"{difference[at]:.3g}"
        )
    return table


def _show_repeat(report: Report, console: Console) -> None:
    failing = report.failing_case()
    if failing is None:
        return
    console.print()
    console.print(f"[dim]repeat:[/] {escape(repeat_line(report, failing))}", soft_wrap=True)


def repeat_line(report: Report, failing: Comparison) -> str:
    """The one line of Python that shows the same disagreement again."""
    problem = failing.case.problem
    arguments = [repr(report.layer.name)]
    if report.subject != "reference_nn":
        arguments.append(report.subject)
    arguments.append(f"options={dict(problem.changed_options())}")
    arguments.append(f"sizes={problem.sizes}")
    arguments.append(f"dtypes=({failing.case.dtype!r},)")
    if failing.case.seed is not None:
        arguments.append(f"seed={failing.case.seed}")
    return f"crosscheck.check({', '.join(arguments)})"
