"""Writes docs/causes.md from the rules, so that the list stays true: python docs/causes.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from crosscheck.causes import (
    RULES,
    gathering,
    operands,
    patterns,
    places,
    raised,
    reduction,
    scale,
    sequences,
    state,
    windows,
)

ROOT = Path(__file__).parents[1]
#: The sections of the list, in the order of the rules' files.
SECTIONS = {
    "Scale: a factor, an offset, a clip": scale,
    "Operand, transposition, variable": operands,
    "Reduction, broadcasting, shape": reduction,
    "Convolution, pooling, padding": windows,
    "Place: the wrong index": places,
    "Gathering: what is used several times": gathering,
    "Normalization, softmax, recurrence": sequences,
    "State, memory, precision, the contract": state,
    "Exceptions": raised,
    "Which cases are wrong": patterns,
}

HEAD = """# Causes: what a report can call by its name

A finding says which quantity is wrong and who says so. Where it can, it also names the probable
mistake, how sure that is, what speaks for it, and a hint at two levels.

- **proved**: computed. crosscheck asked a trusted witness what the quantity would be if this mistake
  had been made (another upstream gradient, a parameter left out, windows that overwrite each other),
  and that is what the layer gave, in every case looked at and in the cases that agree; or
  the repair (a transpose, a sum) was applied and made it agree.
- **likely**: the cases say so: it is wrong with padding and right without.
- **possible**: it fits, and so may something else.

A mistake that no rule knows is called unknown, and shown with where in the array it is and in which
cases. `Finding` holds all of it: `cause`, `certainty`, `explanation`, `evidence`, `hint` (the question) and
`answer`. Words in braces are filled in from the finding: `{q}` is the quantity, `{s}` the layer.

What is planted to test this is in `tests/causes/plants`; `python benchmarks/causes.py` counts how many are
found, blamed on the right quantity and named; see [the figures](#how-well).

The conventions of other frameworks are another matter: see [Porting a model](porting.md).

This page is written from the rules by `python docs/causes.py`.
"""


FIGURES = """
## How well

`python benchmarks/causes.py --wrong --json benchmarks/results/causes.json`, against PyTorch and numeric
differentiation. A mistake counts as wrong but certain where anything is called proved that it is not.

| plants | | found | the right quantity, and no other | the right cause first | wrong but certain |
|---|--:|--:|--:|--:|--:|
"""

AFTER = """
Rules were developed on {developed}, and on the plants that came with a rule; the list's mistakes in all other layers
were planted before any rule. The {count} written after the rules are in other layers, with other constants
and in other words. They were run once before anything was mended: that is the row of the first
look. Of what failed there, two plants expected the wrong name of a quantity, and a factor 1/N in all
parameters of a layer is told as an [undeclared convention](conventions.md), as it should be, which the
plants did not expect either. Rules were mended for the others, but for a row of EmbeddingBag that
overwrites itself inside one bag.
"""


EVERYWHERE = """
`python benchmarks/causes_everywhere.py` plants one error in every gradient (at most four) of the catalogue's layers,
{layers} here. Twelve kinds are what people do; of the five that nobody does, nothing certain may be
said: there the right cause is none.

| error | | found | the right quantity, and no other | the right cause first | wrong but certain |
|---|--:|--:|--:|--:|--:|
"""


def _row(name: str, rates: dict[str, float]) -> str:
    shares = ("found", "right quantity", "right cause first", "wrong but certain")
    cells = " | ".join(f"{rates[share]:.1%}" for share in shares)
    return f"| {name} | {rates['plants']:.0f} | {cells} |\n"


def figures() -> str:
    """The table of the benchmark's results, from benchmarks/results."""
    plants = ROOT / "tests" / "causes"
    sys.path.insert(0, str(plants))
    try:
        from plants.plant import DEVELOPED
    finally:
        sys.path.remove(str(plants))
    results = ROOT / "benchmarks" / "results"
    now = json.loads((results / "causes.json").read_text(encoding="utf-8"))
    first = json.loads((results / "causes_first_look.json").read_text(encoding="utf-8"))
    rows = [
        _row("plants that rules were developed on", now["developed on"]),
        _row("the list in layers that were held out", now["held out"]),
        _row("written after the rules, first look", first),
        _row("the same, after mending", now["written after"]),
        _row("all, now", now["all"]),
    ]
    words = AFTER.format(developed=", ".join(sorted(DEVELOPED)), count=first["plants"])
    return FIGURES + "".join(rows) + words + everywhere()


def everywhere() -> str:
    """The table of errors in every gradient of the catalogue."""
    path = ROOT / "benchmarks" / "results" / "causes_everywhere.json"
    results = json.loads(path.read_text(encoding="utf-8"))
    shares = ("found", "right quantity", "right cause first", "wrong but certain")
    lines = [EVERYWHERE.format(layers=results["layers"])]
    for kind, rates in results["kinds"].items():
        cells = " | ".join(f"{rates[share]:.1%}" for share in shares)
        lines.append(f"| {kind} | {rates['errors']} | {cells} |\n")
    return "".join(lines)


def page() -> str:
    """The whole page."""
    parts = [HEAD, figures()]
    for title, module in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for rule in module.RULES:
            parts.append(
                f"\n### `{rule.slug}`: {rule.title}\n\n"
                f"- Hint: {_escaped(rule.question)}\n- Answer: {_escaped(rule.answer)}\n"
            )
    assert sum(len(m.RULES) for m in SECTIONS.values()) == len(RULES)
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    Path(__file__).with_name("causes.md").write_text(page(), encoding="utf-8")
