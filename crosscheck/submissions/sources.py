"""Several files as one submission: which of them count, and in which order they are run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath

from crosscheck.submissions.notebook import notebook_text
from crosscheck.submissions.python_file import decode, imports, parsed, syntax_error
from crosscheck.submissions.submission import MOST_TEXT, Submission, Unreadable

#: Folders that hold nothing of the person's own.
IGNORED_FOLDERS = frozenset(
    ".git .svn .hg .idea .vscode .ipynb_checkpoints __pycache__ __MACOSX node_modules venv .venv env "
    "site-packages .pytest_cache .mypy_cache .ruff_cache build dist".split()
)
IGNORED_FILES = re.compile(r"^(\.|\._|~|test_.*\.py$|.*_test\.py$|conftest\.py$|setup\.py$)")
CODE = (".py", ".ipynb")
#: At most this many files of code are one submission.
MOST_FILES = 200
#: Names that an import would answer with something else than the person's file.
TAKEN = frozenset(sys.stdlib_module_names) | {"numpy", "crosscheck", "reference_nn", "scipy"}


def wanted(path: PurePosixPath) -> bool:
    """Whether a path inside a submission is code of the person's own."""
    if any(part in IGNORED_FOLDERS or part.startswith(".") for part in path.parts[:-1]):
        return False
    return path.suffix.lower() in CODE and not IGNORED_FILES.match(path.name)


def assemble(name: str, files: Mapping[str, bytes], everything: bool = False) -> Submission:
    """A submission out of the contents of its files.

    Args:
        name: as it is shown.
        files: path inside the submission → content; those that are no code are passed over.
        everything: see `crosscheck.submissions.notebook.notebook_text`.
    """
    code = {path: content for path, content in files.items() if wanted(PurePosixPath(path))}
    if not code:
        listed = ", ".join(sorted(files)[:5]) or "nothing"
        return Submission(name, problems=(f"there is no .py or .ipynb file in it: {listed}",))
    if len(code) > MOST_FILES:
        return Submission(name, problems=(f"{len(code)} files of code: too many for an exercise",))
    texts: dict[str, str] = {}
    problems: list[str] = []
    notes: list[str] = []
    total = 0
    for path, content in sorted(code.items()):
        try:
            text, said = _text(path, content, everything)
        except Unreadable as error:
            problems.append(str(error))
            continue
        total += len(text)
        if total > MOST_TEXT:
            too_much = f"more than {MOST_TEXT >> 20} MiB of code: too much for an exercise"
            return Submission(name, problems=(too_much,))
        wrong = syntax_error(text, PurePosixPath(path).name)
        if wrong is not None:
            problems.append(wrong)
            continue
        notes += [line if len(code) == 1 else f"{path}: {line}" for line in said]
        texts[module_path(path, texts)] = text
    return Submission(name, in_order(texts), tuple(problems), tuple(notes))


def _text(path: str, content: bytes, everything: bool) -> tuple[str, tuple[str, ...]]:
    name = PurePosixPath(path).name
    if path.lower().endswith(".ipynb"):
        return notebook_text(content, name, everything)
    return decode(content, name), ()


def module_path(path: str, taken: Mapping[str, str]) -> str:
    """The path under which a file is imported: ``my notebook.ipynb`` → ``my_notebook.py``."""
    pure = PurePosixPath(path)
    parts = [re.sub(r"\W", "_", part) or "_" for part in (*pure.parts[:-1], pure.stem)]
    parts = [f"_{part}" if part[0].isdigit() else part for part in parts]
    if parts[0] in TAKEN:
        parts[0] = f"{parts[0]}_"
    candidate, number = "/".join(parts), 1
    while f"{candidate}.py" in taken:
        number += 1
        candidate = "/".join((*parts[:-1], f"{parts[-1]}_{number}"))
    return f"{candidate}.py"


def in_order(texts: Mapping[str, str]) -> dict[str, str]:
    """The files so that what is imported comes before what imports it; else by name."""
    if len(texts) < 2:
        return dict(texts)
    modules = {path.removesuffix(".py").replace("/", "."): path for path in texts}
    needs = {path: _imported(text, modules) - {path} for path, text in texts.items()}
    ordered: dict[str, str] = {}

    def visit(path: str, above: tuple[str, ...]) -> None:
        if path in ordered or path in above:
            return
        for other in sorted(needs[path]):
            visit(other, (*above, path))
        ordered[path] = texts[path]

    for path in sorted(texts):
        visit(path, ())
    return ordered


def _imported(text: str, modules: Mapping[str, str]) -> set[str]:
    names: set[str] = set()
    for node in imports(parsed(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return {modules[name] for name in names if name in modules}
