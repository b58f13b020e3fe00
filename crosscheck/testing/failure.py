"""A failing test: the case and the script are saved, and the text says where.

This happens when the test has failed, not when the check has: Hypothesis makes a check fail many
times before it settles on the smallest case, and only that one is kept.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crosscheck.case import Case
from crosscheck.errors import CrosscheckError
from crosscheck.families import catalogue
from crosscheck.report import Report
from crosscheck.report.script import to_script
from crosscheck.report.source import NoSource
from crosscheck.report.text import repeat_line, to_text
from crosscheck.report.where import evidence
from crosscheck.testing.settings import Settings

#: A script of up to this many lines is also shown, once for each implementation.
SHOWN = 90
_SHOWN: pytest.StashKey[set[str]] = pytest.StashKey()


@dataclass(frozen=True)
class Failure:
    """What an exception of the plugin carries until the test's report is made."""

    report: Report
    implementation: Any
    settings: Settings


def complete(item: pytest.Item, error: BaseException) -> None:
    """Save the failing case and the script, and make the exception's text name them."""
    failure = error.failure  # type: ignore[attr-defined]
    closing, script, saved = closing_lines(failure, item.config.rootpath)
    text = to_text(failure.report, closing)
    error.args = (text,)
    if isinstance(error, pytest.fail.Exception):
        error.msg = text
    if saved is not None:
        item.user_properties.append(("crosscheck.case", str(saved)))
    shown = item.config.stash.setdefault(_SHOWN, set())
    if script and script.count("\n") <= SHOWN and failure.report.subject not in shown:
        shown.add(failure.report.subject)
        item.add_report_section("call", "crosscheck script", script)
    del error.failure  # type: ignore[attr-defined]


def closing_lines(failure: Failure, root: Path) -> tuple[list[str], str, Path | None]:
    """The last lines of the text; the script, or nothing; and the saved case's path, or None."""
    report, folder = failure.report, failure.settings.save
    shown = next((e for f in report.findings if (e := evidence(f)) is not None), None)
    if shown is None:
        return [], "", None
    case = shown.case
    lines, saved = [], None
    name = _safe(f"{report.subject}-{case.id}")
    if folder is not None:
        try:
            saved = case.save(folder / f"{name}.npz")
            lines.append(f"case:   {_replay(failure, case, _relative(saved, root), root)}")
        except CrosscheckError as error:
            lines.append(f"case:   not saved: {error}")
    else:
        lines.append("case:   not saved, as you asked")
    lines.append(f"repeat: {repeat_line(report, shown)}")
    try:
        script = to_script(report, failure.implementation)
    except NoSource as reason:
        return [*lines, f"script: none: {reason}"], "", saved
    if folder is None or saved is None:
        return [*lines, "script: below"], script, saved
    path = folder / f"{name}.py"
    try:
        path.write_text(script, encoding="utf-8")
        lines.append(f"script: python {_relative(path, root)}")
    except OSError as error:
        lines.append(f"script: not saved: {error.strerror or error}")
    return lines, script, saved


def _replay(failure: Failure, case: Case, path: str, root: Path) -> str:
    """The command that replays the case, or how to load it where no command can."""
    layer, given = failure.report.layer, failure.implementation
    if layer.name not in catalogue or catalogue[layer.name] is not layer:
        return f"crosscheck.Case.load({path!r}, layer=…) of your own {layer.name}"
    if given is None:
        return f"crosscheck replay {path}"
    name = getattr(given, "__qualname__", "")
    try:
        file = inspect.getsourcefile(inspect.unwrap(given))
    except TypeError:
        file = None
    if not name.isidentifier() or file is None:
        return f"crosscheck.Case.load({path!r})"
    return f"crosscheck replay {path} {_relative(Path(file), root)}:{name}"


def _relative(path: Path, root: Path) -> str:
    try:
        return str(path.relative_to(root))
    except ValueError:
        return str(path)


def _safe(name: str) -> str:
    kept = "".join(ch if ch.isalnum() or ch in "=.,-_" else "_" for ch in name)
    return kept.strip("_")[:150]
