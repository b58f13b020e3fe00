"""``crosscheck replay``: a saved case again."""

from __future__ import annotations

import click

from crosscheck.cli.options import common, load_name
from crosscheck.cli.output import finish, progress


@click.command()
@click.argument("case_file", metavar="CASE.npz", type=click.Path(dir_okay=False))
@click.argument("implementation", required=False, metavar="[FILE.py:NAME]")
@common
def replay(
    case_file: str,
    implementation: str | None,
    against: tuple[str, ...] | None,
    every_element: bool,
    json_file: str | None,
) -> int:
    """A saved case again: on reference_nn's layer, or on a class in a file of yours (which is run)."""
    from crosscheck.case import Case
    from crosscheck.checking import check_cases

    case = Case.load(case_file)
    subject = None if implementation is None else load_name(implementation)
    layer = case.problem.layer
    report = check_cases(layer, [case], subject, against=against, every_element=every_element)
    with progress(1) as (console, _):
        pass
    return finish([report], console, json_file, None)
