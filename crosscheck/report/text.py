"""A report as text: one screen when all agree, the failing quantity first when not."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from crosscheck.comparison import Comparison, Kind, Verdict, coarse
from crosscheck.families import family
from crosscheck.report.following import following
from crosscheck.report.where import evidence, where, worst_elements
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
    consequences: dict[str, list[str]] = {}
    for finding, reason in zip(report.findings, following(report.findings), strict=True):
        if reason:
            consequences.setdefault(reason, []).append(finding.quantity)
            continue
        _show_finding(finding, console)
        console.print()
    for reason, quantities in consequences.items():
        console.print(f"{reason}: {escape(', '.join(dict.fromkeys(quantities)))}.")
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


def summary_table(reports: Sequence[Report], most: int | None = None) -> Table:
    """Layers as rows, witnesses as columns; fits 100 columns.

    Args:
        reports: of the layers.
        most: with more layers than that, those that agree are put together, one row a family.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("layer", no_wrap=True, overflow="ellipsis", max_width=26)
    table.add_column("cases", justify="right")
    table.add_column("checks", justify="right")
    names = list(dict.fromkeys(name for r in reports for name in r.witnesses))
    for name in (*names, "contract"):
        table.add_column(name, no_wrap=True)
    table.add_column("worst", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    for label, group in _groups(reports, most):
        table.add_row(*_row(label, group, names))
    return table


def _groups(reports: Sequence[Report], most: int | None) -> list[tuple[str, list[Report]]]:
    """What stands in each row, and what it is called."""
    if most is None or len(reports) <= most:
        return [(report.layer.name, [report]) for report in reports]
    together: dict[str, list[Report]] = {}
    for report in reports:
        agrees = report.verdict is Verdict.AGREE
        together.setdefault(family(report.layer) if agrees else "", []).append(report)
    alone = [(report.layer.name, [report]) for report in together.pop("", [])]
    return [*((f"{name} ({len(group)})", group) for name, group in together.items()), *alone]


def _row(label: str, group: Sequence[Report], names: Iterable[str]) -> list[str]:
    margins = [r.worst.margin for r in group if r.worst is not None and r.worst.margin is not None]
    limits = [r.limit for r in group if r.limit is not None]
    cells = [
        escape(label),
        str(sum(len(r.cases) for r in group)),
        str(sum(len(r.comparisons) for r in group)),
    ]
    for name in (*names, "contract"):
        said = list(dict.fromkeys(_said_by(name, report) for report in group))
        heard = [word for word in said if not word.startswith("[dim]")]
        cells.append((heard or said)[0] if len(heard) < 2 else " ".join(heard))
    cells.append(f"{max(margins):.2g}" if margins else "–")
    return [*cells, f"{max(limits):.0e}" if limits else "–"]


def _said_by(name: str, report: Report) -> str:
    """What one witness says of a layer, in a word or two."""
    shown = coarse(report.comparisons)
    mine = [c for c in report.comparisons if report.subject == c.left and c.right == name]
    wrong = [c for c in mine if c.verdict is Verdict.DISAGREE and c.known is None]
    if report.witnesses.get(name) in ("not installed", "no twin"):
        return f"[dim]{report.witnesses[name]}[/]"
    if not mine:
        own = [c for c in report.comparisons if c.kind is Kind.RAISED]
        return "[bold red]raised[/]" if own else "[dim]–[/]"
    if wrong:
        return f"[bold red]{len({c.quantity for c in wrong})} differ[/]"
    if count := sum(c.verdict is Verdict.UNCHECKED and id(c) not in shown for c in mine):
        return f"[yellow]{count} unchecked[/]"
    return "[green]agree[/]"


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
    for at, mine, theirs, difference in worst_elements(got, expected, WORST):
        table.add_row(escape(at), theirs, mine, difference)
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
