"""How well mistakes are found, blamed and named: over every planted mistake of tests/causes/plants.

    python benchmarks/causes.py [--layer NAME] [--number N] [--fresh] [--wrong] [--json FILE]

Prints, for the layers that rules were developed on, for those held out, and for the plants that were
written after the rules: found, the right quantity blamed (and no other), the right cause first,
a wrong cause stated as certain.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "causes"))

from plants import Plant, every  # noqa: E402

from crosscheck import Verdict  # noqa: E402
from crosscheck.checking import check_cases  # noqa: E402
from crosscheck.families import catalogue  # noqa: E402

#: Follows from another finding, and is not blamed on its own.
CONSEQUENCE = "follows-from-forward"


@dataclass(frozen=True)
class Outcome:
    """What the harness said of one plant."""

    plant: Plant
    found: bool
    quantity: bool
    cause: bool
    certain_and_wrong: bool
    said: str
    seconds: float


def judge(plant: Plant, against: Sequence[str] = ("torch", "numeric")) -> Outcome:
    """Check one plant and compare what is said with what should be."""
    started = time.perf_counter()
    report = check_cases(
        catalogue[plant.layer], [*plant.cases()], plant.make, against=against, strict=False
    )
    findings = [f for f in report.findings if f.cause != CONSEQUENCE]
    blamed = {f.quantity for f in findings}
    first = next((f for f in findings if f.cause), None)
    wrong = [f for f in findings if f.certainty == "proved" and f.cause not in plant.causes]
    return Outcome(
        plant,
        found=report.verdict is Verdict.DISAGREE,
        quantity=bool(blamed) and blamed <= set(plant.quantities),
        cause=first is not None and first.cause in plant.causes,
        certain_and_wrong=bool(wrong),
        said="; ".join(f"{f.code} {f.quantity}: {f.cause} ({f.certainty})" for f in findings),
        seconds=time.perf_counter() - started,
    )


def rates(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares over all outcomes."""
    n = max(len(outcomes), 1)
    return {
        "plants": len(outcomes),
        "found": sum(o.found for o in outcomes) / n,
        "right quantity": sum(o.quantity for o in outcomes) / n,
        "right cause first": sum(o.cause for o in outcomes) / n,
        "wrong but certain": sum(o.certain_and_wrong for o in outcomes) / n,
        "seconds": round(sum(o.seconds for o in outcomes), 1),
    }


def main() -> None:
    """Run all plants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layer")
    parser.add_argument("--number", type=int)
    parser.add_argument("--developed", action="store_true", help="not the held-out layers")
    parser.add_argument("--fresh", action="store_true", help="only those written after the rules")
    parser.add_argument("--wrong", action="store_true", help="list what was not as it should be")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    plants = [
        p
        for p in every()
        if arguments.layer in (None, p.layer)
        and arguments.number in (None, p.number)
        and not (arguments.developed and p.held_out)
        and (p.fresh or not arguments.fresh)
    ]
    warnings.simplefilter("error")
    outcomes = [judge(p) for p in plants]
    table = {
        "developed on": rates([o for o in outcomes if not (o.plant.held_out or o.plant.fresh)]),
        "held out": rates([o for o in outcomes if o.plant.held_out]),
        "written after": rates([o for o in outcomes if o.plant.fresh]),
        "all": rates(outcomes),
    }
    print(f"{'':<14}" + "".join(f"{name:>19}" for name in table["all"]))
    for name, row in table.items():
        cells = (f"{v:>19.1%}" if isinstance(v, float) and k != "seconds" else f"{v:>19}"
                 for k, v in row.items())  # fmt: skip
        print(f"{name:<14}" + "".join(cells))
    if arguments.wrong:
        for o in outcomes:
            if not (o.found and o.quantity and o.cause) or o.certain_and_wrong:
                marks = "".join(
                    m if bad else "."
                    for m, bad in zip(
                        "FQCW",
                        (not o.found, not o.quantity, not o.cause, o.certain_and_wrong),
                        strict=True,
                    )
                )
                print(f"{marks} {o.plant.id} {o.plant.causes}\n      {o.said}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
