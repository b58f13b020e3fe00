"""A submission against an exercise: worker, cases, comparison, marks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import Any

from crosscheck import sampling
from crosscheck.case import Case
from crosscheck.checking import check_cases
from crosscheck.evaluation import Implementation, ImplementationError, OneNumber
from crosscheck.exercises.exercise import Exercise, Item
from crosscheck.exercises.marking import ItemResult, Result, Status, failed, mark
from crosscheck.exercises.witness import Forgiving
from crosscheck.implementations import ORACLES, reference
from crosscheck.submissions.imports import without_imports
from crosscheck.submissions.submission import Submission
from crosscheck.versions import installed

#: Opens a worker: `crosscheck.isolation.open_worker`, or something like it.
Opener = Callable[..., AbstractContextManager[Any]]
#: Item title → the trusted implementations to compare with, by name.
Oracles = Mapping[str, Mapping[str, Implementation]]

#: What an item comes to, and whom it was compared with.
Judged = tuple[ItemResult, dict[str, str]]
Around = Callable[[Item, Any, Callable[[], Judged]], Judged]


def judge(
    exercise: Exercise,
    submission: Submission,
    *,
    seed: int = 0,
    opener: Opener | None = None,
    against: Sequence[str] | None = None,
    oracles: Oracles | None = None,
    around: Around | None = None,
    plant: Callable[[Implementation], Implementation] | None = None,
) -> Result:
    """Judge a submission. Whatever it does, this gives a result.

    Args:
        exercise: what is asked.
        submission: as it was read; it is run in a worker, never here.
        seed: names the cases.
        opener: opens the worker.
        against: the witnesses to ask, instead of the exercise's.
        oracles: trusted answers by item, instead of the frameworks'.
        around: called for every item with the item, the worker and what judges it; gives what that
            gives, or what is known already.
        plant: makes the witness that is compared of the submission's own, to plant an error in it.

    Raises:
        IsolationError: no worker can be started. No other error is the submission's doing.
    """
    started = time.perf_counter()
    if not submission.readable:
        reason = "; ".join(submission.problems) or "there is nothing in it"
        items = tuple(failed(item, reason) for item in exercise.items)
        return Result(exercise, submission.name, items, (reason,), submission.notes, seed=seed)
    allowed = without_imports(submission, exercise.imports)
    witnesses: dict[str, str] = {}
    problems = list(submission.problems)
    results: list[ItemResult] = []
    with _open(exercise, allowed, opener) as worker:
        failure = getattr(worker, "failure", None)
        if failure is not None:
            problems.append(str(failure))
        for item in exercise.items:
            one = partial(_item, exercise, item, worker, seed, against, oracles, plant)
            result, asked = one() if around is None else around(item, worker, one)
            witnesses |= asked
            results.append(result)
        printed = worker.output() if hasattr(worker, "output") else ""
    return Result(
        exercise,
        submission.name,
        tuple(results),
        tuple(problems),
        allowed.notes,
        printed,
        seed,
        witnesses,
        time.perf_counter() - started,
    )


def _open(
    exercise: Exercise, submission: Submission, opener: Opener | None
) -> AbstractContextManager[Any]:
    from crosscheck.isolation import Limits, open_worker

    limits = Limits(
        seconds=exercise.limits.seconds,
        total=exercise.limits.total,
        memory=int(exercise.limits.memory_mib * (1 << 20)),
        output=exercise.limits.output,
    )
    return (opener or open_worker)(submission.sources, limits=limits)


def _item(
    exercise: Exercise,
    item: Item,
    worker: Any,
    seed: int,
    against: Sequence[str] | None,
    oracles: Oracles | None,
    plant: Callable[[Implementation], Implementation] | None = None,
) -> tuple[ItemResult, dict[str, str]]:
    from crosscheck.isolation import Missing, WorkerDied

    names = [_chosen(name, getattr(worker, "names", ())) for name in item.manner.names]
    subject = Forgiving(
        lambda: worker.implementation(
            names, item.layer, convention=item.manner, name=item.manner.label
        ),
        item.for_submission,
        lambda error: isinstance(error, WorkerDied),
    )
    given = None if oracles is None else oracles.get(item.title)
    if given is None and not any(map(installed, ORACLES)):
        trusted = reference(item.layer)
        given = None if trusted is None else {"reference_nn": trusted}
    try:
        cases = drawn(item, seed)
        try:
            subject.bind(cases[0].problem)
        except Missing as error:
            return failed(item, str(error)), {}
        except OneNumber:
            pass  # the check takes square kernels then
        report = check_cases(
            item.layer,
            cases,
            subject if plant is None else plant(subject),
            against=against or exercise.against,
            oracles=given,
        )
    except ImplementationError as error:
        return failed(item, str(error), Status.RAISED), {}
    return mark(exercise, item, report), dict(report.witnesses)


def _chosen(names: str, defined: Sequence[str]) -> str:
    """Of the names that an exercise accepts, the one that is there."""
    accepted = names.split("|")
    return next((name for name in accepted if name in defined), accepted[0])


@cache
def drawn(item: Item, seed: int) -> tuple[Case, ...]:
    """The cases of an item: the same for every submission of a run, so they are drawn once."""
    return tuple(
        sampling.cases(
            item.layer, options=item.options, sizes=item.sizes, dtypes=item.dtypes, seed=seed
        )
    )
