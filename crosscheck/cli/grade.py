"""``crosscheck grade``: a whole course."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.options import seed_number
from crosscheck.cli.output import progress, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from crosscheck.grading.grade import Summary

#: So many groups of failures are shown; the page has all.
GROUPS = 12


@click.command()
@click.argument("exercise")
@click.argument("submissions", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(file_okay=False), metavar="OUT",
              help="Where results go. A run that was stopped is continued.")  # fmt: skip
@click.option("--jobs", "-j", type=click.IntRange(1), metavar="N",
              help="Processes. Default: one per core.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="Use a Dask cluster instead.")
@click.option("--oracle", type=click.Path(dir_okay=False), metavar="FILE",
              help="A record of the frameworks' answers, by `crosscheck record`.")  # fmt: skip
@click.option("--seed", metavar="N", help="Names the hidden cases; drawn anew by default.")
@click.option("--require-isolation", "require", metavar="LEVEL",
              help="Run nothing below this level: process, limited, confined or sealed.")  # fmt: skip
@click.option("--format", "formats", multiple=True, metavar="NAME",
              help="Write only this: csv, gradescope, github, prairielearn, junit, html.")  # fmt: skip
@click.option("--run-everything", is_flag=True,
              help="Run notebooks' demonstration cells too, not their definitions alone.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write a summary to FILE ('-' for standard output).")  # fmt: skip
def grade(
    exercise: str,
    submissions: str,
    out: str,
    jobs: int | None,
    scheduler: str | None,
    oracle: str | None,
    seed: str | None,
    require: str | None,
    formats: tuple[str, ...],
    run_everything: bool,
    json_file: str | None,
) -> int:
    """Everybody's submissions, each in isolation; a run that was stopped goes on.

    SUBMISSIONS is a folder or a zip with one entry per student, as a learning management system
    exports it. Exit code 0: everybody was graded; 3: somebody could not be.
    """
    from crosscheck.grading.grade import grade as run
    from crosscheck.isolation.text import one_line
    from crosscheck.submissions import course

    so_far = 0
    with progress(sum(1 for _ in course(submissions))) as (console, advance):

        def shown(student: str, done: int, total: int) -> None:
            nonlocal so_far
            advance(one_line(student, 40), done - so_far)
            so_far = done

        summary = run(
            exercise,
            submissions,
            out,
            processes=jobs,
            scheduler=scheduler,
            oracle=oracle,
            seed=None if seed is None else seed_number(seed),
            require=require,
            everything=run_everything,
            write=formats or None,
            progress=shown,
        )
    data = {
        "format": "crosscheck-grading",
        "format_version": 1,
        "students": summary.students,
        "marked": summary.marked,
        "not_graded": summary.failures,
        "isolation": summary.level,
        "mean": summary.mean,
        "points": summary.points,
        "files": list(summary.files),
        "groups": list(summary.groups),
    }
    if json_file:
        write_json(json_file, data)
    if json_file != "-":
        _show(summary, out, console)
    return exit_codes.UNCHECKED if summary.failures else exit_codes.AGREE


def _show(summary: Summary, out: str, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    from crosscheck.grading.formats import number

    before = summary.students - summary.marked
    console.print(
        f"{summary.students} submissions"
        + (f" ({before} of them before this run)" if before else "")
        + f", mean {summary.mean:.2f} of {number(summary.points)} points, isolation: {summary.level}"
    )
    if summary.failures:
        console.print(f"[red]{summary.failures} could not be graded: mark them by hand[/]")
    if summary.groups:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("students", justify="right")
        for name in ("item", "quantity", "what"):
            table.add_column(name, overflow="fold")
        for group in summary.groups[:GROUPS]:
            table.add_row(
                str(group["count"]), *(escape(group[k]) for k in ("item", "quantity", "what"))
            )
        console.print()
        console.print(table)
        if len(summary.groups) > GROUPS:
            console.print(f"and {len(summary.groups) - GROUPS} more kinds, in index.html")
    console.print(f"\nwritten to {escape(str(out))}: {', '.join(summary.files)}")
