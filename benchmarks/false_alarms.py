"""How often correct code is called wrong, and how often it stays unchecked.

    python -m benchmarks.false_alarms --checks 100000       # 10 to 40 minutes on one core; resumable
    python -m benchmarks.false_alarms --checks 1000 -o /tmp/sample.json          # about a minute

A check is one case in one dtype: every quantity, every pair of witnesses (reference_nn, PyTorch, JAX,
numeric), by the same code as ``crosscheck run``. The layers are those of `benchmarks.layers` and the
whole catalogue; shapes are drawn, input scales are 1e-3 to 1e3 where the domain is unbounded. All of
this code is correct, so every disagreement is a false alarm.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.journal import Journal
from benchmarks.layers import SUBJECTS
from benchmarks.progress import track
from crosscheck.case import Case
from crosscheck.checking import REDRAWS, assemble
from crosscheck.comparison import Comparison, Verdict
from crosscheck.differences import ledger
from crosscheck.domains import NORMAL
from crosscheck.families import catalogue
from crosscheck.implementations import reference
from crosscheck.panel import Hearing, Panel
from crosscheck.sampling import build, draw_sizes, generator, representable
from crosscheck.spec import Layer, Problem
from crosscheck.tolerance import C, c
from crosscheck.versions import versions

RESULT = Path(__file__).parent / "results" / "false_alarms.json"
SCALES = (1.0, 1e-3, 1e3, 1e-2, 1e2, 1e-1, 1e1)
DTYPES = ("float64", "float32")
#: Shapes drawn per layer, besides the fixed ones of `benchmarks.layers`.
SHAPES = 3
#: Layers whose inputs are not scaled, and why.
UNSCALED = {
    "CosineEmbeddingLoss": "PyTorch rounds its eps of 1e-12 to float32, in float64 too: beside squares "
    "of 1e-6 that shows, and is a difference instead of a false alarm",
}
#: Values (two checks each) per part of the journal.
PART = 50


@dataclass(frozen=True)
class Entry:
    """A layer with options, and the shapes it is run in."""

    name: str
    layer: Layer
    problems: tuple[Problem, ...]

    @property
    def scalable(self) -> tuple[str, ...]:
        """The inputs that may be scaled: real, differentiable, with an unbounded domain."""
        problem = self.problems[0]
        unbounded = all(
            problem.inputs[k].domain is NORMAL
            for k in problem.differentiable
            if k in problem.inputs
        )
        if not unbounded or self.name in UNSCALED:
            return ()
        return tuple(k for k in problem.differentiable if k in problem.inputs)


@cache
def entries() -> tuple[Entry, ...]:
    """Everything that is run: the benchmark's layers at two sizes, the catalogue at its defaults."""
    found = [
        Entry(s.name, s.layer, (s.problem(0), s.problem(1), *_drawn(s.layer, s.options)))
        for s in SUBJECTS
    ]
    known = {id(entry.layer) for entry in found}
    found += [
        Entry(layer.name, layer, _drawn(layer, {}))
        for layer in catalogue.values()
        if id(layer) not in known and reference(layer) is not None and layer.constructor is not None
    ]
    return tuple(entry for entry in found if entry.problems)


def _drawn(layer: Layer, options: Any) -> tuple[Problem, ...]:
    axes = layer.axes(options)
    fixed: list[dict[str, int]] = [{}] * (SHAPES - 1) + ([{axes[0]: 1}] if axes else [])
    drawn = [
        draw_sizes(layer, options, generator(i, layer.name, "benchmark"), given)
        for i, given in enumerate(fixed)
    ]
    return tuple(problem for problem in drawn if problem is not None)


@cache
def _panel(layer: Layer, against: tuple[str, ...] | None) -> Panel:
    usable = None if against is None else [w for w in against if getattr(layer, w, True)]
    return assemble(layer, None, usable, None)[0]


def draw(entry: Entry, number: int) -> Case:
    """The values of a number: shape, scale and seed follow from it."""
    rest = number // len(entries())
    problem = entry.problems[rest % len(entry.problems)]
    scale = SCALES[rest // len(entry.problems) % len(SCALES)] if entry.scalable else 1.0
    return _scaled(entry, problem, scale, number)


def _scaled(entry: Entry, problem: Problem, scale: float, seed: int) -> Case:
    case = build(problem, seed, f"scale={scale:g}")
    moved = {
        k: representable(a * scale) if k in entry.scalable else a for k, a in case.values.items()
    }
    return case.with_values(values=moved)


def hear(entry: Entry, number: int, against: tuple[str, ...] | None = None) -> tuple[Case, Hearing]:
    """A case and the witnesses' answers, drawn anew where the point lies near a kink."""
    case = draw(entry, number)
    hearing = _panel(entry.layer, against).hear(case)
    for attempt in range(1, REDRAWS + 1):
        if not hearing.kink:
            break
        scale = float(case.kind.removeprefix("scale="))
        case = _scaled(entry, case.problem, scale, number + 10**7 * attempt)
        hearing = _panel(entry.layer, against).hear(case)
    return case, hearing


def run(numbers: Iterable[int], against: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The tally of both dtypes of the given numbers, by all witnesses or the named ones."""
    layers = entries()
    tally: dict[str, Any] = {
        "checks": 0, "comparisons": 0, "unchecked checks": 0, "unchecked": Counter(),
        "alarms": [], "known differences": 0, "worst": {}, "margins": Counter(), "by layer": Counter(),
    }  # fmt: skip
    for number in numbers:
        entry = layers[number % len(layers)]
        with np.errstate(all="ignore"):
            case, hearing = hear(entry, number, against)
            for dtype in DTYPES:
                shown = case.with_values(dtype=dtype, kind=_kind(entry, case))
                _count(tally, entry.name, number, hearing.compare(shown))
    tally["unchecked"] = dict(tally["unchecked"])
    tally["margins"] = dict(tally["margins"])
    tally["by layer"] = dict(tally["by layer"])
    return tally


def _kind(entry: Entry, case: Case) -> str:
    """Large inputs are where the ledger of known differences applies, if the layer has an entry.

    A difference counts as known only where PyTorch and JAX differ from each other and reference_nn
    agrees with one of them.
    """
    kinds = [k for d in ledger().values() if d.layer == entry.layer.name for k in d.kinds]
    return kinds[0] if kinds and case.kind in ("scale=10", "scale=100", "scale=1000") else case.kind


def _count(tally: dict[str, Any], name: str, number: int, found: list[Comparison]) -> None:
    tally["checks"] += 1
    tally["by layer"][name] += 1
    tally["comparisons"] += len(found)
    unchecked = [c for c in found if c.verdict is Verdict.UNCHECKED]
    tally["unchecked checks"] += bool(unchecked)
    for comparison in unchecked:
        reason = comparison.reason.split("(")[0].split(":")[0].strip()
        tally["unchecked"][f"{name}: {reason}"] = tally["unchecked"].get(f"{name}: {reason}", 0) + 1
    tally["known differences"] += sum(c.known is not None for c in found)
    for comparison in found:
        kind = "numeric" if comparison.right == "numeric" else "framework"
        key = f"{kind} {comparison.case.dtype}"
        margin = comparison.margin
        if margin is not None and comparison.known is None:
            step = -9 if margin < 1e-9 else round(4 * float(np.log10(margin))) / 4
            tally["margins"][f"{key} {step}"] = tally["margins"].get(f"{key} {step}", 0) + 1
            if margin > tally["worst"].get(f"{name} {key}", 0.0):
                tally["worst"][f"{name} {key}"] = margin
        if comparison.verdict is Verdict.DISAGREE and comparison.known is None:
            tally["alarms"].append(
                {"number": number, "layer": name, "case": comparison.case.id,
                 "sizes": dict(comparison.case.problem.sizes), "quantity": comparison.quantity,
                 "left": comparison.left, "right": comparison.right, "error": comparison.error,
                 "tolerance": comparison.tolerance, "reason": comparison.reason[:200]}
            )  # fmt: skip


def merge(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of tallies."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, list):
                total.setdefault(key, []).extend(value)
            elif isinstance(value, dict):
                into = total.setdefault(key, {})
                for name, number in value.items():
                    known = into.get(name, 0)
                    into[name] = max(known, number) if key == "worst" else known + number
            else:
                total[key] = total.get(key, 0) + value
    return total


@click.command()
@click.option("--checks", default=100_000, show_default=True, type=click.IntRange(2))
@click.option("--against", multiple=True, help="Only these witnesses; by default all.")
@click.option("--seconds", default=None, type=int, help="Stop after this time; run again to go on.")
@click.option("-o", "--output", default=RESULT, show_default=True, type=click.Path(path_type=Path))
def main(checks: int, against: tuple[str, ...], seconds: int | None, output: Path) -> None:
    """False alarms on correct code."""
    started = time.monotonic()
    settings = {"layers": [entry.name for entry in entries()], "C": C, "c": c, "part": PART}
    settings["against"] = list(against)
    journal = Journal(output.with_suffix(".journal"), settings)
    starts = range(0, checks // 2, PART)
    wanted = [n for n in starts if str(n) not in journal.parts]
    for start in track(wanted, len(starts), "false alarms", done=len(starts) - len(wanted)):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        part = run(range(start, min(start + PART, checks // 2)), against or None)
        journal.add(str(start), part)
        _write(journal, output, checks)
    print(_write(journal, output, checks))


def _write(journal: Journal, output: Path, checks: int) -> str:
    total = merge(journal.parts.values())
    total |= {"layers": len(entries()), "asked for": checks, "C": C, "c": c, "not scaled": UNSCALED}
    total["versions"] = versions()
    output.write_text(json.dumps(total, indent=1))
    compared = total.get("comparisons", 0) or 1
    unchecked = sum(total.get("unchecked", {}).values())
    return (
        f"{total.get('checks', 0)} checks of {len(entries())} layers, {compared} comparisons: "
        f"{len(total.get('alarms', []))} false alarms, {unchecked} unchecked ({unchecked / compared:.3%})"
    )


if __name__ == "__main__":
    main()
