"""``crosscheck record``: the frameworks' answers for an exercise, in a file."""

from __future__ import annotations

import click

from crosscheck.cli.options import seed_number
from crosscheck.cli.output import write_json


@click.command()
@click.argument("exercise")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False), metavar="FILE",
              help="Where to, usually oracle.npz beside the exercise.")  # fmt: skip
@click.option("--seed", metavar="N", help="Names the cases; drawn anew by default.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write what was recorded to FILE ('-' for standard output).")  # fmt: skip
def record(exercise: str, out: str, seed: str | None, json_file: str | None) -> None:
    """The cases of an exercise and the frameworks' answers to them, so that checking needs NumPy only.

    Whoever has the file has the expected values: give students one of its own seed, not that of
    the grading.
    """
    import secrets

    from crosscheck.exercises import load
    from crosscheck.grading.marker import record as make

    number = secrets.randbelow(1 << 31) if seed is None else seed_number(seed)
    found = make(load(exercise), number)
    path = found.save(out)
    answers = {name: len(group) for name, group in found.answers.items()}
    data = {"format": "crosscheck-record", "format_version": 1, **found.facts, "answers": answers}
    if json_file:
        write_json(json_file, data)
    if json_file != "-":
        asked = sorted({name.partition("/")[2] for name in answers})
        versions = found.facts["versions"]
        who = ", ".join(f"{name} {versions.get(name, '')}".strip() for name in asked)
        size = path.stat().st_size // 1024
        click.echo(f"{path}: {sum(answers.values())} answers of {who}, {size} KiB")
