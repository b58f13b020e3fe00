"""Tables and plots in docs/, from the results that the benchmarks wrote.

    python -m benchmarks.plots

Needs matplotlib: ``pip install crosscheck[bench]``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.peers import SLOW

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parent.parent / "docs"
#: Colours that are told apart without colour vision too; the harness is the dark one.
COLOURS = ("#1b3a57", "#5b8db8", "#d1603d", "#e8a87c", "#3d8361", "#9cc5a1", "#8d6a9f", "#8c8c8c")


def load(name: str) -> dict[str, Any] | None:
    """A result, or None if that benchmark has not been run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def power_table(power: dict[str, Any]) -> str:
    """Checkers as rows, layers as columns."""
    checkers = power["checkers"]
    layers = list(checkers["crosscheck"]["by layer"])
    lines = [
        "| checker | found | of | share | false alarms on correct code |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {name} | {said['found']} | {said['planted']} | {_share(said)} "
            f"| {said['false alarms']} of {said['cases']} |"
            for name, said in checkers.items()
        ),
        "",
        "Share of the planted errors found, by layer:",
        "",
        "| layer | " + " | ".join(checkers) + " |",
        "|---|" + "--:|" * len(checkers),
    ]
    for layer in layers:
        cells = [_share(said["by layer"].get(layer)) for said in checkers.values()]
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    lines += ["", "By size (elements) and dtype:", "", "| size | " + " | ".join(checkers) + " |"]
    lines.append("|---|" + "--:|" * len(checkers))
    for size in checkers["crosscheck"]["by size"]:
        cells = [_share(said["by size"].get(size)) for said in checkers.values()]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _share(said: dict[str, Any] | None) -> str:
    if not said or not said["planted"]:
        return "–"
    share = said["found"] / said["planted"]
    alarms = "*" if said["false alarms"] and "by layer" not in said else ""
    return f"{share:.2%}{alarms}" if share < 1 else f"100%{alarms}"


def plot_power(power: dict[str, Any], path: Path) -> None:
    """Errors missed and false alarms, a bar for each checker."""
    from matplotlib import pyplot as plt

    checkers = power["checkers"]
    names = list(checkers)
    missed = [1 - s["found"] / s["planted"] if s["planted"] else 0 for s in checkers.values()]
    alarms = [s["false alarms"] / s["cases"] for s in checkers.values()]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for ax, values, title in zip(
        axes,
        (missed, alarms),
        ("planted errors missed", "false alarms on correct code"),
        strict=True,
    ):
        ax.barh(names[::-1], [100 * v for v in values[::-1]], color=COLOURS[: len(names)][::-1])
        for y, value in enumerate(values[::-1]):
            ax.text(100 * value + 0.8, y, f"{value:.1%}", va="center", fontsize=8)
        ax.set_xlim(0, 112 * max([*values, 0.05]))
        ax.set_xlabel("%")
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def plot_derivatives(found: dict[str, Any], path: Path) -> None:
    """True error against the estimate: every point should lie below the line."""
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
    for method, colour in (
        ("complex step", COLOURS[0]),
        ("extrapolated central differences", COLOURS[2]),
    ):
        points = np.array([[max(e, 1e-19), s] for e, s, m in found["sample"] if m == method])
        if points.size:
            ax.loglog(points[:, 1], points[:, 0], ".", ms=3, color=colour, label=method)
    ends = np.array([1e-18, 1e-2])
    ax.loglog(ends, ends, "k-", lw=0.8, label="error = estimate")
    ax.set_xlabel("estimated error, in units of the derivative's natural size")
    ax.set_ylabel("true error")
    ax.legend(fontsize=8, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def derivative_table(found: dict[str, Any]) -> str:
    """Accuracy by method and scale."""
    lines = [
        "| layers and inputs | probes | median error | worst error | covered |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, row in found["table"].items():
        if name.startswith(("all", "saturated", "truth")) and "median" in row:
            lines.append(
                f"| {name.removeprefix('all ')} | {row['probes']} | {row['median']:.1e} "
                f"| {row['worst']:.1e} | {row['covered']:.2%} |"
            )
    return "\n".join(lines)


@click.command()
def main() -> None:
    """Write docs/power.svg, docs/derivatives.svg and the tables of docs/measurements.md."""
    DOCS.mkdir(exist_ok=True)
    pages = [
        "# Measurements of the numeric side",
        "",
        "Written by `python -m benchmarks.plots` from `benchmarks/results/`; what the figures mean is in "
        "[numerics.md](numerics.md).",
    ]
    power, derivatives, alarms = load("power"), load("derivatives"), load("false_alarms")
    if power:
        plot_power(power, DOCS / "power.svg")
        pages += ["", f"## Planted errors: {power['planted']} of {len(power['kinds'])} kinds",
                  "", "`python -m benchmarks.power`. An asterisk: it also calls correct code wrong "
                  "there, so that finding an error says little. `gradcheck` takes whole Jacobians unless it is fast, and "
                  f"was given cases of at most {SLOW:,} elements.", "", power_table(power)]  # fmt: skip
    if derivatives:
        plot_derivatives(derivatives, DOCS / "derivatives.svg")
        pages += ["", f"## Derivatives: {derivatives['runs']} runs, {derivatives['probes']} probes", "",
                  "`python -m benchmarks.derivatives`. Errors in units of the gradient's norm along the "
                  "direction; where that is a millionth of the function itself (saturated), in units of the function. The "
                  "truth is the hand-derived backward in extended precision: where digits cancel in it, it is known no "
                  "better than the probe, which is counted apart.", "", derivative_table(derivatives), "",
                  f"Covered by its estimate: {derivatives['covered']:.3%} of all. At most "
                  f"{derivatives['most forward evaluations in a run']} forward evaluations a run."]  # fmt: skip
    if alarms:
        compared = alarms["comparisons"]
        unchecked = sum(alarms["unchecked"].values())
        wrong = len({alarm["case"] + str(alarm["number"]) for alarm in alarms["alarms"]})
        pages += ["", f"## False alarms: {wrong} of {alarms['checks']} checks", "",
                  f"`python -m benchmarks.false_alarms`. {alarms['layers']} layers, {compared} "
                  f"comparisons, {unchecked} of them unchecked ({unchecked / compared:.2%}):", "",
                  *(f"- {count}× {reason}" for reason, count in sorted(
                      alarms["unchecked"].items(), key=lambda item: -item[1]))]  # fmt: skip
    (DOCS / "measurements.md").write_text("\n".join(pages) + "\n")


if __name__ == "__main__":
    main()
