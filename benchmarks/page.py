"""How large the page of a run is, and how long it takes to render: for a thousand checks, and more.

    python benchmarks/page.py [--save FOLDER] [--json FILE]

A check is what the table of `crosscheck run` counts: one quantity of one case against one witness. Rows:
layers of the catalogue in its order until there are 1,000 checks, all right; the same with one wrong
layer among them; and 1,000 layers, 50 of them wrong (reports are repeated, rendering is not cached).
Times are CPU seconds, the best of three.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crosscheck
import reference_nn as nn
from crosscheck.report import Report
from crosscheck.report.markdown import to_markdown
from crosscheck.report.page import to_page

CHECKS, LAYERS, WRONG = 1000, 1000, 50
REPEATS = 3


class BiasNotSummed(nn.Linear):
    """The mistake of the first page of the documentation."""

    def backward(self, x: Any, grad_output: Any) -> Any:
        """Leaves the bias gradient of every sample apart."""
        grad_x = super().backward(x, grad_output)
        self.grad_bias = grad_output.copy()
        return grad_x


def right() -> list[Report]:
    """Reports of layers that agree, with 1,000 checks together."""
    found: list[Report] = []
    for name in crosscheck.catalogue:
        if sum(len(r.comparisons) for r in found) >= CHECKS:
            break
        found.append(crosscheck.check(name))
    return found


def measure(reports: Sequence[Report]) -> dict[str, Any]:
    """Size and time of one page, and of the Markdown of the same reports."""
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        page = to_page(reports)
        seconds.append(time.process_time() - started)
    return {
        "layers": len(reports),
        "checks": sum(len(r.comparisons) for r in reports),
        "kB": round(len(page.encode()) / 1000),
        "kB compressed": round(len(gzip.compress(page.encode())) / 1000),
        "seconds": round(min(seconds), 3),
        "Markdown kB": round(len(to_markdown(reports).encode()) / 1000),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, help="a folder for the pages")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    agreeing, wrong = right(), crosscheck.check("Linear", BiasNotSummed)
    many = [*[wrong] * WRONG, *agreeing * (LAYERS // len(agreeing) + 1)][:LAYERS]
    runs = {
        "1,000 checks": agreeing,
        "with a wrong layer": [*agreeing, wrong],
        "1,000 layers, 50 wrong": many,
    }
    table = {name: measure(reports) for name, reports in runs.items()}
    print(f"{'':<24}" + "".join(f"{column:>15}" for column in next(iter(table.values()))))
    for name, row in table.items():
        print(f"{name:<24}" + "".join(f"{value:>15}" for value in row.values()))
    if arguments.save:
        arguments.save.mkdir(exist_ok=True)
        for i, reports in enumerate(runs.values()):
            (arguments.save / f"page{i}.html").write_text(to_page(reports), encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
