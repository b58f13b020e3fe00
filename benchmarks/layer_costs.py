"""What each layer of the catalogue costs in a cold run, and what of it is JAX: CPU seconds.

    python -m benchmarks.layer_costs            # two to four minutes on one core
    python -m benchmarks.layer_costs Linear LSTM

Results go to benchmarks/results/layer_costs.json, the dearest first. CPU seconds, because wall time
on a busy machine says nothing. One process, no compilation cache.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import crosscheck
from crosscheck.implementations.jax_function import import_jax

RESULT = Path(__file__).parent / "results" / "layer_costs.json"
#: JAX's own events → what the report calls them.
EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "compiling",
}


def measure(names: list[str]) -> list[dict[str, Any]]:
    """One row per layer. The three parts of JAX are wall seconds, as JAX reports them."""
    spent: Counter[str] = Counter()
    programs: Counter[str] = Counter()

    def heard(event: str, seconds: float, **_: Any) -> None:
        if event in EVENTS:
            spent[EVENTS[event]] += seconds  # type: ignore[assignment]
            programs[EVENTS[event]] += 1

    import_jax().monitoring.register_event_duration_secs_listener(heard)
    crosscheck.check("Identity")  # imports, and what is done once per process
    rows = []
    for name in names:
        spent.clear()
        programs.clear()
        started = time.process_time()
        report = crosscheck.check(name)
        cost = time.process_time() - started
        cases = {(id(c.case.problem), c.case.kind) for c in report.comparisons}
        rows.append(
            {
                "layer": name,
                "cpu": cost,
                "cases": len(cases),
                "programs": programs["compiling"],
                **{part: spent[part] for part in EVENTS.values()},
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return sorted(rows, key=lambda row: -row["cpu"])


def main() -> None:
    """Measure, print, write."""
    rows = measure(sys.argv[1:] or list(crosscheck.catalogue))
    table = Table(*rows[0], box=None)
    for row in rows[:25]:
        table.add_row(*(f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console(width=100)
    console.print(table)
    total = {k: sum(row[k] for row in rows) for k in rows[0] if k != "layer"}
    console.print("all", len(rows), {k: round(v, 1) for k, v in total.items()})
    if not sys.argv[1:]:
        RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
