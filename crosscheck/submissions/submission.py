"""A submission as data: texts and what was noticed on reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: A text longer than this is no exercise.
MOST_TEXT = 1 << 20


class Unreadable(Exception):
    """A file that cannot be read as a submission; the message is for the person who handed it in."""


@dataclass(frozen=True)
class Submission:
    """One person's code.

    Attributes:
        name: the file's or student's name, as it is shown.
        sources: file name → Python text, in the order in which they are to be run; a file that
            another one imports comes first. Empty if it is unreadable.
        problems: sentences: why it cannot be read, or what was left out.
        notes: what was done on reading: ``3 demonstration cells are not run``.
    """

    name: str
    sources: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether there is anything to run."""
        return bool(self.sources)
