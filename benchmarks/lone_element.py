"""One element wrong by 1e-6 of the gradient's norm, among a million: found, and where?

    python -m benchmarks.lone_element --seeds 20       # about a minute a layer on one core; resumable
    python -m benchmarks.lone_element --seeds 2 --size 1

Numeric differentiation alone, without any framework to compare with: the check has to fail, and the
search has to name the element. Forward evaluations are counted by the forward itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.journal import Journal
from benchmarks.layers import CLASSES, SUBJECTS, Subject, elements
from benchmarks.progress import track
from crosscheck.checking import assemble
from crosscheck.comparison import NUMERIC, Verdict
from crosscheck.derivative import localise
from crosscheck.evaluation import Bound, Evaluation
from crosscheck.implementations import reference
from crosscheck.sampling import generator
from crosscheck.spec import Array, Problem, Values
from crosscheck.versions import versions

RESULT = Path(__file__).parent / "results" / "lone_element.json"
LAYERS = ("network, tanh, squared error", "Linear", "LayerNorm", "RNNCell")
SHARE = 1e-6


class Wrong:
    """Correct code with one element of its largest gradient off; counts its forwards."""

    name = "planted"

    def __init__(self, right: Bound, quantity: str, flat: int) -> None:
        self.right, self.quantity, self.flat = right, quantity, flat
        self.calls = 0

    def bind(self, problem: Problem) -> Wrong:
        """Itself."""
        return self

    def forward(self, values: Values) -> Mapping[str, Array]:
        """The correct forward, counted."""
        self.calls += 1
        return self.right.forward(values)

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """The gradients, with the error in one element."""
        found = self.right.vjp(values, cotangents)
        wrong = np.array(found.gradients[self.quantity])
        wrong.reshape(-1)[self.flat] += SHARE * np.linalg.norm(wrong.astype(np.float64))
        return replace(found, gradients={**found.gradients, self.quantity: wrong})


def run(subject: Subject, size: int, seed: int) -> dict[str, Any]:
    """Whether the error is found and located, and the evaluations of both."""
    case = subject.case(size, seed)
    problem = case.problem
    trusted = reference(subject.layer)
    assert trusted is not None
    right = trusted.bind(problem)
    shapes = problem.shapes()
    quantity = max(problem.differentiable, key=lambda n: int(np.prod(shapes[n])))
    flat = int(generator(seed, subject.name, "where").integers(np.prod(shapes[quantity])))
    wrong = Wrong(right, quantity, flat)
    panel = assemble(subject.layer, None, (NUMERIC,), None)[0]
    hearing = replace(panel, subject=wrong, fallback=trusted).hear(case)
    hearing.numeric.probes()
    check = wrong.calls
    readonly = case.with_values(memory="readonly")  # the verdict alone, without the search
    found = [c for c in hearing.compare(readonly) if c.quantity == f"grad_{quantity}"]
    verdict = next(c for c in found if c.right == NUMERIC)
    correct = replace(panel, subject=trusted, fallback=trusted).hear(case)
    correct.numeric.found = hearing.numeric.found
    alarm = any(c.verdict is Verdict.DISAGREE for c in correct.compare(case))
    wrong.calls = 0
    gradient = wrong.vjp(case.arrays(), case.upstream()).gradients[quantity]
    where = localise(
        wrong.forward, case.arrays(), quantity, case.upstream(), gradient,
        np.random.default_rng(seed), tolerance=verdict.tolerance or 0.0,
    )  # fmt: skip
    return {
        "layer": subject.name, "elements": elements(problem), "seed": seed,
        "found": verdict.verdict is Verdict.DISAGREE, "false alarm": bool(alarm),
        "evaluations of the check": check, "evaluations of the search": wrong.calls,
        "located": where.confirmed
        and int(np.ravel_multi_index(where.indices, gradient.shape)) == flat,
    }  # fmt: skip


def _part(subject: Subject, size: int, seed: int) -> str:
    return f"{subject.name} {CLASSES[size]} {seed}"


@click.command()
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(1))
@click.option("--size", default=3, show_default=True, type=click.IntRange(0, len(CLASSES) - 1))
@click.option("--layer", "layers", multiple=True, default=LAYERS, show_default=True)
@click.option("-o", "--output", default=RESULT, show_default=True, type=click.Path(path_type=Path))
def main(seeds: int, size: int, layers: tuple[str, ...], output: Path) -> None:
    """One wrong element among many: found and located."""
    chosen = [s for s in SUBJECTS if s.name in layers]
    every = [(subject, size, seed) for subject in chosen for seed in range(seeds)]
    journal = Journal(output.with_suffix(".journal"), {"size": size, "share": SHARE})
    wanted = [item for item in every if _part(*item) not in journal.parts]
    for item in track(wanted, len(every), "lone element", done=len(every) - len(wanted)):
        journal.add(_part(*item), run(*item))
    records = [journal.parts[_part(*item)] for item in every]
    output.write_text(json.dumps({"runs": records, "versions": versions()}, indent=1))
    for subject in chosen:
        mine = [r for r in records if r["layer"] == subject.name]
        print(
            f"{subject.name:30} {mine[0]['elements']:8} elements: found "
            f"{sum(r['found'] for r in mine)}/{len(mine)}, located "
            f"{sum(r['located'] for r in mine)}/{len(mine)}, false alarms "
            f"{sum(r['false alarm'] for r in mine)}, check ≤ "
            f"{max(r['evaluations of the check'] for r in mine)} evaluations, search ≤ "
            f"{max(r['evaluations of the search'] for r in mine)}"
        )


if __name__ == "__main__":
    main()
