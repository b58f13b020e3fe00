"""How good the numeric derivatives are, and whether their own error estimate covers the truth.

    python -m benchmarks.derivatives --runs 10000        # 2 to 4 minutes on one core; resumable
    python -m benchmarks.derivatives --runs 300          # a few seconds

A run differentiates one layer's forward at one drawn point and compares every probe with the
hand-derived gradient in extended precision (`benchmarks.truth`). Errors are in units of
``sqrt(Σ (v_i g_i)²)``: the size that the derivative along v has if nothing cancels, which is the
gradient's norm times the spread of the values.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import truth
from benchmarks.journal import Journal
from benchmarks.layers import SUBJECTS, Subject
from benchmarks.progress import track
from crosscheck.derivative import Probe, differentiate
from crosscheck.implementations import reference
from crosscheck.spec import Array
from crosscheck.versions import versions

RESULT = Path(__file__).parent / "results" / "derivatives.json"
SCALES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
#: Runs per part of the journal.
PART = 200
#: A gradient smaller than this share of the function itself has saturated: errors are then in
#: units of the function, and counted apart.
SATURATED = 1e-6
#: An error above this share is counted apart where the truth itself may be off by half of it.
UNRESOLVED = 1e-15
METHODS = {"complex step": True, "real differences": False}


def points(runs: int) -> Iterator[tuple[Subject, int, float, str, int]]:
    """Subject, size class, scale, method and seed of every run; a run's number is its seed."""
    subjects = [s for s in SUBJECTS if s.exact]
    for number in range(runs):
        rest, index = divmod(number, len(subjects))
        size = (0, 0, 1, 0, 1, 0, 2)[rest % 7] if number >= len(subjects) * 2 else 0
        method = [*METHODS][rest % 2]
        yield subjects[index], size, SCALES[(rest // 2) % len(SCALES)], method, number


def measure(
    subject: Subject, size: int, scale: float, method: str, seed: int
) -> list[dict[str, Any]]:
    """One record per probe of a run."""
    case = subject.case(size, seed, scale)
    trusted = reference(subject.layer)
    assert trusted is not None
    probes = differentiate(
        trusted.bind(case.problem).forward,
        case.arrays("float64"),
        case.problem.differentiable,
        case.upstream("float64"),
        np.random.default_rng(seed),
        complex_steps=METHODS[method],
    )
    exact = truth.gradients(subject, case)
    unsure = truth.uncertainty(subject, case, exact)
    outputs = trusted.bind(case.problem).forward(case.arrays("float64"))
    magnitude = sqrt(sum(float(np.sum((c * outputs[k]) ** 2)) for k, c in case.cotangents.items()))
    return [
        {"layer": subject.name, "smooth": subject.smooth, "size": size, "scale": scale,
         "seed": seed, "asked": method, "total": sum(p.evaluations for p in probes),
         **against_truth(probe, exact, unsure, magnitude)}
        for probe in probes
    ]  # fmt: skip


def against_truth(
    probe: Probe, exact: dict[str, Array], unsure: dict[str, Array], magnitude: float
) -> dict[str, Any]:
    """Error and estimate of a probe in natural units, and whether one covers the other."""
    parts = [v.astype(np.longdouble) * exact[name] for name, v in probe.direction.items()]
    value = sum(part.sum() for part in parts)
    natural = float(np.sqrt(sum(np.square(part).sum() for part in parts)))
    if probe.reason is not None:
        return {
            "method": "none",
            "reason": probe.reason.split("(")[0],
            "status": probe.status.value,
        }
    error = float(abs(np.longdouble(probe.value) - value))
    # Errors of single elements have no common direction.
    doubt = float(np.sqrt(sum(np.square(v * unsure[k]).sum() for k, v in probe.direction.items())))
    # A loss of exactly 0 has lost what made it more; there is no size to measure against.
    saturated = not magnitude or natural <= SATURATED * magnitude
    if saturated:
        natural = magnitude or 1.0
    return {"method": probe.method, "error": error / natural, "estimate": probe.error / natural,
            "covered": bool(error <= probe.error + doubt), "unresolved": bool(2 * doubt > error), "status": probe.status.value, "saturated": saturated}  # fmt: skip


def summary(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and worst error per layer and method, coverage, cost."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        kind = record["method"] if record["method"] != "none" else "unchecked"
        smooth = "smooth" if record["smooth"] else "kinked"
        band = "scale ≤ 1" if record["scale"] <= 1 else "scale > 1"
        names = [f"all {smooth} · {kind}", f"all {smooth}, {band} · {kind}",
                 f"{record['layer']} · {kind}"]  # fmt: skip
        if record.get("saturated"):
            names = [f"saturated · {kind}"]
        elif record.get("unresolved") and record["error"] > UNRESOLVED:
            names = [f"truth no better · {kind}"]
        for name in names:
            groups.setdefault(name, []).append(record)
    table = {}
    for name, group in sorted(groups.items()):
        if "error" not in group[0]:
            table[name] = {"probes": len(group)}
            continue
        errors = np.array([r["error"] for r in group])
        table[name] = {
            "probes": len(group),
            "median": float(np.median(errors)),
            "worst": float(errors.max()),
            "covered": float(np.mean([r["covered"] for r in group])),
            "not covered": int(sum(not r["covered"] for r in group)),
            "estimate over error, median": float(
                np.median([r["estimate"] / max(r["error"], 1e-17) for r in group])
            ),
        }
    known = [r for r in records if "error" in r]
    return {
        "runs": len({r["seed"] for r in records}),
        "probes": len(records),
        "covered": float(np.mean([r["covered"] for r in known])),
        "most forward evaluations in a run": int(max(r["total"] for r in records)),
        "unchecked": float(np.mean(["error" not in r for r in records])),
        "table": table,
        "unchecked list": [r for r in records if "error" not in r][:50],
        "not covered": [r for r in known if not r["covered"]][:50],
        "worst": sorted(
            (r for r in known if r["smooth"] and not r["saturated"] and not r["unresolved"]),
            key=lambda r: -r["error"],
        )[:20],
        "sample": [
            [r["error"], r["estimate"], r["method"]] for r in known[:: max(1, len(known) // 1500)]
        ],
        "versions": versions(),
    }


@click.command()
@click.option("--runs", default=10_000, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=None, type=int, help="Stop after this time; run again to go on.")
@click.option("-o", "--output", default=RESULT, show_default=True, type=click.Path(path_type=Path))
def main(runs: int, seconds: int | None, output: Path) -> None:
    """Accuracy of the numeric derivatives and coverage of their error estimate."""
    started = time.monotonic()
    journal = Journal(output.with_suffix(".journal"), {"part": PART})
    every = list(points(runs))
    starts = range(0, runs, PART)
    wanted = [n for n in starts if str(n) not in journal.parts]
    for start in track(wanted, len(starts), "derivatives", done=len(starts) - len(wanted)):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        part = [record for point in every[start : start + PART] for record in measure(*point)]
        journal.add(str(start), part)
    records = [r for start in starts for r in journal.parts.get(str(start), [])]
    found = summary(records)
    output.write_text(json.dumps(found, indent=1))
    for name, row in found["table"].items():
        if "median" in row:
            print(f"{name:55} {row['probes']:6} median {row['median']:.1e} worst {row['worst']:.1e} "
                  f"covered {row['covered']:.4%}")  # fmt: skip
        else:
            print(f"{name:55} {row['probes']:6}")
    print(f"{found['runs']} runs, {found['probes']} probes, covered {found['covered']:.4%}, "
          f"at most {found['most forward evaluations in a run']} evaluations a run")  # fmt: skip


if __name__ == "__main__":
    main()
