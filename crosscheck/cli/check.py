"""``crosscheck check``: one person's file against an exercise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.options import parse_against, seed_number
from crosscheck.cli.output import write_json

if TYPE_CHECKING:
    from crosscheck.exercises import Exercise, Result

#: What is checked against when nothing else is said.
DEFAULT = "backpropagation"


@click.command()
@click.argument("file", type=click.Path())
@click.option("--exercise", "-e", metavar="EXERCISE",
              help="A TOML file, a folder with exercise.toml, or the name of a shipped exercise. "
              "Default: exercise.toml beside FILE, else backpropagation.")  # fmt: skip
@click.option("--convention", metavar="NAME",
              help="How the code is called, if not as the exercise says; 'guess' guesses.")  # fmt: skip
@click.option("--against", multiple=True, metavar="NAME[,NAME…]", callback=parse_against,
              help="Witnesses to ask: torch, jax, numeric. Default: what the exercise says, else one "
              "framework, PyTorch if it is installed, and numeric.")  # fmt: skip
@click.option("--seed", metavar="N", help="Names the random cases; drawn anew by default.")
@click.option("--oracle", metavar="FILE",
              help="Recorded answers of the frameworks, by `crosscheck record`: no framework is "
              "needed. Default: oracle.npz beside the exercise, if it is there.")  # fmt: skip
@click.option("--run-everything", is_flag=True,
              help="Run a notebook's demonstration cells too, not its definitions alone.")  # fmt: skip
@click.option("--html", "html_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the answer as a page of HTML.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the whole result to FILE ('-' for standard output).")  # fmt: skip
def check(
    file: str,
    exercise: str | None,
    convention: str | None,
    against: tuple[str, ...] | None,
    seed: str | None,
    oracle: str | None,
    run_everything: bool,
    html_file: str | None,
    json_file: str | None,
) -> int:
    """One person's .py, .ipynb, folder or zip against an exercise: what is right, and where to look.

    FILE is run in a process of its own, with a time limit. It is told where to look, not what
    to write.
    """
    import secrets

    from crosscheck.isolation import shared

    shared()  # starts while everything else is imported here
    from crosscheck.checking import WITNESSES
    from crosscheck.comparison import Verdict
    from crosscheck.errors import UsageError, unknown
    from crosscheck.exercises import judge, load
    from crosscheck.submissions import read

    for name in against or ():
        if name not in WITNESSES:
            raise unknown("witness", name, WITNESSES)
    number = secrets.randbelow(1 << 31) if seed is None else seed_number(seed)
    # Code beside a submission is not run because it lies there: only a named exercise may bring some.
    found = load(exercise or _nearest(Path(file)), run=exercise is not None)
    if convention is not None:
        found = _called(found, convention)
    if not Path(file).exists():
        raise UsageError(f"{file}: no such file")
    submission = read(file, everything=run_everything)
    oracles = None
    kept = oracle or _beside(found, against, seed)
    if kept is not None:
        from crosscheck.grading.marker import recorded
        from crosscheck.grading.recording import Record

        record = Record.load(kept)
        number = int(record.facts.get("seed", 0))
        if seed is not None and seed_number(seed) != number:
            raise UsageError(f"{kept} was recorded with seed {number}: leave --seed away")
        oracles = recorded(found, record, number)
    asked = against if oracles else against or _quick(found)
    result = judge(found, submission, seed=number, against=asked, oracles=oracles)
    _write(result, html_file, json_file)
    if not submission.readable:
        return exit_codes.USAGE
    return {
        Verdict.AGREE: exit_codes.AGREE,
        Verdict.DISAGREE: exit_codes.DISAGREE,
        Verdict.UNCHECKED: exit_codes.UNCHECKED,
    }[result.verdict]


def _quick(exercise: Exercise) -> tuple[str, ...] | None:
    """One framework is enough for an answer at once: the second takes seconds to compile.

    None leaves it to `judge`: the exercise says whom to ask, or no framework is installed.
    """
    from crosscheck.implementations import ORACLES
    from crosscheck.versions import installed

    first = next((name for name in ORACLES if installed(name)), None)
    return None if exercise.against or first is None else (first, "numeric")


def _nearest(file: Path) -> str:
    """The exercise beside the file, or the shipped one."""
    beside = file.parent / "exercise.toml"
    return str(beside) if beside.is_file() else DEFAULT


def _beside(exercise: Exercise, against: tuple[str, ...] | None, seed: str | None) -> str | None:
    """The record beside the exercise, unless something else is asked for."""
    if exercise.file is None or against is not None or seed is not None:
        return None
    kept = exercise.file.parent / "oracle.npz"
    return str(kept) if kept.is_file() else None


def _called(exercise: Exercise, convention: str) -> Exercise:
    """The exercise with another convention for every item."""
    from dataclasses import replace

    from crosscheck.errors import unknown
    from crosscheck.implementations.conventions import CONVENTIONS

    if convention not in (*CONVENTIONS, "guess"):
        raise unknown("convention", convention, (*CONVENTIONS, "guess"))
    name = "" if convention == "guess" else convention
    items = tuple(
        replace(item, manner=replace(item.manner, convention=name, source=""))
        for item in exercise.items
    )
    return replace(exercise, items=items)


def _write(result: Result, html_file: str | None, json_file: str | None) -> None:
    from rich.console import Console

    from crosscheck.exercises.answer import show, to_html
    from crosscheck.exercises.marking import plain

    if json_file:
        write_json(json_file, plain(result))
    if html_file:
        try:
            Path(html_file).write_text(to_html(result), encoding="utf-8")
        except OSError as error:
            raise click.FileError(html_file, error.strerror or str(error)) from None
    if json_file != "-":
        show(result, Console(width=None if sys.stdout.isatty() else 100, highlight=False))
