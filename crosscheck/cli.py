"""The command line: thin. Every command ends in a report and an exit code.

0 all agree, 1 something disagrees, 2 wrong usage or unreadable input, 3 something could not be
checked. NumPy and the frameworks are imported when a check begins, not for help or a list.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from crosscheck.case import Case
    from crosscheck.report import Report

EXIT_AGREE, EXIT_DISAGREE, EXIT_USAGE, EXIT_UNCHECKED = 0, 1, 2, 3
WITNESSES = ("torch", "jax", "numeric")
DTYPES = ("float64", "float32")


def main() -> None:
    """The entry point: click's, with our own errors as one line and their exit code."""
    from crosscheck.errors import CrosscheckError

    try:
        result = cli.main(standalone_mode=False)
    except CrosscheckError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:  # the reader has gone: `crosscheck list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_AGREE)
    else:
        sys.exit(result if isinstance(result, int) else EXIT_AGREE)


def _fail(message: str, code: int) -> None:
    click.echo(f"crosscheck: {message}", err=True)
    sys.exit(code)


def _complete_layers(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    from crosscheck.families import catalogue

    return [name for name in catalogue if name.casefold().startswith(text.casefold())]


def _against(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    names = [name.strip() for item in value for name in item.split(",") if name.strip()]
    return tuple(names) or None


def _sizes(context: click.Context, parameter: click.Parameter, value: Any) -> dict[str, int] | None:
    return _pairs(value, int, "a whole number") if value else None


def _options(
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


_COMMON = (
    click.option(
        "--against", multiple=True, metavar="NAME[,NAME…]", callback=_against,
        help="Witnesses to ask: torch, jax, numeric. Default: all that are installed.",
    ),
    click.option(
        "--every-element", is_flag=True,
        help="Differentiate numerically element by element (2 or more evaluations each).",
    ),
    click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
                 help="Write the whole result to FILE ('-' for standard output)."),
)  # fmt: skip


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_COMMON):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crosscheck")
def cli() -> None:
    """Is a hand-written neural-network layer right?

    crosscheck runs it beside equivalent PyTorch and JAX models with the same weights,
    differentiates it numerically, and says who is wrong, where, and probably why.

    \b
      crosscheck run                  reference_nn against every witness, as a table
      crosscheck run Linear Sigmoid   only these
      crosscheck doctor               what is installed

    Exit codes: 0 all agree, 1 something disagrees, 2 wrong usage or unreadable input,
    3 something could not be checked.

    \b
    Completion: eval "$(_CROSSCHECK_COMPLETE=bash_source crosscheck)"   (or zsh_source, fish_source)
    """


@cli.command()
@click.argument("layers", nargs=-1, metavar="[LAYER]...", shell_complete=_complete_layers)
@_common
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="Only this dtype."
)
@click.option("--seed", default="0", show_default=True, help="Names every random draw.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_options,
    help="Only this option combination, e.g. --option bias=False.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="AXIS=N",
    callback=_sizes,
    help="Fix an axis, e.g. --size batch=8; the others are drawn.",
)
@click.option(
    "--cases",
    "extra",
    default=0,
    type=click.IntRange(0),
    metavar="N",
    help="N further cases of random sizes per option combination.",
)
@click.option("--save", "save", type=click.Path(file_okay=False), default=".crosscheck",
              show_default=True, metavar="DIR", help="Where failing cases are saved.")  # fmt: skip
def run(
    layers: tuple[str, ...],
    against: tuple[str, ...] | None,
    every_element: bool,
    json_file: str | None,
    dtypes: tuple[str, ...],
    seed: str,
    options: dict[str, Any] | None,
    sizes: dict[str, int] | None,
    extra: int,
    save: str,
) -> int:
    """The main job: reference_nn's layers against PyTorch, JAX and numeric differentiation."""
    from crosscheck.checking import check
    from crosscheck.families import catalogue

    wanted = [catalogue[name].name for name in layers] or list(catalogue)
    number = _seed(seed)
    reports: list[Report] = []
    with _progress(len(wanted)) as (console, advance):
        for name in wanted:
            report = check(
                name,
                against=against,
                options=options,
                sizes=sizes,
                dtypes=dtypes or DTYPES,
                seed=number,
                extra=extra,
                every_element=every_element,
                progress=lambda case: advance(case.id, 0),
            )
            reports.append(report)
            advance(name, 1)
    return _finish(reports, console, json_file, save)


@cli.command()
@click.argument("case_file", metavar="CASE.npz", type=click.Path(dir_okay=False))
@click.argument("implementation", required=False, metavar="[FILE.py:NAME]")
@_common
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
    subject = None if implementation is None else _load(implementation)
    layer = case.problem.layer
    report = check_cases(layer, [case], subject, against=against, every_element=every_element)
    with _progress(1) as (console, _):
        pass
    return _finish([report], console, json_file, None)


@cli.command("list")
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
        _write_json(json_file, {"format": "crosscheck-list", "format_version": 1, "layers": rows})
        return
    for group in dict.fromkeys(row["group"] for row in rows):
        members = [row for row in rows if row["group"] == group]
        click.secho(f"{group} ({len(members)})", bold=True)
        for row in members:
            options = row["options"]
            assert isinstance(options, dict)
            text = ", ".join(f"{k}={v}" for k, v in options.items())
            click.echo(click.wrap_text(f"{row['name']:<24} {text}", 98, "  ", " " * 27))


@cli.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the findings to FILE ('-' for standard output).")  # fmt: skip
def doctor(json_file: str | None) -> int:
    """Which versions are in use, on which devices, and what is missing."""
    from crosscheck.doctor import examine

    rows = examine()
    if json_file:
        _write_json(json_file, {"format": "crosscheck-doctor", "format_version": 1,
                                "rows": [row._asdict() for row in rows]})  # fmt: skip
    else:
        for row in rows:
            mark = (
                click.style("ok     ", fg="green")
                if row.ok
                else click.style("missing", fg="yellow")
            )
            click.echo(f"{mark} {row.what:<8} {row.found}")
    return EXIT_AGREE if all(row.ok for row in rows) else EXIT_UNCHECKED


# --- shared pieces --------------------------------------------------------------------------


@contextmanager
def _progress(total: int) -> Iterator[tuple[Console, Callable[[str, int], None]]]:
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


def _finish(
    reports: Sequence[Report], console: Console, json_file: str | None, save: str | None
) -> int:
    from crosscheck.comparison import Verdict
    from crosscheck.report.text import show, summary_table

    verdicts = {report.verdict for report in reports}
    if json_file:
        data = [report.to_json() for report in reports]
        _write_json(json_file, data[0] if len(data) == 1 else
                    {"format": "crosscheck-run", "format_version": 1, "reports": data})  # fmt: skip
    if json_file != "-":
        for report in reports:
            if report.verdict is Verdict.DISAGREE:
                show(report, console)
                _save(report, save, console)
                console.print()
        console.print(summary_table(reports))
        _remarks(reports, console)
    if Verdict.DISAGREE in verdicts:
        return EXIT_DISAGREE
    return EXIT_UNCHECKED if Verdict.UNCHECKED in verdicts else EXIT_AGREE


def _remarks(reports: Sequence[Report], console: Console) -> None:
    from rich.markup import escape

    checks = sum(len(report.comparisons) for report in reports)
    seconds = sum(report.seconds for report in reports)
    witnesses = {k: v for report in reports for k, v in report.witnesses.items()}
    asked = ", ".join(f"{name} {v}" for name, v in witnesses.items())
    console.print(f"\n{checks} checks in {seconds:.1f} s against {asked}.")
    console.print(
        "worst: largest error / tolerance. limit: an error of this share of a quantity's norm in any "
        "one\nelement would have shown (float64).",
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


def _write_json(target: str, data: Any) -> None:
    text = json.dumps(data, indent=1)
    if target == "-":
        click.echo(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise click.FileError(target, error.strerror or str(error)) from None


def _seed(text: str) -> int:
    from crosscheck.errors import UsageError

    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise UsageError(f"seed {text!r}: a seed is a whole number, 0 or larger")
    return number


def _load(where: str) -> Any:
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
