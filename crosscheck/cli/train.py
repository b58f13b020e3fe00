"""``crosscheck train``: one model in three frameworks, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crosscheck.cli import exit_codes
from crosscheck.cli.options import parse_options, seed_number
from crosscheck.cli.output import progress, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from crosscheck.training.trajectory import Training

#: Those of `crosscheck.training.models`, which needs NumPy: help does not.
NAMES = ("mlp", "cnn", "lstm", "encoder")


@click.command()
@click.argument("model", type=click.Choice(NAMES))
@click.option(
    "--optimizer", default="SGD", show_default=True, metavar="NAME",
    help="An optimizer of the catalogue; for SGD momentum is 0.9 unless you give options.",
)  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", callback=parse_options,
              help="An option of the optimizer, e.g. --option lr=0.01.")  # fmt: skip
@click.option("--steps", default=200, show_default=True, type=click.IntRange(1), metavar="N",
              help="Batches to train on.")  # fmt: skip
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), metavar="N",
              help="Images in a batch.")  # fmt: skip
@click.option("--seed", default="0", show_default=True,
              help="Names the first weights and the order of the batches.")  # fmt: skip
@click.option("--plot", "plot_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Draw the loss curves over each other to FILE (.png, .svg, .pdf).")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the whole result to FILE ('-' for standard output).")  # fmt: skip
def train(
    model: str,
    optimizer: str,
    options: dict[str, Any] | None,
    steps: int,
    batch: int,
    seed: str,
    plot_file: str | None,
    json_file: str | None,
) -> int:
    """Train MODEL on handwritten digits in reference_nn, PyTorch and JAX, and compare.

    From the same weights, on the same batches in the same order; all weights are compared after
    every step. MODEL is mlp, cnn, lstm or encoder.
    """
    from crosscheck.comparison import Verdict
    from crosscheck.training import train as walk

    number = seed_number(seed)
    if plot_file:
        from crosscheck.training.curves import require_target

        require_target(plot_file)  # before the work, not after
    with progress(steps) as (console, advance):
        advance(f"{model}: compiling", 0)
        training = walk(
            model,
            optimizer,
            options,
            steps=steps,
            batch=batch,
            seed=number,
            progress=lambda step: advance(f"{model}: step {step}", 1),
        )
    if json_file:
        write_json(json_file, training.to_json())
    if json_file != "-":
        _show(training, console)
    if plot_file:
        from crosscheck.training.curves import plot

        drawn = plot(training, plot_file)
        if json_file != "-":
            console.print(f"loss curves: {drawn}", soft_wrap=True)
    return {
        Verdict.AGREE: exit_codes.AGREE,
        Verdict.DISAGREE: exit_codes.DISAGREE,
        Verdict.UNCHECKED: exit_codes.UNCHECKED,
    }[training.verdict]


def _show(training: Training, console: Console) -> None:
    from rich.markup import escape

    console.print(
        f"[bold]{training.model.name}[/]: {training.model.title}; {escape(training.optimizer)}; "
        f"{training.steps} batches of {training.batch}"
    )
    console.print()
    console.print(_walks(training))
    console.print()
    console.print(_pairs(training))
    console.print()
    for parting in training.partings:
        console.print(f"[red]parts[/] {escape(str(parting))}")
    short = {k: n for k, n in training.horizons.items() if n < training.steps}
    for name, horizon in short.items():
        console.print(f"[yellow]unchecked[/] {name} from step {horizon + 1} on")
    if short:
        console.print(
            "There the frameworks' own float32 ways are a hundredth of how far the weights have moved "
            "apart,\nor not finite: rounding leaves nothing to compare."
        )
    for name, found in training.witnesses.items():
        if found.startswith("not installed"):
            console.print(f"{name}: {found}")
    if not training.partings and not short:
        console.print(
            f"[green]agree[/]: after each of {training.steps} steps all weights are equal within "
            "rounding."
        )


def _walks(training: Training) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in ("dtype", "first loss", "final loss", "test accuracy", "ms a step"):
        table.add_column(heading, justify="right")
    for (who, dtype), losses in training.losses.items():
        table.add_row(
            who,
            dtype,
            f"{losses[0]:.6f}",
            f"{losses[-1]:.10f}",
            f"{training.accuracy[who, dtype]:.2%}",
            f"{1e3 * training.seconds[who, dtype] / max(training.steps - 1, 1):.2f}",
        )
    return table


def _pairs(training: Training) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("weights of")
    for heading in ("dtype", "apart at the end", "worst / tolerance", "parts after step"):
        table.add_column(heading, justify="right")
    first = {(p.left, p.right, p.dtype): p.step for p in training.partings}
    for (left, right, dtype), margins in training.margins.items():
        table.add_row(
            f"{left} and {right}",
            dtype,
            f"{training.apart[left, right, dtype]:.1e}",
            f"{max(margins):.2f}" if margins else "–",
            str(first.get((left, right, dtype), "never")),
        )
    return table
