"""``crosscheck exercise``: write one, test one, show one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.options import complete_layers, seed_number
from crosscheck.cli.output import write_json

if TYPE_CHECKING:
    from crosscheck.exercises import Exercise
    from crosscheck.exercises.mutate import Trial

_JSON = click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
                     help="Write the answer to FILE ('-' for standard output).")  # fmt: skip


@click.group()
def exercise() -> None:
    """Exercises for `crosscheck check` and `crosscheck grade`: new, test, show."""


@exercise.command()
@click.argument("folder", type=click.Path())
@click.argument("layers", nargs=-1, metavar="[LAYER]...", shell_complete=complete_layers)
@click.option("--title", help="The exercise's title.")
@_JSON
def new(folder: str, layers: tuple[str, ...], title: str | None, json_file: str | None) -> int:
    """Write a commented exercise.toml, and a solution.py to fill in, into FOLDER.

    LAYERs are names of `crosscheck list`; Linear by default.
    """
    from crosscheck.errors import UsageError
    from crosscheck.exercises.template import solution, template
    from crosscheck.families import catalogue

    where = Path(folder)
    found = [catalogue[name] for name in layers or ("Linear",)]
    target = where / "exercise.toml"
    if target.exists():
        raise UsageError(f"{target} exists already: nothing was written")
    written = [str(target)]
    try:
        where.mkdir(parents=True, exist_ok=True)
        target.write_text(template(title or where.name, found), encoding="utf-8")
        if not (where / "solution.py").exists():
            (where / "solution.py").write_text(solution(found), encoding="utf-8")
            written.append(str(where / "solution.py"))
    except OSError as error:
        raise click.FileError(folder, error.strerror or str(error)) from None
    if json_file:
        write_json(json_file, {"format": "crosscheck-exercise-new", "format_version": 1,
                               "written": written})  # fmt: skip
    if json_file != "-":
        click.echo(f"wrote {' and '.join(written)}")
        click.echo(f"then: crosscheck exercise test {folder}")
    return exit_codes.AGREE


@exercise.command()
@click.argument("exercise_name", metavar="EXERCISE")
@_JSON
def show(exercise_name: str, json_file: str | None) -> int:
    """What an exercise asks for, and what it is worth."""
    from crosscheck.exercises import load

    found = load(exercise_name)
    if json_file:
        write_json(json_file, _plain(found))
    if json_file != "-":
        _show(found)
    return exit_codes.AGREE


@exercise.command()
@click.argument("exercise_name", metavar="EXERCISE")
@click.option("--seed", default="0", show_default=True, help="Names every random draw.")
@_JSON
def test(exercise_name: str, seed: str, json_file: str | None) -> int:
    """Judge the solution, and automatically broken versions of it: which mistakes go unnoticed?

    Exit code 0: the solution earns all points and every mistake costs some.
    """
    from crosscheck.cli.output import progress
    from crosscheck.exercises import load
    from crosscheck.exercises.mutate import trial

    number = seed_number(seed)
    found = load(exercise_name)
    with progress(100) as (_, advance):
        shown = 0

        def tell(label: str, done: int, total: int) -> None:
            nonlocal shown
            percent = 100 * done // total
            advance(label, percent - shown)
            shown = percent

        result = trial(found, seed=number, progress=tell)
    if json_file:
        write_json(json_file, _trial(result))
    if json_file != "-":
        _report(result)
    return exit_codes.AGREE if result.sound else exit_codes.DISAGREE


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def _show(found: Exercise) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    console.print(f"[bold]{escape(found.title)}[/] · {found.points:g} points")
    if found.description:
        console.print(escape(found.description))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "layer", "convention", "points"):
        table.add_column(column, overflow="fold")
    for item in found.items:
        points = ", ".join(f"{q} {p:g}" for q, p in item.points.items())
        options = ", ".join(f"{k}={v}" for k, v in item.options.items())
        table.add_row(
            escape(item.title), escape(item.layer.name + (f" ({options})" if options else "")),
            escape(item.manner.convention or "guessed"), escape(points),
        )  # fmt: skip
    console.print(table)
    limits = found.limits
    console.print(
        f"limits: {limits.seconds:g} s a call, {limits.total:g} s in all, {limits.memory_mib:g} MiB · "
        f"shown to students: {found.show}",
        style="dim",
    )
    console.print(f"may import: {', '.join(found.imports)}", style="dim")


def _report(result: Trial) -> None:
    from rich.markup import escape
    from rich.table import Table

    from crosscheck.exercises.answer import show as show_result

    console = _console()
    solution = result.solution
    if solution.earned < solution.points:
        console.print("[bold red]The solution does not earn all points:[/]")
        show_result(solution, console)
        console.print()
    tried = result.noticed + len(result.unnoticed)
    console.print(
        f"[bold]{escape(result.exercise.title)}[/]: the solution earns {solution.earned:g} of "
        f"{solution.points:g} points; {result.noticed} of {tried} mistakes cost points"
        f" ({result.without_effect} further changes have no effect on what is asked for)."
    )
    if result.unnoticed:
        console.print(f"\n[bold red]{len(result.unnoticed)} mistakes would not be noticed:[/]")
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("mistake", overflow="fold")
        table.add_column("shows in", overflow="fold")
        for missed in result.unnoticed:
            table.add_row(escape(missed.label), escape(missed.shows))
        console.print(table)
    for line in result.advice:
        console.print(f"[yellow]weak:[/] {escape(line)}")


def _plain(found: Exercise) -> dict[str, Any]:
    return {
        "format": "crosscheck-exercise",
        "format_version": 1,
        "title": found.title,
        "description": found.description,
        "points": found.points,
        "show": found.show,
        "items": [
            {
                "title": item.title, "layer": item.layer.name, "options": dict(item.options),
                "names": list(item.manner.names), "convention": item.manner.convention or None,
                "points": dict(item.points),
            }
            for item in found.items
        ],
    }  # fmt: skip


def _trial(result: Trial) -> dict[str, Any]:
    return {
        "format": "crosscheck-exercise-test",
        "format_version": 1,
        "title": result.exercise.title,
        "solution": {"earned": result.solution.earned, "points": result.solution.points},
        "noticed": result.noticed,
        "without_effect": result.without_effect,
        "unnoticed": [
            {"item": m.item, "mistake": m.label, "shows_in": m.shows} for m in result.unnoticed
        ],
        "advice": list(result.advice),
    }
