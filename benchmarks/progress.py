"""A progress bar on the terminal, a silent loop elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, what: str, done: int = 0) -> Iterator[Item]:
    """The items, with a bar that counts them.

    Args:
        items: what to loop over.
        total: how many there are, those of an earlier run included.
        what: what the bar is called.
        done: how many an earlier run has done.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        if not bar.console.is_terminal:
            bar.disable = True
        task = bar.add_task(what, total=total, completed=done)
        for item in items:
            yield item
            bar.advance(task)
