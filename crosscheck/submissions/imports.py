"""Imports that an exercise does not allow, taken out of a text; line numbers stay."""

from __future__ import annotations

import ast
from collections.abc import Collection

from crosscheck.submissions.python_file import imports, parsed
from crosscheck.submissions.submission import Submission


def without_imports(submission: Submission, allowed: Collection[str]) -> Submission:
    """The submission without imports of what is not allowed, which is noted.

    A plot that is imported and never drawn does no harm; a class that needs a module that is gone
    fails where it uses it.

    Args:
        submission: one that parses.
        allowed: names of top-level modules; the submission's own are allowed anyway.
    """
    own = {path.partition("/")[0].removesuffix(".py") for path in submission.sources}
    left: dict[str, None] = {}
    sources = {}
    for path, text in submission.sources.items():
        sources[path], out = _without(text, {*allowed, *own})
        left |= dict.fromkeys(out)
    if not left:
        return submission
    note = f"not allowed here, and left out: import of {', '.join(left)}"
    return Submission(submission.name, sources, submission.problems, (*submission.notes, note))


def _without(text: str, allowed: Collection[str]) -> tuple[str, list[str]]:
    lines = text.split("\n")
    left: list[str] = []
    for node in sorted(imports(parsed(text)), key=lambda n: (-n.lineno, -n.col_offset)):
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module or ""]
            kept: list[ast.alias] = []
        else:
            names = [a.name for a in node.names]
            kept = [a for a in node.names if a.name.partition(".")[0] in allowed]
        out = [n for n in names if n.partition(".")[0] not in allowed]
        if not out:
            continue
        left += out
        instead = ast.unparse(ast.Import(kept)) if kept else "pass"
        _replace(lines, node, instead)
    return "\n".join(lines), left[::-1]


def _replace(lines: list[str], node: ast.stmt, instead: str) -> None:
    """Put other text in a statement's place. Columns are counted in UTF-8 bytes."""
    assert node.end_lineno is not None and node.end_col_offset is not None
    first, last = node.lineno - 1, node.end_lineno - 1
    before = lines[first].encode()[: node.col_offset].decode()
    after = lines[last].encode()[node.end_col_offset :].decode()
    lines[first] = before + instead + after
    for number in range(first + 1, last + 1):
        lines[number] = ""
