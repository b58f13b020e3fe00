"""Marks one submission after the other, in one process: worker, script, judging, plain data."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck.comparison import Comparison
from crosscheck.evaluation import Implementation
from crosscheck.exercises import Exercise, Item, ItemResult, judge
from crosscheck.exercises.judging import Judged, drawn
from crosscheck.exercises.marking import plain
from crosscheck.finding import Finding
from crosscheck.grading.recording import Record, rehearse
from crosscheck.grading.rehearsal import FIRST, Deviated, Encore, Rehearsed
from crosscheck.grading.script import Script
from crosscheck.implementations import ORACLES, oracle, reference
from crosscheck.isolation import IsolationError, Level, Limits, Worker, Zygote, open_worker, shared
from crosscheck.isolation.text import one_line, printable
from crosscheck.spec import Layer
from crosscheck.submissions import Submission
from crosscheck.versions import installed, versions

#: So many different sets of answers are remembered per process.
REMEMBERED = 2048
#: Scripts whose lengths differ by less are as good as each other.
LONGER = 1.1
#: A zygote learns so many bytes of questions; what is beyond is sent to each worker that is asked it.
LEARNT = 8 << 20


def record(exercise: Exercise, seed: int) -> Record:
    """Ask the installed frameworks everything that marking under a seed may ask them.

    Where no framework is installed, or has a twin, reference_nn's layer answers.
    """
    found = Record(facts={"exercise": exercise.title, "seed": seed, "versions": versions()})
    for number, item in enumerate(exercise.items):
        own = reference(item.layer)
        oracles = {
            name: twin
            for name in ORACLES
            if installed(name)
            and (exercise.against is None or name in exercise.against)
            and (twin := oracle(name, item.layer)) is not None
        }
        if not oracles and own is not None:
            oracles = {"reference_nn": own}
        if not oracles:
            continue
        subject = own or next(iter(oracles.values()))
        heard = Record()
        rehearse(drawn(item, seed), heard.listen(oracles), subject)
        for name, answers in heard.answers.items():
            found.answers[f"{number}/{name}"] = answers
    return found


def recorded(exercise: Exercise, kept: Record, seed: int) -> dict[str, dict[str, Implementation]]:
    """Item title → recorded oracles, for `crosscheck.exercises.judge`.

    Raises:
        CaseError: the record was made for another exercise or another seed.
    """
    found = {}
    for number, item in enumerate(exercise.items):
        own = kept.oracles(f"{number}/", reference(item.layer))
        if own:
            kept.require(drawn(item, seed), f"{number}/")
            found[item.title] = own
    return found


@dataclass(frozen=True)
class Settings:
    """Everything that a marking process is told.

    Attributes:
        exercise: a file, folder or name, as `crosscheck.exercises.load` takes it.
        seed: names the cases; nobody who hands in knows it.
        record: the oracles' answers (`Record.to_bytes`).
        level: the isolation level below which nothing is run, or None.
        everything: run notebooks' demonstrations too.
        scripts: ask all questions of an item at once, and mark equal answers once.
        without: measures of isolation to leave out, for trials.
    """

    exercise: str
    seed: int
    record: bytes
    level: str | None = None
    everything: bool = False
    scripts: bool = True
    without: tuple[str, ...] = ()


class Marker:
    """Marks submissions of one exercise.

    Args:
        exercise: what is asked.
        settings: how.
    """

    def __init__(self, exercise: Exercise, settings: Settings) -> None:
        self.exercise = exercise
        self.settings = settings
        self.oracles = recorded(exercise, Record.from_bytes(settings.record), settings.seed)
        self.scripts: dict[tuple[str, ...], Script] = {}
        self.zygote = self._zygote()
        self.remembered: OrderedDict[tuple[str, bytes], tuple[Judged, Encore]] = OrderedDict()
        self.lengths: dict[tuple[str, ...], tuple[int, bool]] = {}
        self.met = 0

    def _zygote(self) -> Zygote:
        modules, without = extra(self.exercise), self.settings.without
        found = Zygote(modules, without) if without else shared(modules)
        found.require(self.settings.level)
        found.warm()
        self.taught = 0
        return found

    @property
    def level(self) -> Level:
        """How far submissions are cut off."""
        return self.zygote.level

    def mark(self, submission: Submission) -> dict[str, Any]:
        """The result as plain data; whatever the submission does, there is one.

        Raises:
            RuntimeError: the process that workers come from ended over it, twice: marked by hand it
                is, and the next one is marked as ever.
        """
        for _ in range(2):
            try:
                return self._marked(submission)
            except IsolationError:
                if self.zygote.usable:
                    raise
                self.zygote = self._zygote()  # the memory ran out, perhaps, and it was chosen
                for script in self.scripts.values():
                    self._teach(script)
        raise RuntimeError("the process that workers come from ended twice")

    def _marked(self, submission: Submission) -> dict[str, Any]:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = judge(
                self.exercise,
                submission,
                seed=self.settings.seed,
                opener=self._open,
                oracles=self.oracles,
                around=self._item,
            )
            data = plain(result)
        del (
            data["seconds"],
            data["seed"],
        )  # no student is told, and a second run is to give the same
        data["submission"] = one_line(result.name)
        data["problems"] = [printable(text, 2000) for text in data["problems"]]
        data["notes"] = [printable(text, 500) for text in data["notes"]]
        data["printed"] = printable(result.printed, 2000, 30)
        data["isolation"] = self.level.name.lower()
        return data

    @contextmanager
    def _open(self, sources: Mapping[str, str], *, limits: Limits) -> Iterator[Rehearsing]:
        with open_worker(sources, limits=limits, zygote=self.zygote) as worker:
            yield Rehearsing(worker)

    def _item(self, item: Item, worker: Rehearsing, judged: Callable[[], Judged]) -> Judged:
        if not self.settings.scripts:
            return judged()
        names = (item.title, *worker.present(item.manner.names))
        script = self.scripts.get(names)
        answers = worker.rehearse(item, script)
        key = (item.title, answers or b"")
        if answers is not None and key in self.remembered:
            known, asked = self.remembered[key]
            if worker.repeats(asked):
                self.met += 1
                self.remembered.move_to_end(key)
                return known
        try:
            found, witnesses = judged()
        except Deviated:
            worker.forget()
            found, witnesses = judged()
        light = _light(found), witnesses
        heard = worker.heard()
        right = found.points > 0 and found.earned == found.points
        if worker.alive and heard and self._serves(names, len(heard), right):
            self._scripted(names, Script.of(heard, FIRST))
            self.lengths[names] = len(heard), right
        elif answers is not None and (encore := worker.encore()) is not None:
            self.remembered[key] = light, encore
            self._teach(encore.script)
            if len(self.remembered) > REMEMBERED:
                self.remembered.popitem(last=False)
        return light

    def _serves(self, names: tuple[str, ...], length: int, right: bool) -> bool:
        """Whether what was asked makes a better script than the one that there is.

        Best is the shortest that a right submission was asked: what is asked only to find out what is
        wrong, or of few, is not in it. Until there is one, the longest.
        """
        before, settled = self.lengths.get(names, (0, False))
        if settled:
            return right and length * LONGER < before
        return right or length > before * LONGER

    def _teach(self, script: Script) -> None:
        """Have a script's questions known to every worker to come."""
        size = len(script.data)
        if size and script.name not in self.zygote.learnt and self.taught + size <= LEARNT:
            self.zygote.learn(script.name, script.data)
            self.taught += size

    def _scripted(self, names: tuple[str, ...], script: Script) -> None:
        """From now on this is asked; what was remembered of another script is worth nothing."""
        self.scripts[names] = script
        self._teach(script)
        for key in [key for key in self.remembered if key[0] == names[0]]:
            del self.remembered[key]


class Rehearsing:
    """A worker whose next implementation has been asked a script already."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._ready: Rehearsed | None = None
        self._first: Rehearsed | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.worker, name)

    def present(self, names: Sequence[str]) -> tuple[str, ...]:
        """Of the names that an exercise accepts for each thing, the one that is there."""
        return tuple(
            next((n for n in some.split("|") if n in self.worker.names), "") for some in names
        )

    def rehearse(self, item: Item, script: Script | None) -> bytes | None:
        """Ask a script ahead of `implementation`; the digest of the answers, if they are all there."""
        names = self.present(item.manner.names)
        self._first = None
        self._ready = self._make(names, item, script)
        return self._ready.rehearse()

    def _make(self, names: Sequence[str], item: Item, script: Script | None) -> Rehearsed:
        found = self.worker.implementation(
            names, item.layer, convention=item.manner, name=item.manner.label
        )
        return Rehearsed.around(found, script)

    def implementation(
        self, names: Sequence[str], layer: Layer | None = None, **options: Any
    ) -> Any:
        """What was rehearsed, the first time; then what `Worker.implementation` gives."""
        ready, self._ready = self._ready, None
        if ready is None:
            return self.worker.implementation(names, layer, **options)
        if ready.items != tuple(names):  # something is missing: asked for, it says so
            return self.worker.implementation(names, layer, **options)
        self._first = ready
        return ready

    def repeats(self, encore: Encore) -> bool:
        """Whether what was rehearsed answers the same beyond the script, too."""
        same = self._ready is not None and self._ready.repeats(encore)
        if not self.worker.alive:
            self.forget()
        return same

    def encore(self) -> Encore | None:
        """What was asked beyond the script in the last check; None if there was no whole check."""
        return self._first.encore() if self._first is not None else None

    def heard(self) -> list[Any]:
        """What was asked of the implementation of the last rehearsal."""
        return self._first.heard if self._first is not None else []

    def forget(self) -> None:
        """No more answers from the script."""
        self._ready = self._first = None


def extra(exercise: Exercise) -> tuple[str, ...]:
    """The modules of an exercise that a zygote does not have anyway, and may have."""
    from crosscheck.isolation.preload import NUMPY, REFUSED, STANDARD

    there = {*NUMPY, *STANDARD}
    return tuple(n for n in exercise.imports if n not in there and n not in REFUSED)


def _light(found: ItemResult) -> ItemResult:
    """The same without arrays: what is remembered is to stay small."""
    marks = tuple(
        replace(mark, finding=None if mark.finding is None else _lighter(mark.finding))
        for mark in found.marks
    )
    return replace(found, marks=marks)


def _lighter(finding: Finding) -> Finding:
    def bare(comparison: Comparison) -> Comparison:
        return replace(comparison, got=None, expected=None)

    return replace(finding, comparisons=tuple(bare(c) for c in finding.comparisons[:1]))
