"""The section at the end of a pytest run, out of the results of all tests and workers."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crosscheck.testing.results import Result

#: Reasons shown before the rest is only counted.
REASONS = 8
_NOTHING: dict[str, Any] = {"against": {}, "worst": None, "closest": None, "limits": []}


@dataclass
class Row:
    """All results of one implementation of one layer."""

    layer: str
    subject: str
    runs: int = 0
    checks: int = 0
    witnesses: dict[str, str] = field(default_factory=dict)
    quantities: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count one more result in."""
        self.runs += 1
        self.checks += result["checks"]
        self.witnesses |= result["witnesses"]
        for name, found in result["quantities"].items():
            mine = self.quantities.setdefault(name, dict(_NOTHING))
            against = dict(mine["against"])
            for witness, counts in found["against"].items():
                before = against.get(witness, [0, 0, 0, 0])
                against[witness] = [a + b for a, b in zip(before, counts, strict=True)]
            mine["against"] = against
            mine["worst"] = max((w for w in (mine["worst"], found["worst"]) if w is not None),
                                default=None)  # fmt: skip
            mine["closest"] = _larger(mine["closest"], found["closest"])
            ends = mine["limits"] + found["limits"]
            mine["limits"] = [min(ends), max(ends)] if ends else []

    def cell(self, witness: str) -> str:
        """What it came to with a witness, over all quantities."""
        why_not = self.witnesses.get(witness)
        if why_not in ("not installed", "no twin") or (witness != "contract" and why_not is None):
            return f"[dim]{why_not or '–'}[/]"
        if any("itself" in q["against"] for q in self.quantities.values()):
            return "[bold red]raised[/]"
        return _cell([q["against"].get(witness, [0, 0, 0, 0]) for q in self.quantities.values()])

    @property
    def closest(self) -> list[Any] | None:
        """The largest share of the tolerance: [share, quantity, witness, case]."""
        calls = [[q["closest"][0], n, *q["closest"][1:]] for n, q in self._named() if q["closest"]]
        return max(calls, default=None)

    @property
    def limits(self) -> list[list[Any]]:
        """Smallest and largest detection limit: [limit, quantity, witness, case]."""
        ends = [[end[0], n, *end[1:]] for n, q in self._named() for end in q["limits"]]
        return [min(ends), max(ends)] if ends else []

    def _named(self) -> Iterable[tuple[str, dict[str, Any]]]:
        return self.quantities.items()


def rows(results: Iterable[Result]) -> list[Row]:
    """One `Row` per implementation, by layer; the order of tests does not matter."""
    found: dict[tuple[str, str], Row] = {}
    for result in results:
        key = result["layer"], result["subject"]
        found.setdefault(key, Row(*key)).add(result)
    return [found[key] for key in sorted(found)]


def write(
    reporter: pytest.TerminalReporter, config: pytest.Config, results: Sequence[Result]
) -> None:
    """Write the section: one line per implementation, with ``-v`` one per quantity."""
    reporter.section("crosscheck", sep="=")
    terminal = config.get_terminal_writer()
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=min(max(terminal.fullwidth, 60), 120),
        color_system="standard" if terminal.hasmarkup else None,
        force_terminal=terminal.hasmarkup,
        highlight=False,
        legacy_windows=False,
    )
    for setting in dict.fromkeys(result["setting"] for result in results):
        console.print(f"[dim]against {escape(setting)}[/]")
    lines = rows(results)
    console.print(_overview(lines))
    if config.get_verbosity() > 0:
        console.print()
        console.print(_detail(lines))
    for line in _remarks(lines, results):
        console.print(line)
    for line in stream.getvalue().splitlines():
        reporter.write_line(line.rstrip())


def _overview(lines: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    witnesses = list(dict.fromkeys(name for line in lines for name in line.witnesses))
    table.add_column("implementation", overflow="fold")
    for name in ("runs", "checks"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in (*witnesses, "contract"):
        table.add_column(name)
    for line in lines:
        name = line.subject if line.subject == line.layer else f"{line.subject} ({line.layer})"
        cells = [line.cell(witness) for witness in (*witnesses, "contract")]
        table.add_row(escape(name), str(line.runs), str(line.checks), *cells)
    return table


def _detail(lines: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("implementation", overflow="fold")
    table.add_column("quantity", overflow="fold")
    witnesses = list(
        dict.fromkeys(w for line in lines for q in line.quantities.values() for w in q["against"])
    )
    for name in witnesses:
        table.add_column(name)
    table.add_column("worst", justify="right", no_wrap=True)
    table.add_column("limit", justify="right", no_wrap=True)
    for line in lines:
        for position, (name, found) in enumerate(line.quantities.items()):
            cells = [_cell([found["against"].get(w, [0, 0, 0, 0])]) for w in witnesses]
            worst = "–" if found["worst"] is None else f"{found['worst']:.2g}"
            limit = f"{found['limits'][1][0]:.0e}" if found["limits"] else "–"
            table.add_row(
                escape(line.subject) if not position else "", escape(name), *cells, worst, limit
            )
    return table


def _cell(groups: Sequence[Sequence[int]]) -> str:
    agree, disagree, unchecked, known = (sum(group[i] for group in groups) for i in range(4))
    if disagree:
        return f"[bold red]{disagree} disagree[/]"
    if unchecked:
        return f"[yellow]{unchecked} unchecked[/]"
    if known and not agree:
        return f"[yellow]{known} known[/]"
    return "[green]agree[/]" if agree else "[dim]–[/]"


def _remarks(lines: Sequence[Row], results: Sequence[Result]) -> Iterable[str]:
    unseen = {r["subject"]: r["forward_unseen"] for r in results if r["forward_unseen"]}
    for subject, why in unseen.items():
        yield f"[yellow]the forward of {escape(subject)} was compared with nobody[/]: {escape(why)}"
    reasons: dict[str, int] = {}
    for result in results:
        for reason, count in result["unchecked"].items():
            text = f"{result['subject']}: {reason}"
            reasons[text] = reasons.get(text, 0) + count
    shown = sorted(reasons.items())[:REASONS]
    for reason, count in shown:
        yield f"[yellow]unchecked[/] {count}×: {escape(reason)}"
    if len(reasons) > len(shown):
        yield f"[yellow]unchecked[/] for {len(reasons) - len(shown)} more reasons"
    for note in dict.fromkeys(f"{r['subject']}: {note}" for r in results for note in r["notes"]):
        yield f"note: {escape(note)}"
    ends = [(end, line) for line in lines for end in line.limits]
    if ends:
        (low, fine), (high, coarse) = min(ends, key=_first), max(ends, key=_first)
        yield (
            f"smallest detection limit: {low[0]:.0e} of the norm ({escape(low[1])} of "
            f"{escape(fine.subject)}), largest {high[0]:.0e} ({escape(high[1])} of "
            f"{escape(coarse.subject)}): an error of that share in any one element would have "
            "shown (float64)"
        )
    calls = [(line.closest, line) for line in lines if line.closest]
    if calls:
        call, line = max(calls, key=_first)
        yield (
            f"closest call: {call[0]:.2g} of the tolerance, {escape(call[1])} of "
            f"{escape(line.subject)} against {escape(call[2])} in {escape(call[3])}"
        )


def _first(pair: tuple[Any, Row]) -> float:
    return float(pair[0][0])


def _larger(one: list[Any] | None, other: list[Any] | None) -> list[Any] | None:
    return max((c for c in (one, other) if c is not None), default=None)
