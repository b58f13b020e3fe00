"""What every command shows: a progress bar, the reports, JSON; and the exit code they come to."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.options import PAGES

if TYPE_CHECKING:
    from rich.console import Console

    from crosscheck.case import Case
    from crosscheck.report import Report


@contextmanager
def progress(total: int) -> Iterator[tuple[Console, Callable[[str, int], None]]]:
    """A console, and a progress bar that appears on a terminal when a second has passed."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    errors = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )  # fmt: skip
    task = bar.add_task("", total=total)
    started = time.monotonic()
    running = False

    def advance(what: str, step: int) -> None:
        nonlocal running
        if not running and time.monotonic() - started > 1:
            bar.start()
            running = True
        bar.update(task, description=f"{what[:50]:<50}", advance=step)

    try:
        yield console, advance
    finally:
        if running:
            bar.stop()


def finish(
    reports: Sequence[Report],
    console: Console,
    json_file: str | None,
    save: str | None,
    seconds: float | None = None,
    most: int | None = None,
) -> int:
    """Print the reports, write what was asked for, and give the exit code.

    Args:
        reports: in the order in which they are shown.
        console: where to.
        json_file, save: where JSON and failing cases go.
        seconds: what it took, where that is not the sum of the reports'.
        most: how many layers the table shows one by one.
    """
    from crosscheck.comparison import Verdict
    from crosscheck.report.text import show, summary_table

    verdicts = {report.verdict for report in reports}
    if json_file:
        data = [report.to_json() for report in reports]
        write_json(json_file, data[0] if len(data) == 1 else
                    {"format": "crosscheck-run", "format_version": 1, "reports": data})  # fmt: skip
    pages = click.get_current_context().meta.get(PAGES, {})
    for kind, target in pages.items():
        write_text(target, _page(kind, reports))
    if "-" not in (json_file, *pages.values()):
        for report in reports:
            if report.verdict is Verdict.DISAGREE:
                show(report, console)
                _save(report, save, console)
                console.print()
        console.print(summary_table(reports, most))
        if most is not None and len(reports) > most:
            console.print(
                "A row for each family, of the layers that agree; -v prints a row for each layer.",
                style="dim",
            )
        _remarks(reports, console, seconds)
    if Verdict.DISAGREE in verdicts:
        return exit_codes.DISAGREE
    return exit_codes.UNCHECKED if Verdict.UNCHECKED in verdicts else exit_codes.AGREE


def _remarks(reports: Sequence[Report], console: Console, seconds: float | None) -> None:
    from rich.markup import escape

    checks = sum(len(report.comparisons) for report in reports)
    if seconds is None:
        seconds = sum(report.seconds for report in reports)
    # A layer may lack a witness that others have: what was said of each is said once.
    witnesses: dict[str, dict[str, None]] = {}
    for report in reports:
        for name, found in report.witnesses.items():
            witnesses.setdefault(name, {})[found] = None
    asked = ", ".join(f"{name} {' / '.join(found)}" for name, found in witnesses.items())
    console.print(f"\n{checks} checks in {seconds:.1f} s against {asked}.")
    console.print(
        "worst: largest error / tolerance. limit: an error of this share of a quantity's norm in any "
        "one\nelement would have shown (float64).",
        style="dim",
    )
    vague = {report.layer.name: report.coarse() for report in reports if report.coarse()}
    if vague:
        console.print(
            f"{sum(vague.values())} checks were too coarse to say anything, at extreme points in float32 "
            f"({', '.join(vague)}); elsewhere the same quantities agree.",
            style="dim",
        )
    for report in reports:
        for reason, count in report.unchecked().items():
            console.print(
                f"[yellow]unchecked[/] {escape(report.layer.name)} {count}×: {escape(reason)}"
            )
        for note in report.notes:
            console.print(f"note: {escape(report.layer.name)}: {escape(note)}")


def _save(report: Report, folder: str | None, console: Console) -> None:
    failing = report.failing_case()
    if folder is None or failing is None:
        return
    case: Case = failing.case
    safe = "".join(ch if ch.isalnum() or ch in "=.,-_" else "_" for ch in case.id).strip("_")
    path = case.save(Path(folder) / f"{safe}.npz")
    console.print(f"case:   crosscheck replay {path}", soft_wrap=True)


def _page(kind: str, reports: Sequence[Report]) -> str:
    if kind == "html":
        from crosscheck.report.page import to_page

        return to_page(reports)
    from crosscheck.report import markdown

    return (markdown.to_markdown if kind == "markdown" else markdown.to_annotations)(reports)


def write_json(target: str, data: Any) -> None:
    write_text(target, json.dumps(data, indent=1) + "\n")


def write_text(target: str, text: str) -> None:
    if target == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.FileError(target, error.strerror or str(error)) from None
