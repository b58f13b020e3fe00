"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

WITNESSES = ("torch", "jax", "numeric")
DTYPES = ("float64", "float32")


def complete_layers(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    from crosscheck.families import catalogue

    return [name for name in catalogue if name.casefold().startswith(text.casefold())]


def parse_against(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    names = [name.strip() for item in value for name in item.split(",") if name.strip()]
    return tuple(names) or None


def parse_sizes(
    context: click.Context, parameter: click.Parameter, value: Any
) -> dict[str, int] | None:
    return _pairs(value, int, "a whole number") if value else None


def parse_options(
    context: click.Context, parameter: click.Parameter, value: Any
) -> dict[str, Any] | None:
    return _pairs(value, _literal, "a value") if value else None


def _pairs(items: Sequence[str], convert: Callable[[str], Any], what: str) -> dict[str, Any]:
    found = {}
    for item in items:
        name, equals, text = item.partition("=")
        try:
            if not equals:
                raise ValueError
            found[name.strip()] = convert(text.strip())
        except ValueError:
            raise click.BadParameter(f"{item!r}: expected NAME=VALUE with {what}") from None
    return found


def _literal(text: str) -> Any:
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # a word, such as reduction=sum


#: Where the files of `--html` and its like are kept until the reports are there.
PAGES = "crosscheck.pages"


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta.setdefault(PAGES, {})[parameter.name] = value


_COMMON = (
    click.option(
        "--against", multiple=True, metavar="NAME[,NAME…]", callback=parse_against,
        help="Witnesses to ask: torch, jax, numeric. Default: all that are installed.",
    ),
    click.option(
        "--every-element", is_flag=True,
        help="Differentiate numerically element by element (2 or more evaluations each).",
    ),
    click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
                 help="Write the whole result to FILE ('-' for standard output)."),
    click.option("--html", "html", type=click.Path(dir_okay=False), metavar="FILE",
                 callback=_remember, expose_value=False,
                 help="Write the report as one self-contained page."),
    click.option("--markdown", "markdown", type=click.Path(dir_okay=False), metavar="FILE",
                 callback=_remember, expose_value=False,
                 help="Write the report as Markdown, for the summary of a CI job."),
    click.option("--annotations", "annotations", type=click.Path(dir_okay=False),
                 metavar="FILE", callback=_remember, expose_value=False,
                 help="Write GitHub workflow annotations ('-' for standard output)."),
)  # fmt: skip


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_COMMON):
        command = option(command)
    return command


def seed_number(text: str) -> int:
    from crosscheck.errors import UsageError

    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f"seed {text!r}: a seed is a whole number, 0 or larger")
    return number


def load_name(where: str) -> Any:
    """A name out of a file of the user's own: ``layers.py:MyLinear``."""
    import runpy

    from crosscheck.errors import UsageError
    from crosscheck.evaluation import ImplementationError

    path, colon, name = where.rpartition(":")
    if not colon or not name.isidentifier():
        raise UsageError(f"{where!r}: expected FILE.py:NAME")
    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file")
    try:
        found = runpy.run_path(path)
    except Exception as error:
        raise UsageError(str(ImplementationError.during(path, error))) from None
    if name not in found:
        from crosscheck.errors import unknown

        raise unknown(f"name in {path}", name, [k for k in found if not k.startswith("_")])
    return found[name]
