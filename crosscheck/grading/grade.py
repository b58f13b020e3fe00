"""A whole course: read, mark in isolation, journal, write. Stopped at any point, it goes on from there."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosscheck.errors import UsageError
from crosscheck.exercises import Exercise, find, load
from crosscheck.grading import formats, scheduling
from crosscheck.grading.journal import Journal
from crosscheck.grading.marker import Settings, extra, record
from crosscheck.grading.recording import Record
from crosscheck.grading.scheduling import Outcome, Task, fingerprint
from crosscheck.isolation import Level, shared
from crosscheck.isolation.text import one_line
from crosscheck.submissions import Entry, course

ORACLE = "oracle.npz"


@dataclass(frozen=True)
class Summary:
    """What a run came to.

    Attributes:
        students: how many submissions there are.
        marked: how many of them this run marked; the others were in the journal.
        level: how far submissions were cut off, at least.
        mean: the mean of the points.
        points: what could be earned.
        files: what was written.
        groups: near-identical failures, see `crosscheck.grading.groups`.
        failures: how many submissions could not be graded.
    """

    students: int
    marked: int
    level: str
    mean: float
    points: float
    files: tuple[str, ...]
    groups: tuple[dict[str, Any], ...]
    failures: int


def grade(
    exercise: str | os.PathLike[str],
    submissions: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    scheduler: str | None = None,
    processes: int | None = None,
    seed: int | None = None,
    oracle: str | os.PathLike[str] | None = None,
    require: str | None = None,
    everything: bool = False,
    write: Sequence[str] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    scripts: bool = True,
) -> Summary:
    """Grade a course.

    Args:
        exercise: a TOML file, a folder with one, or the name of a shipped exercise.
        submissions: a folder, or a zip of one, with one entry per student.
        out: where the journal and the results go; a run that was stopped is continued.
        executor: runs the marking; any `concurrent.futures.Executor` whose workers can import
            crosscheck. By default one process per core.
        scheduler: the address of a Dask scheduler to use instead.
        processes: how many processes on this machine.
        seed: names the hidden cases; drawn anew by default, and kept in the journal.
        oracle: a record of the frameworks' answers (`crosscheck record`); it brings its own seed.
        require: the isolation level below which nothing is run.
        everything: run notebooks' demonstrations too.
        write: the formats to write, of `formats.FORMATS`; all by default.
        progress: called with a student's name, how many are done, and how many there are.
        scripts: ask all questions of an item at once, and judge equal answers once. Same results,
            several times faster.

    Raises:
        UsageError: something cannot be read or written, or another run uses `out`.
        IsolationError: less isolation than required.
        MissingFramework: Dask or jinja2 is asked for and not installed.
    """
    wanted = formats.chosen(write)
    chosen = load(exercise)
    if require is not None:
        shared(extra(chosen)).require(Level.named(require))
    students = sorted(entry.student for entry in course(submissions))
    target = Path(out)
    given = None if oracle is None else Record.load(oracle)
    number = _seed(seed, given)
    with Journal(target, {"exercise": _digest(exercise)}, {"seed": number}) as journal:
        number = int(journal.facts["seed"])
        if seed is not None and seed != number:
            raise UsageError(f"{target} was begun with another seed: leave --seed away")
        settings = Settings(
            exercise=str(find(exercise)),
            seed=number,
            record=_record(chosen, number, given, target),
            level=require,
            everything=everything,
            scripts=scripts,
        )
        make, width = _executor(executor, scheduler, processes)
        todo = _todo(course(submissions), journal)
        marked = 0
        for outcomes in scheduling.run(
            settings, todo, make, width, _failed(chosen), executor is None
        ):
            fresh = [o for o in outcomes if not journal.marked(o["student"], o["fingerprint"])]
            journal.add(fresh)
            marked += len(fresh)
            if progress is not None and fresh:
                progress(fresh[-1]["student"], len(journal.done), len(students))
        return _written(journal, students, target, chosen, wanted, marked)


def _seed(seed: int | None, given: Record | None) -> int:
    if given is not None:
        recorded = int(given.facts.get("seed", 0))
        if seed is not None and seed != recorded:
            raise UsageError(f"the record was made with seed {recorded}: leave --seed away")
        return recorded
    return secrets.randbelow(1 << 31) if seed is None else seed


def _digest(exercise: str | os.PathLike[str]) -> str:
    path = find(exercise)
    digest = hashlib.blake2b(path.read_bytes(), digest_size=12)
    for beside in sorted(path.parent.glob("*.py")):
        digest.update(beside.name.encode() + beside.read_bytes())
    return digest.hexdigest()


def _record(exercise: Exercise, seed: int, given: Record | None, target: Path) -> bytes:
    """The oracles' answers: given, kept by an earlier run, or asked for now."""
    kept = target / ORACLE
    if given is not None:
        return given.to_bytes()
    if kept.is_file():
        found = Record.load(kept)
        if found.facts.get("seed") == seed:
            return kept.read_bytes()
    record(exercise, seed).save(kept)
    return kept.read_bytes()


def _executor(
    executor: Executor | None, scheduler: str | None, processes: int | None
) -> tuple[Callable[[], Executor], int]:
    if executor is not None:
        width = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
        return lambda: executor, int(width)
    return scheduling.cluster(scheduler) if scheduler else scheduling.processes(processes)


def _todo(entries: Iterable[Entry], journal: Journal) -> Iterator[Task]:
    for entry in entries:
        mark = fingerprint(entry)
        if not journal.marked(entry.student, mark):
            yield Task(entry, mark)


def _failed(exercise: Exercise) -> Callable[[Task, BaseException], Outcome]:
    def failed(task: Task, error: BaseException) -> Outcome:
        reason = (
            f"not graded: the grader's own process ended ({type(error).__name__}); mark by hand"
        )
        items: list[dict[str, Any]] = [
            {
                "item": item.title, "layer": item.layer.name, "earned": 0.0,
                "points": sum(item.points.values()), "problem": reason, "notes": [],
                "quantities": [],
            }
            for item in exercise.items
        ]  # fmt: skip
        result = {
            "format": "crosscheck-result", "format_version": 1, "exercise": exercise.title,
            "submission": one_line(task.entry.student), "verdict": "unchecked", "earned": 0.0,
            "points": exercise.points, "witnesses": {}, "problems": [reason], "notes": [],
            "items": items, "printed": "", "isolation": "none", "graded": False,
        }  # fmt: skip
        return {
            "student": task.entry.student, "fingerprint": task.fingerprint, "result": result,
        }  # fmt: skip

    return failed


def _written(
    journal: Journal,
    students: Sequence[str],
    target: Path,
    exercise: Exercise,
    wanted: Sequence[str],
    marked: int,
) -> Summary:
    from crosscheck.grading.groups import Groups

    groups = Groups()
    total, count, failures = 0.0, 0, 0
    levels: set[str] = set()
    for student, result in journal.results(students):
        groups.add(student, result)
        total += result["earned"]
        count += 1
        levels.add(result["isolation"])
        failures += not result.get("graded", True)
    facts = formats.Facts(
        title=exercise.title,
        points=exercise.points,
        students=count,
        mean=total / count if count else 0.0,
        level=_lowest(levels),
        groups=groups.found(),
    )
    files = formats.write(wanted, target, facts, lambda: journal.results(students))
    return Summary(
        count, marked, facts.level, facts.mean, facts.points, files, facts.groups, failures
    )


def _lowest(levels: set[str]) -> str:
    known = [level.name.lower() for level in Level]
    return min(levels, key=lambda name: known.index(name) if name in known else -1, default="none")
