"""How well causes are named over the whole catalogue: one planted error in every gradient of every layer.

    python benchmarks/causes_everywhere.py [--json FILE] [LAYER …]

The errors are those of `benchmarks.plants` that a person makes (a factor, a sign, an order, an index, …),
for which the cause is known, and those that nobody makes (one element doubled, two columns
swapped, …), of which nothing certain may be said. Nothing here was looked at while rules were written,
but for the layers and errors of tests/causes. An error that changes nothing in a layer is left out.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crosscheck
from benchmarks.plants import Planted
from crosscheck import Verdict, sampling
from crosscheck.case import Case
from crosscheck.checking import check_cases
from crosscheck.implementations import reference
from crosscheck.spec import Layer, Problem

#: Kind of error that a person makes → the causes that name it.
NAMES: Mapping[str, tuple[str, ...]] = {
    "times 1.01": ("constant-factor",),
    "halved": ("constant-factor", "option-factor"),  # 1 − p of a dropout is a half
    "sign flipped": ("sign-flipped",),
    "zero": ("zero",),
    "times the first axis": ("multiplied-by-size", "constant-factor"),
    "divided by the last axis": ("divided-by-size", "constant-factor"),
    "reversed": ("reversed",),
    "shifted by one": ("index-off", "reversed"),
    "last column dropped": ("end-not-written", "zero"),
    "absolute value": ("sign-lost",),
    "upstream ignored": ("upstream-ignored", "zero"),
    "rounded to float16": ("float32-inside",),
}
#: Errors that nobody makes, and what may be said of them for certain: a mean over the keys of an
#: attention's gradient is 0.
NAMELESS = (
    "one element off by 1e-3 of the norm",
    "one element doubled",
    "two elements swapped",
    "two columns swapped",
    "mean over the first axis",
)
ALLOWED = ("zero",)
#: The cases that each is checked on, and the fewest numbers that a gradient has in one of them.
KINDS, FEWEST = ("distinct", "random0", "random1"), 4
#: A layer of more gradients than this is checked on that many.
GRADIENTS = 4
CONSEQUENCE = "follows-from-forward"


@dataclass(frozen=True)
class Wrong:
    """reference_nn's layer with an error in one gradient; an `Implementation`."""

    layer: Layer
    kind: str
    quantity: str
    name: str = "planted"

    def bind(self, problem: Problem) -> Planted:
        """The same for a problem."""
        right = reference(self.layer)
        assert right is not None
        return Planted(right.bind(problem), self.kind, self.quantity, 0)


def cases_of(layer: Layer) -> list[Case]:
    """Cases of different sizes, in float64."""
    drawn = sampling.cases(layer, options={}, dtypes=("float64",), extra=2)
    return [c for c in drawn if c.memory == "plain" and c.kind in KINDS]


def outcomes(layer: Layer) -> Iterator[tuple[str, str, dict[str, bool]]]:
    """Kind, quantity and what was said, for every error in every gradient of a layer."""
    cases = cases_of(layer)
    if not cases or reference(layer) is None:
        return
    for name in cases[0].problem.differentiable[:GRADIENTS]:
        size = min(int(c.arrays()[name].size) for c in cases)
        for kind in (*NAMES, *NAMELESS):
            wrong = Wrong(layer, kind, name)
            if size < FEWEST or all(wrong.bind(c.problem).equivalent(c) for c in cases):
                continue
            report = check_cases(layer, cases, wrong, against=("torch", "numeric"))
            findings = [f for f in report.findings if f.cause != CONSEQUENCE]
            first = next((f.cause for f in findings if f.cause), None)
            causes = NAMES.get(kind, ALLOWED)
            certain = {f.cause for f in findings if f.certainty == "proved"}
            yield (
                kind,
                name,
                {
                    "found": report.verdict is Verdict.DISAGREE,
                    "right quantity": {f.quantity for f in findings} == {f"grad_{name}"},
                    "right cause first": first in causes or (kind in NAMELESS and first is None),
                    "wrong but certain": bool(certain - set(causes)),
                },
            )


def main() -> None:
    """Print a row for each kind of error, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layers", nargs="*")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    every: list[tuple[str, str, str, dict[str, bool]]] = []
    for name in arguments.layers or crosscheck.catalogue:
        layer = crosscheck.catalogue[name]
        if layer.convention is None and layer.problem().differentiable:
            every += [(name, *rest) for rest in outcomes(layer)]
    table: dict[str, dict[str, Any]] = {}
    rows = {kind: [s for _, k, _, s in every if k == kind] for kind in (*NAMES, *NAMELESS)}
    rows["all that have a name"] = [s for _, k, _, s in every if k in NAMES]
    rows["all that have none"] = [s for _, k, _, s in every if k in NAMELESS]
    for kind, said in rows.items():
        if said:
            shares = {what: sum(s[what] for s in said) / len(said) for what in said[0]}
            table[kind] = {"errors": len(said), **shares}
            print(f"{kind:<38}{len(said):>6}" + "".join(f"{x:>18.1%}" for x in shares.values()))
    print(" " * 44 + "".join(f"{what:>18}" for what in every[0][3]))
    for name, kind, quantity, said in every:
        if (
            not (said["found"] and said["right quantity"] and said["right cause first"])
            or (said["wrong but certain"])
        ):
            marks = "".join(k[0] if v == (k[0] == "w") else "." for k, v in said.items())
            print(f"{marks} {name} grad_{quantity}: {kind}")
    if arguments.json:
        layers = len({name for name, *_ in every})
        arguments.json.write_text(json.dumps({"layers": layers, "kinds": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
