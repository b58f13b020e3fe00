"""An exercise as data: what is asked, how it is called, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crosscheck.implementations.manner import Manner
from crosscheck.spec import Layer, Problem

#: The quantity that stands for all clauses of `crosscheck.contract`.
CONTRACT = "contract"
#: What students may be shown, from least to most.
SHOW = ("verdict", "hints", "causes")
#: What may be imported unless the exercise says otherwise.
IMPORTS = (
    "numpy", "math", "typing", "dataclasses", "abc", "collections", "functools", "itertools",
    "copy", "enum", "random", "operator", "warnings", "__future__",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: wall-clock time of one call.
        total: wall-clock time of all calls together.
        memory_mib: mebibytes of memory on top of an empty worker's.
        output: characters of printed output that are kept.
    """

    seconds: float = 5.0
    total: float = 30.0
    memory_mib: float = 512.0
    output: int = 20_000


@dataclass(frozen=True, eq=False)
class Item:
    """One thing that a submission has to define.

    Attributes:
        title: what it is called in results.
        layer: what it has to compute.
        manner: how it is found and called.
        options: the layer's options that it is written for.
        sizes: axes with a fixed size; the others are drawn.
        dtypes: in which dtypes it is called.
        points: quantity (``output``, ``grad_x``, …, ``contract``) → points; what is not in it is
            not asked for.
    """

    title: str
    layer: Layer
    manner: Manner
    options: Mapping[str, Any]
    sizes: Mapping[str, int]
    dtypes: tuple[str, ...]
    points: Mapping[str, float]

    def for_submission(self, problem: Problem) -> Problem:
        """The problem as the submission's constructor is to see it."""
        layer = problem.layer
        wanted = self.manner.constructor
        if wanted is not None:
            layer = replace(layer, constructor=tuple(_argument(word) for word in wanted))
        elif any("." in name for name in problem.parameters):
            layer = replace(layer, constructor=())  # a network's own takes objects of ours
        return Problem(layer, dict(problem.options), problem.sizes)


def _argument(word: str | int) -> Any:
    return word if isinstance(word, str) else lambda problem: word


@dataclass(frozen=True, eq=False)
class Exercise:
    """A whole exercise.

    Attributes:
        title: one line.
        items: what a submission has to define, in order.
        description: what students are told, free text.
        limits: what a submission may use.
        imports: the top-level modules that it may import; others are left out, and it is told.
        show: of `SHOW`: verdicts alone; hints where to look; the probable mistake in words.
        against: the witnesses to ask; all that are installed if None.
        mismatch: the share of a quantity's points that another convention than the declared one
            still earns.
        solution: the text of the teacher's own solution, None if there is none.
        file: where it was read from.
    """

    title: str
    items: tuple[Item, ...]
    description: str = ""
    limits: Limits = field(default_factory=Limits)
    imports: tuple[str, ...] = IMPORTS
    show: str = "hints"
    against: tuple[str, ...] | None = None
    mismatch: float = 0.5
    solution: Path | None = None
    file: Path | None = None

    @property
    def points(self) -> float:
        """What can be earned at most."""
        return sum(sum(item.points.values()) for item in self.items)
