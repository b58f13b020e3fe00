"""A result as text for a terminal, and as a page of HTML: what a student reads."""

from __future__ import annotations

import io
from html import escape as html_escape

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crosscheck.comparison import Verdict
from crosscheck.exercises.feedback import hint, quoted
from crosscheck.exercises.marking import ItemResult, Mark, Result, Status

WIDTH = 100
#: Status → sign, colour, word.
SIGNS = {
    Status.RIGHT: ("✓", "green", "right"),
    Status.FOLLOWS: ("✓", "green", "follows your forward"),
    Status.MISMATCH: ("≠", "yellow", "another convention"),
    Status.WRONG: ("✗", "red", "wrong"),
    Status.RAISED: ("✗", "red", "fails"),
    Status.MISSING: ("✗", "red", "missing"),
    Status.UNCHECKED: ("?", "yellow", "unchecked"),
}


def show(result: Result, console: Console) -> None:
    """Print a result."""
    console.print(
        f"[bold]{escape(quoted(result.name))}[/] · {escape(result.exercise.title)} · "
        f"[bold]{_points(result.earned)} of {_points(result.points)} points[/]"
    )
    for problem in result.problems:
        console.print(Padding(Text(quoted(problem), style="red"), (0, 0, 0, 2)))
    for note in result.notes:
        console.print(Padding(Text(f"note: {quoted(note)}", style="dim"), (0, 0, 0, 2)))
    for item in result.items:
        console.print()
        _show_item(item, result, console)
    if result.printed.strip():
        console.print()
        console.print(Text("It printed:", style="dim"))
        console.print(Padding(Text(quoted(result.printed.rstrip()), style="dim"), (0, 0, 0, 2)))


def _show_item(item: ItemResult, result: Result, console: Console) -> None:
    console.print(
        f"[bold]{escape(item.item.title)}[/] as {escape(item.item.layer.name)}"
        f" · {_points(item.earned)} of {_points(item.points)}"
    )
    if item.problem:
        if item.problem not in result.problems:
            console.print(Padding(Text(quoted(item.problem), style="red"), (0, 0, 0, 2)))
        return
    for note in item.notes:
        console.print(Padding(Text(f"note: {quoted(note)}", style="dim"), (0, 0, 0, 2)))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    said: set[str] = set()
    for mark in item.marks:
        sign, colour, word = SIGNS[mark.status]
        text = _once(mark, result.exercise.show, said)
        table.add_row(
            f"[{colour}]{sign}[/]", Text(mark.quantity), Text(word, style=colour), Text(text)
        )
    console.print(table)


def _once(mark: Mark, shown: str, said: set[str]) -> str:
    """The hint, a long one only the first time it comes."""
    text = hint(mark, shown)
    if text in said and "\n" in text:
        return "as above"
    said.add(text)
    return text


def _points(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def to_text(result: Result) -> str:
    """Plain text, at most 100 columns, no colour."""
    stream = io.StringIO()
    show(result, Console(file=stream, width=WIDTH, color_system=None, highlight=False))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}
p{margin:.3rem 0}.points{font-weight:600}.dim{color:#59636e}
table{border-collapse:collapse;width:100%}td{padding:.35rem .6rem;border-top:1px solid #d8dee4;vertical-align:top}
td:first-child{width:10rem;font-family:ui-monospace,monospace}td:nth-child(2){width:13rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:.9em/1.4 ui-monospace,monospace}
.good{color:#0a6b2d}.bad{color:#b42318}.other{color:#7a5600}.bar{height:.5rem;background:#eaeef2;border-radius:.25rem;margin:.6rem 0}
.bar>div{height:100%;background:#0a7d33;border-radius:.25rem}
@media (prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td{border-color:#30363d}.dim{color:#9198a1}
.good{color:#3fb950}.bad{color:#ff7b72}.other{color:#d29922}.bar{background:#30363d}}
"""


def to_html(result: Result) -> str:
    """One self-contained page: no script, nothing from the network, everything escaped."""
    share = 100 * result.earned / result.points if result.points else 0.0
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{_h(result.name)} · {_h(result.exercise.title)}</title><style>{_STYLE}</style>",
        f"<h1>{_h(result.exercise.title)}</h1><p class=dim>{_h(result.name)}</p>",
        f"<p class=points>{_points(result.earned)} of {_points(result.points)} points</p>"
        f"<div class=bar><div style='width:{share:.1f}%'></div></div>",
    ]
    parts += [f"<pre class=bad>{_h(problem)}</pre>" for problem in result.problems]
    parts += [f"<p class=dim>{_h(note)}</p>" for note in result.notes]
    parts += [_html_item(item, result) for item in result.items]
    if result.printed.strip():
        parts.append(f"<h2>It printed</h2><pre class=dim>{_h(result.printed)}</pre>")
    return "\n".join(parts) + "\n"


def _html_item(item: ItemResult, result: Result) -> str:
    head = (
        f"<h2>{_h(item.item.title)} <span class=dim>as {_h(item.item.layer.name)} · "
        f"{_points(item.earned)} of {_points(item.points)}</span></h2>"
    )
    if item.problem:
        told = item.problem in result.problems
        return head + ("" if told else f"<pre class=bad>{_h(item.problem)}</pre>")
    notes = "".join(f"<p class=dim>{_h(note)}</p>" for note in item.notes)
    rows = []
    before: set[str] = set()
    for mark in item.marks:
        sign, colour, word = SIGNS[mark.status]
        kind = {"green": "good", "red": "bad", "yellow": "other"}[colour]
        said = _once(mark, result.exercise.show, before)
        text = f"<pre>{_h(said)}</pre>" if "\n" in said else _h(said)
        rows.append(f"<tr><td>{_h(mark.quantity)}<td class={kind}>{sign} {word}<td>{text}</tr>")
    return f"{head}{notes}<table>{''.join(rows)}</table>"


def _h(text: str) -> str:
    return html_escape(quoted(text))


def fragment(result: Result) -> str:
    """The result for a notebook cell: a box whose edge has the verdict's colour."""
    colour = {Verdict.AGREE: "#0a7d33", Verdict.DISAGREE: "#c4320a"}.get(result.verdict, "#8a6100")
    return (
        f'<div style="border-left:4px solid {colour};padding:0.2em 1em">'
        f'<pre style="margin:0.4em 0;overflow-x:auto;line-height:1.35">{html_escape(to_text(result))}'
        "</pre></div>"
    )
