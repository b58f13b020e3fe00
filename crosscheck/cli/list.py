"""``crosscheck list``: what there is."""

from __future__ import annotations

import click

from crosscheck.cli.output import write_json


@click.command("list")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the list to FILE ('-' for standard output).")  # fmt: skip
def list_layers(json_file: str | None) -> None:
    """What there is: every layer of the catalogue with its options."""
    from crosscheck.families import catalogue

    rows = [
        {
            "name": layer.name,
            "group": layer.group,
            "options": {k: str(v) for k, v in layer.options.items()},
        }
        for layer in catalogue.values()
    ]
    if json_file:
        write_json(json_file, {"format": "crosscheck-list", "format_version": 1, "layers": rows})
        return
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        click.secho(f"{group} ({len(members)})", bold=True)
        for row in members:
            options = row["options"]
            assert isinstance(options, dict)
            text = ", ".join(f"{k}={v}" for k, v in options.items())
            click.echo(click.wrap_text(f"{row['name']:<24} {text}", 98, "  ", " " * 27))
