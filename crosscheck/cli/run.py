"""``crosscheck run``: the main job."""

from __future__ import annotations

import time
from typing import Any

import click

from crosscheck.cli.options import (
    DTYPES,
    common,
    complete_layers,
    parse_options,
    parse_sizes,
    seed_number,
)
from crosscheck.cli.output import finish, progress

#: How many layers fit a screen; more are shown by family.
ROWS = 40


@click.command()
@click.argument("layers", nargs=-1, metavar="[LAYER]...", shell_complete=complete_layers)
@common
@click.option(
    "--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="Only this dtype."
)
@click.option("--seed", default="0", show_default=True, help="Names every random draw.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_options,
    help="Only this option combination, e.g. --option bias=False.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="AXIS=N",
    callback=parse_sizes,
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
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1),
    metavar="N",
    help="Processes to use. Default: all cores, one for a few layers.",
)
@click.option(
    "--compilation-cache",
    "cache",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Keep compiled programs in DIR for the next run. Loading runs them: a folder of your own.",
)
@click.option(
    "--verbose", "-v", is_flag=True, help=f"A row for each layer, with more than {ROWS} layers too."
)
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
    jobs: int | None,
    cache: str | None,
    verbose: bool,
) -> int:
    """The main job: reference_nn's layers against PyTorch, JAX and numeric differentiation."""
    from crosscheck.families import catalogue
    from crosscheck.implementations.jax_compilation import use_compilation_cache
    from crosscheck.parallel import check_all

    wanted = [catalogue[name].name for name in layers] or list(catalogue)
    number = seed_number(seed)
    if cache is not None:
        use_compilation_cache(cache)
    arguments = {
        "against": against,
        "options": options,
        "sizes": sizes,
        "dtypes": dtypes or DTYPES,
        "seed": number,
        "extra": extra,
        "every_element": every_element,
    }
    started = time.perf_counter()
    with progress(len(wanted)) as (console, advance):
        reports = check_all(wanted, arguments, jobs=jobs, done=lambda name: advance(name, 1))
    most = None if verbose else ROWS
    return finish(reports, console, json_file, save, time.perf_counter() - started, most)
