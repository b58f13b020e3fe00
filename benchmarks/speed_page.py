"""The tables of docs/speed.md, from the results of `benchmarks.speed` and `benchmarks.layer_costs`.

python -m benchmarks.speed_page
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "speed.md"
OURS, ONE = "crosscheck", "one forward + backward of the subject"
AGAIN = "crosscheck, the same case again"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = [*head]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def targets(result: dict[str, Any]) -> str:
    """What was to be reached, and what was."""
    cost = {row["parameters"]: row["seconds"] for row in result["cost"]}
    rows: list[tuple[str, str, str]] = []
    small = cost[min(cost)]
    rows.append(
        (
            f"one warm check of the two-layer network of {min(cost)} parameters",
            "≤ 0.5 × gradcheck, fast mode",
            " / ".join(f"{small[k] / small['torch gradcheck, fast']:.1f} ×" for k in (OURS, AGAIN)),
        )
    )
    slow = cost.get(20_000, {})
    if "torch gradcheck, slow" in slow:
        ratios = " / ".join(
            f"{slow['torch gradcheck, slow'] / slow[k]:.0f} ×" for k in (OURS, AGAIN)
        )
        rows.append(("20,000 parameters", "≥ 500 × faster than its slow mode", ratios))
    units = ", ".join(f"{n:,}: {s[OURS] / s[ONE]:.0f}" for n, s in cost.items() if n > 100)
    rows.append(("a check, in units of one forward + backward", "≤ 60, not growing", units))
    share = result["own share"]["share"]
    rows.append(("the harness's own share of a warm run", "≤ 15 %", f"{share:.0%}"))
    if "catalogue" in result:
        c = result["catalogue"]
        rows.append(("the whole catalogue, cold", "≤ 60 s", f"{c['cold']:.0f} s"))
        rows.append(("the whole catalogue, warm cache", "≤ 20 s", f"{c['warm cache']:.0f} s"))
    first = result["starts"]["run Linear, beyond"]
    rows.append(("`crosscheck run Linear` beyond importing", "≤ 0.5 s", f"{first:.2f} s"))
    times = result["memory"]["times the parameters"]
    rows.append(("peak memory at 1,000,000 parameters", "≤ 12 × theirs", f"{times:.1f} ×"))
    return _table(("", "target", "measured"), rows)


def peers(result: dict[str, Any]) -> str:
    """Each checker's time in units of ours, by the number of parameters."""
    sizes = [row["parameters"] for row in result["cost"]]
    names = dict.fromkeys(name for row in result["cost"] for name in row["seconds"])
    rows = []
    for name in names:
        cells = [
            f"{row['seconds'][name] / row['seconds'][OURS]:.3g}" if name in row["seconds"] else "–"
            for row in result["cost"]
        ]
        rows.append((name, *cells))
    return _table(("time, in units of crosscheck's", *(f"{n:,}" for n in sizes)), rows)


def layers(rows: list[dict[str, Any]]) -> str:
    """The ten dearest layers, and all of them together."""
    total = {k: sum(row[k] for row in rows) for k in rows[0] if k != "layer"}
    shown = [*rows[:10], {"layer": f"all {len(rows)}", **total}]
    head = ("layer", "CPU seconds", "cases", "programs")
    return _table(head, ((r["layer"], f"{r['cpu']:.1f}", r["cases"], r["programs"]) for r in shown))


def write_page() -> None:
    """Put the tables where the page has their markers."""
    result = json.loads((RESULTS / "speed.json").read_text())
    costs = json.loads((RESULTS / "layer_costs.json").read_text())
    tables = {"targets": targets(result), "peers": peers(result), "layers": layers(costs)}
    text = PAGE.read_text()
    for name, table in tables.items():
        marked = f"<!-- {name} -->\n\n{table}\n\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, m=marked: m, text, flags=re.S)
    PAGE.write_text(text)


if __name__ == "__main__":
    write_page()
