"""``crosscheck doctor``: versions and devices."""

from __future__ import annotations

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.output import write_json


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the findings to FILE ('-' for standard output).")  # fmt: skip
def doctor(json_file: str | None) -> int:
    """Which versions are in use, on which devices, and what is missing."""
    from crosscheck.doctor import examine

    rows = examine()
    if json_file:
        write_json(json_file, {"format": "crosscheck-doctor", "format_version": 1,
                                "rows": [row._asdict() for row in rows]})  # fmt: skip
    else:
        for row in rows:
            mark = (
                click.style("ok     ", fg="green")
                if row.ok
                else click.style("missing", fg="yellow")
            )
            click.echo(f"{mark} {row.what:<8} {row.found}")
    return exit_codes.AGREE if all(row.ok for row in rows) else exit_codes.UNCHECKED
