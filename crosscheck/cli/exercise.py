"""``crosscheck exercise``: write one, test one, show one."""

from __future__ import annotations

import click


@click.group()
def exercise() -> None:
    """Exercises for `crosscheck check` and `crosscheck grade`: new, test, show."""
