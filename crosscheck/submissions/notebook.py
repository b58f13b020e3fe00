"""A notebook: code cells out of the JSON. No kernel; outputs are ignored.

Magics and shell lines are taken out. By default the demonstrations are not run: of each cell the
imports, the definitions of classes and functions and assignments of constants are kept, so that a plot,
a training run or a cell that fails does not stand in the way of the classes.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

from crosscheck.submissions.submission import MOST_TEXT, Unreadable

#: A notebook may be this large: outputs with pictures are in it.
MOST_NOTEBOOK = 64 << 20
#: ``%matplotlib inline``, ``!pip install``, ``?help``; not ``%`` as an operator within a line.
MAGIC = re.compile(r"^\s*(%(?!=)|!|\?)|^\s*[\w.\[\]]+\?{1,2}\s*$")
#: Cells of these magics hold no Python of this process.
OTHER_LANGUAGES = re.compile(r"^%%(?!time\b|timeit\b|capture\b|prun\b)\w+")
#: ``name = !command`` and ``name = %magic``.
ASSIGNED_MAGIC = re.compile(r"^\s*\w[\w, ]*=\s*[!%][A-Za-z]")  # no two ways to take a space


def notebook_text(
    content: bytes, name: str, everything: bool = False
) -> tuple[str, tuple[str, ...]]:
    """The Python text of a notebook, and what was done to get it.

    Args:
        content: the file.
        name: what messages call it.
        everything: keep the cells whole, so that they are run in order.

    Raises:
        Unreadable: no JSON, no notebook, or no code cells.
    """
    cells = [*_code_cells(content, name)]
    if not cells:
        raise Unreadable(f"{name} has no code cells")
    if sum(map(len, cells)) > MOST_TEXT:  # outputs may be large, code may not
        raise Unreadable(f"{name} has more than {MOST_TEXT >> 20} MiB of code")
    kept: list[str] = []
    notes: list[str] = []
    dropped, broken = 0, []
    known = set(dir(builtins))
    for number, cell in enumerate(cells, 1):
        text = without_magics(cell)
        if everything:
            kept.append(text)
            continue
        found = definitions(text, known)
        if found is None:
            broken.append(number)
            continue
        selected, left_out = found
        dropped += left_out
        if selected.strip():
            kept.append(selected)
    if broken:
        plural = "s" if len(broken) > 1 else ""
        notes.append(
            f"code cell{plural} {', '.join(map(str, broken))} of {len(cells)} left out: no valid Python"
        )
    if dropped:
        notes.append(f"{dropped} demonstration statement{'s' if dropped > 1 else ''} not run")
    return "\n\n".join(kept) + "\n", tuple(notes)


def _code_cells(content: bytes, name: str) -> Iterator[str]:
    if len(content) > MOST_NOTEBOOK:
        raise Unreadable(f"{name} is larger than {MOST_NOTEBOOK >> 20} MiB")
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Unreadable(f"{name} is no notebook: not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"{name} is no notebook: no JSON ({error.msg}, line {error.lineno})"
        ) from None
    except (RecursionError, ValueError):
        raise Unreadable(f"{name} is no notebook: JSON that cannot be read") from None
    for cell in _cells(data, name):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", cell.get("input", ""))
        if isinstance(source, list):
            source = "".join(part for part in source if isinstance(part, str))
        if isinstance(source, str) and source.strip():
            yield source.replace("\r\n", "\n")


def _cells(data: Any, name: str) -> list[Any]:
    """The list of cells, of format 4 or of format 3 (worksheets)."""
    if isinstance(data, dict):
        cells = data.get("cells")
        if isinstance(cells, list):
            return cells
        sheets = data.get("worksheets")
        if isinstance(sheets, list):
            found = [s.get("cells") for s in sheets if isinstance(s, dict)]
            return [cell for cells in found if isinstance(cells, list) for cell in cells]
    raise Unreadable(f"{name} is no notebook: it has no cells")


def without_magics(cell: str) -> str:
    """A cell without IPython's own syntax; line numbers stay."""
    if OTHER_LANGUAGES.match(cell.lstrip()):
        return ""
    lines = []
    for line in cell.split("\n"):
        if MAGIC.match(line) or ASSIGNED_MAGIC.match(line):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}pass" if indent else "")
        else:
            lines.append(line)
    text = "\n".join(lines)
    return (
        text if _parses(text) or not _parses(cell) else cell
    )  # a % at a line's start, in brackets


def _parses(text: str) -> bool:
    return definitions(text) is not None


def definitions(text: str, known: set[str] | None = None) -> tuple[str, int] | None:
    """What a text defines, and how many statements were left out; None if it is no Python.

    Kept are imports, classes, functions, and assignments in which nothing is called and every name
    is known.

    Args:
        text: one cell.
        known: the names that earlier cells have defined; those of this one are added.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        return _selected(text, tree, set(dir(builtins)) if known is None else known)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # what is nested too deeply to be written out again is no Python either


def _selected(text: str, tree: ast.Module, known: set[str]) -> tuple[str, int]:
    kept: list[ast.stmt] = []
    for node in tree.body:
        if _defines(node, known):
            kept.append(node)
            known |= _bound(node)
    said = sum(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in tree.body)
    lines = text.split("\n")
    parts = []
    for node in kept:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        piece = "\n".join(lines[first - 1 : node.end_lineno])
        parts.append(ast.unparse(node) if _shares_a_line(node, tree.body) else piece)
    return "\n\n".join(parts), len(tree.body) - len(kept) - said


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement defines."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.ClassDef | ast.FunctionDef):
            found.add(part.name)
        elif isinstance(part, ast.alias):
            found.add((part.asname or part.name).partition(".")[0])
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
    return found


def _shares_a_line(node: ast.stmt, body: list[ast.stmt]) -> bool:
    """``a = 1; run()``: the other statement of the line must not come along."""
    return any(
        other is not node
        and (other.lineno in (node.lineno, node.end_lineno) or other.end_lineno == node.lineno)
        for other in body
    )


def _defines(node: ast.stmt, known: set[str]) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom() | ast.ClassDef() | ast.FunctionDef():
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return all(isinstance(t, ast.Name) for t in targets) and _constant(value, known)
        case ast.Try(body=body):  # try: import …
            return all(isinstance(n, ast.Import | ast.ImportFrom) for n in body)
        case ast.If(test=test, body=body, orelse=orelse):
            return _constant(test, known) and all(_defines(n, known) for n in (*body, *orelse))
        case _:
            return False


def _constant(node: ast.expr, known: set[str]) -> bool:
    """Arithmetic and containers of constants and known names, such as np.float64; a lambda."""
    if isinstance(node, ast.Lambda):
        return True
    allowed = (
        ast.Constant, ast.Name, ast.Attribute, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop,
        ast.Tuple, ast.List, ast.Dict, ast.Set, ast.expr_context,
    )  # fmt: skip
    return all(
        isinstance(part, allowed) and (not isinstance(part, ast.Name) or part.id in known)
        for part in ast.walk(node)
    )
