"""Which mistakes an exercise would not notice: its solution, broken in every small way, is judged.

A broken version that earns all points went unnoticed. Whether it is wrong at all is asked of the exercise
at full strength: all sizes drawn, every quantity worth points, a framework and the numeric derivative asked. What even that does
not see (a factor of the initial weights) changes nothing that is asked for, and is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from crosscheck.comparison import Verdict
from crosscheck.errors import UsageError
from crosscheck.exercises.exercise import Exercise, Item
from crosscheck.exercises.judging import Opener, drawn, judge
from crosscheck.exercises.marking import Result, Status
from crosscheck.exercises.mutants import mutants
from crosscheck.exercises.plants import Plant, plants
from crosscheck.exercises.reading import quantities
from crosscheck.submissions import read
from crosscheck.submissions.submission import Submission


@dataclass(frozen=True)
class Unnoticed:
    """A mistake that earns all points.

    Attributes:
        item: the item's title.
        label: what was done.
        shows: where the exercise at full strength sees it: ``grad_bias``.
    """

    item: str
    label: str
    shows: str


@dataclass(frozen=True)
class Trial:
    """What a test of an exercise comes to.

    Attributes:
        exercise: what was tested.
        solution: the result of the solution itself.
        noticed: how many mistakes cost points.
        unnoticed: those that cost none.
        without_effect: how many changes change nothing that is asked for.
        advice: sentences: why mistakes can go unnoticed.
    """

    exercise: Exercise
    solution: Result
    noticed: int
    unnoticed: tuple[Unnoticed, ...]
    without_effect: int
    advice: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether the solution earns all points and nothing else does."""
        return self.solution.verdict is Verdict.AGREE and not self.unnoticed


def trial(
    exercise: Exercise,
    *,
    seed: int = 0,
    opener: Opener | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Trial:
    """Test an exercise with its own solution.

    Args:
        exercise: one with a ``solution.py`` beside it.
        seed: names the cases.
        opener: opens workers, see `judge`.
        progress: called with what is tried, how much is done and how much there is.

    Raises:
        UsageError: it has no solution, or one that cannot be read.
    """
    if exercise.solution is None:
        raise UsageError(
            f"{exercise.title}: there is no solution.py beside the exercise to test it with"
        )
    submission = read(exercise.solution)
    if not submission.readable:
        raise UsageError("; ".join(submission.problems))
    result = judge(exercise, submission, seed=seed, opener=opener)
    strong = strengthened(exercise)
    tried: list[tuple[Item, str, Submission, Plant | None]] = []
    (path, text), *_ = submission.sources.items()
    for item in exercise.items:
        names = frozenset(n for name in item.manner.names for n in name.split("|"))
        for broken in mutants(text, names):
            sources = {**submission.sources, path: broken.text}
            tried.append((item, broken.label, replace(submission, sources=sources), None))
        for one in plants(item, drawn(item, seed)[0].problem):
            tried.append((item, f"{item.title}: {one.label}", submission, one))
    noticed, without, missed = 0, 0, []
    for number, (item, label, changed, plant) in enumerate(tried):
        if progress is not None:
            progress(label, number, len(tried))
        error = None if plant is None else plant.around
        of = _only(exercise, item.title)
        if judge(of, changed, seed=seed, opener=opener, plant=error).earned < of.points:
            noticed += 1
            continue
        full = judge(_only(strong, item.title), changed, seed=seed, opener=opener, plant=error)
        wrong = [m for i in full.items for m in i.marks if m.status is not Status.RIGHT]
        wrong = [m for m in wrong if m.status is not Status.UNCHECKED]
        if wrong:
            missed.append(Unnoticed(item.title, label, ", ".join(m.quantity for m in wrong)))
        else:
            without += 1
    return Trial(exercise, result, noticed, tuple(missed), without, tuple(advice(exercise)))


def strengthened(exercise: Exercise) -> Exercise:
    """The same exercise with nothing left out."""
    items = tuple(
        replace(
            item,
            sizes={},
            dtypes=("float64", "float32"),
            points=dict.fromkeys(quantities(drawn(replace(item, sizes={}), 0)[0].problem), 1.0),
        )
        for item in exercise.items
    )
    framework = exercise.against is not None and {"torch", "jax"} & set(exercise.against)
    against = tuple({*exercise.against, "numeric"}) if framework and exercise.against else None
    return replace(exercise, items=items, against=against, mismatch=0.0)


def advice(exercise: Exercise) -> list[str]:
    """Why mistakes can go unnoticed, as far as the exercise itself shows it."""
    found = []
    for item in exercise.items:
        known = quantities(drawn(item, 0)[0].problem)
        free = [q for q in known if not item.points.get(q)]
        if free:
            found.append(f"{item.title}: {', '.join(free)} earn{'s' * (len(free) == 1)} no points")
        for axis, size in item.sizes.items():
            if size == 1:
                found.append(
                    f"{item.title}: {axis} is always 1: sums, means and shapes over it look alike"
                )
        fixed = [*item.sizes.values()]
        if len(fixed) != len(set(fixed)):
            found.append(f"{item.title}: fixed sizes are equal: a transposed array can pass")
    if exercise.against is not None and not {"torch", "jax"} & set(exercise.against):
        found.append("against: numeric alone cannot see a wrong forward")
    if exercise.mismatch == 1:
        found.append("mismatch = 1: another scaling than the declared one costs nothing")
    return found


def _only(exercise: Exercise, title: str) -> Exercise:
    return replace(exercise, items=tuple(i for i in exercise.items if i.title == title))
