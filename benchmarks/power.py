"""Who finds planted errors, and who cries wolf: this harness and its peers, side by side.

    python -m benchmarks.power                # about half an hour on one core; resumable
    python -m benchmarks.power --quick        # under a minute

Every checker is given the same correct code and the same code with one error planted in one gradient
(`benchmarks.plants`), in thirteen layers of 60 to 1,000,000 elements, in both dtypes, with inputs of
scale 1e-3 to 1e3. Errors that change nothing beyond rounding at the given point are not counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.journal import Journal
from benchmarks.layers import CLASSES, SUBJECTS, Subject
from benchmarks.peers import CHECKERS, Bench, torch_gradients
from benchmarks.plants import KINDS, Planted
from benchmarks.progress import track
from crosscheck.case import Case
from crosscheck.checking import REDRAWS, assemble
from crosscheck.evaluation import Bound
from crosscheck.implementations import reference
from crosscheck.versions import versions

RESULT = Path(__file__).parent / "results" / "power.json"
#: Planted in the largest sizes, where a run of one peer takes seconds.
FEW = ("one element off by 1e-6 of the norm", "a row zero", "two columns swapped", "times 1.01")


@dataclass(frozen=True)
class Part:
    """One case: subject, size class, dtype, scale, and how many plants of each quantity."""

    subject: Subject
    size: int
    dtype: str
    scale: float
    plants: int
    quantity: str | None = None

    @property
    def name(self) -> str:
        """What the journal calls it."""
        of = f" {self.quantity}" if self.quantity else ""
        return f"{self.subject.name} {CLASSES[self.size]} {self.dtype} {self.scale:g}{of}"


def parts(quick: bool) -> Iterator[Part]:
    """The cases, cheap ones first."""
    everything = len(KINDS)
    if quick:
        for subject in SUBJECTS[::4]:
            yield Part(subject, 0, "float64", 1.0, 3)
        return
    for subject in SUBJECTS:  # every kind in every gradient
        for name in subject.problem(0).differentiable:
            yield Part(subject, 0, "float64", 1.0, everything, name)
    plan = [
        (0, "float32", 1.0, 3), (1, "float64", 1.0, 2), (1, "float32", 1.0, 1),
        *((0, dtype, scale, 1) for scale in (1e-3, 1e3) for dtype in ("float64", "float32")),
        (2, "float64", 1.0, 1), (2, "float32", 1.0, 1), (3, "float64", 1.0, 0),
        *((0, dtype, scale, 1) for scale in (1e-1, 1e1) for dtype in ("float64", "float32")),
        (3, "float32", 1.0, 0),
    ]  # fmt: skip
    for size, dtype, scale, plants in plan:
        for subject in SUBJECTS:
            yield Part(subject, size, dtype, scale, plants)


def chosen(part: Part, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The (quantity, kind) pairs to plant: all, a rotating few of each quantity, or `FEW` of one."""
    if part.plants == 0:
        sizes = part.subject.problem(part.size).shapes()
        largest = max(names, key=lambda n: int(np.prod(sizes[n])))
        yield from ((largest, kind) for kind in FEW)
        return
    kinds = list(KINDS)
    rng = np.random.default_rng([len(part.name), part.size, int(np.log10(part.scale) + 9)])
    for name in names if part.quantity is None else (part.quantity,):
        picked = range(len(kinds)) if part.plants >= len(kinds) else sorted(
            rng.choice(len(kinds), part.plants, replace=False)
        )  # fmt: skip
        yield from ((name, kinds[i]) for i in picked)


def prepare(part: Part) -> tuple[Bench, Bound]:
    """The case (away from kinks), heard with all witnesses and with the numeric one alone."""
    trusted = reference(part.subject.layer)
    assert trusted is not None
    for attempt in range(REDRAWS + 1):
        case: Case = part.subject.case(part.size, 1000 * part.size + attempt, part.scale)
        # With a plant the subject is not reference_nn any more: what follows that is told from it.
        panels = [
            replace(assemble(part.subject.layer, None, a, None)[0], fallback=trusted)
            for a in (None, ("numeric",))
        ]
        everyone = panels[0].hear(case)
        if not everyone.kink:
            break
    alone = panels[1].hear(case)
    alone.numeric.found = everyone.numeric.found  # the same forward at the same point
    shown = case.with_values(dtype=part.dtype)
    bench = Bench(shown, everyone, alone, torch_gradients(shown))
    return bench, trusted.bind(case.problem)


#: Checkers that take milliseconds, and those that do not: all parts are first run by the former.
QUICK = ("crosscheck", "crosscheck, numeric only", "allclose against torch", "10 sampled elements")
SLOW = tuple(name for name in CHECKERS if name not in QUICK)


def run(part: Part, names: tuple[str, ...]) -> dict[str, Any]:
    """What the named checkers say of the correct code and of every plant."""
    with np.errstate(all="ignore"):
        bench, right = prepare(part)
        quantities = bench.case.problem.differentiable
        plants = [
            Planted(right, kind, name, place)
            for place, (name, kind) in enumerate(chosen(part, quantities))
        ]
        real = [plant for plant in plants if not plant.equivalent(bench.case)]
        found: dict[str, Any] = {"layer": part.subject.name, "elements": CLASSES[part.size],
                                 "dtype": part.dtype, "scale": part.scale, "planted": len(real),
                                 "equivalent": len(plants) - len(real), "checkers": {}}  # fmt: skip
        for name in names:
            checker = CHECKERS[name]
            started = time.perf_counter()
            correct = checker(right, bench)
            seconds = time.perf_counter() - started
            if correct is None:
                continue
            verdicts = {f"{p.kind} in {p.quantity}": bool(checker(p, bench)) for p in real}
            found["checkers"][name] = {
                "false alarm": bool(correct), "planted": len(verdicts),
                "found": sum(verdicts.values()), "seconds": seconds,
                "missed": [k for k, v in verdicts.items() if not v],
            }  # fmt: skip
        return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Totals per checker; by layer, by size and by kind of error."""
    total: dict[str, Any] = {}
    for part in found:
        for name, said in part["checkers"].items():
            into = total.setdefault(name, {
                "cases": 0, "false alarms": 0, "planted": 0, "found": 0, "by layer": {},
                "by size": {}, "missed kinds": {},
            })  # fmt: skip
            into["cases"] += 1
            into["false alarms"] += said["false alarm"]
            into["planted"] += said["planted"]
            into["found"] += said["found"]
            size = f"{part['elements']} {part['dtype']}"
            for group, key in (("by layer", part["layer"]), ("by size", size)):
                tally = into[group].setdefault(
                    key, {"planted": 0, "found": 0, "cases": 0, "false alarms": 0}
                )
                tally["planted"] += said["planted"]
                tally["found"] += said["found"]
                tally["cases"] += 1
                tally["false alarms"] += said["false alarm"]
            for missed in said["missed"]:
                kind = missed.rsplit(" in ", 1)[0]
                into["missed kinds"][kind] = into["missed kinds"].get(kind, 0) + 1
    return {
        "checkers": {name: total[name] for name in CHECKERS if name in total},
        "kinds": list(KINDS),
        "planted": sum(p["planted"] for p in found if "crosscheck" in p["checkers"]),
        "equivalent": sum(p["equivalent"] for p in found if "crosscheck" in p["checkers"]),
        "missed by crosscheck": [
            {**{k: p[k] for k in ("layer", "elements", "dtype", "scale")},
             "missed": p["checkers"]["crosscheck"]["missed"]}
            for p in found if p["checkers"].get("crosscheck", {}).get("missed")
        ],
        "parts": [{k: v for k, v in p.items()} for p in found],
        "versions": versions(),
    }  # fmt: skip


@click.command()
@click.option("--quick", is_flag=True, help="A few plants in a few layers: under a minute.")
@click.option("--seconds", default=None, type=int, help="Stop after this time; run again to go on.")
@click.option("-o", "--output", default=RESULT, show_default=True, type=click.Path(path_type=Path))
def main(quick: bool, seconds: int | None, output: Path) -> None:
    """Planted errors found, and false alarms raised, by every checker."""
    started = time.monotonic()
    every = [
        (f"{part.name} · {which}", part, names)
        for which, names in (("quick", QUICK), ("slow", SLOW))
        for part in parts(quick)
    ]
    journal = Journal(output.with_suffix(".journal"), {"quick": quick, "kinds": list(KINDS)})
    wanted = [item for item in every if item[0] not in journal.parts]
    for name, part, names in track(wanted, len(every), "power", done=len(every) - len(wanted)):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        journal.add(name, run(part, names))
    found = summary([journal.parts[name] for name, *_ in every if name in journal.parts])
    output.write_text(json.dumps(found, indent=1))
    print(f"{len(journal.parts)} of {len(every)} parts, {found['planted']} planted errors, "
          f"{found['equivalent']} equivalent ones left out")  # fmt: skip
    for name, said in found["checkers"].items():
        print(f"{name:28} found {said['found']:5} of {said['planted']:5} "
              f"({said['found'] / max(said['planted'], 1):8.3%}), false alarms "
              f"{said['false alarms']:3} of {said['cases']:3} correct")  # fmt: skip


if __name__ == "__main__":
    main()
