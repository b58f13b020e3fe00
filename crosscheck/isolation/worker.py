"""The parent's end of a worker: an `Implementation` whose code runs elsewhere."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from crosscheck.evaluation import ImplementationError, NotOffered, OneNumber
from crosscheck.isolation.failures import IsolationError, ProtocolViolation, TimedOut, WorkerDied
from crosscheck.isolation.hardening.levels import Level
from crosscheck.isolation.hardening.limits import Limits
from crosscheck.isolation.launch import Zygote, shared
from crosscheck.isolation.protocol import (
    MAX_TEXT,
    BadFrame,
    Entry,
    Frame,
    Kind,
    Reader,
    Status,
    decode,
    encode,
)
from crosscheck.isolation.remote import RemoteImplementation
from crosscheck.isolation.stream import Stream
from crosscheck.isolation.text import printable
from crosscheck.spec import Layer

#: A convention: None for the notebook's, ``module:name`` of one that ships with crosscheck, a
#: function that ships with it, the text of one and its name, or a whole `Manner`.
Convention: TypeAlias = Any


#: A reply, or what `Worker.ask` would raise instead.
Answer: TypeAlias = "Frame | ImplementationError | NotOffered"
#: Seconds that a worker may take to be made ready.
READY = 30.0


@dataclass(frozen=True)
class Request:
    """A request, encoded.

    Attributes:
        data: the frame.
        kind, sequence: as in the frame; the reply has them too.
        room: bytes of arrays that the reply needs.
    """

    data: bytes
    kind: Kind
    sequence: int
    room: int


@contextmanager
def open_worker(
    sources: str | Mapping[str, str],
    *,
    limits: Limits | None = None,
    convention: Convention = None,
    zygote: Zygote | None = None,
    imports: Sequence[str] = (),
    require: Level | str | None = None,
) -> Iterator[Worker]:
    """A worker that has run the sources; ended on leaving.

    Args:
        sources: the submission's text, or file name → text, run in that order; the files can import
            each other. Never run in this process.
        limits: what it may use.
        convention: how its code is called, unless `Worker.implementation` says otherwise.
        zygote: where the worker comes from; this process's own by default.
        imports: modules beyond NumPy and the standard library that it may import.
        require: the isolation level below which nothing is run.

    Raises:
        IsolationError: no worker can be started, or not at that level. Whatever the submission does is no
            exception here: see `Worker.failure`.
    """
    files = {"submission.py": sources} if isinstance(sources, str) else dict(sources)
    source = zygote or shared(tuple(imports))
    source.require(require)
    worker = Worker(files, limits or Limits(), convention, source)
    try:
        yield worker
    finally:
        worker.close()


class Worker:
    """One submission, loaded in a process of its own.

    When the process ends before its time, the next item gets a new one; the item that ended it
    stays failed.

    Attributes:
        failure: what went wrong when the sources were run, or None. What was defined before it is there.
        names: the classes and functions that the submission defines.
    """

    def __init__(
        self, sources: Mapping[str, str], limits: Limits, convention: Convention, zygote: Zygote
    ) -> None:
        self.sources = dict(sources)
        self.limits = limits
        self.convention = convention
        self.zygote = zygote
        self.failure: ImplementationError | None = None
        self.names: tuple[str, ...] = ()
        self.spent = 0.0
        self.generation = 0
        self.learnt: frozenset[str] = frozenset()
        self._stream: Stream | None = None
        self._pid = 0
        self._sequence = 0
        self._called: list[str] = []
        self._start()

    def _start(self) -> None:
        self.generation += 1
        self.learnt = self.zygote.learnt
        end, self._pid = self.zygote.fork(self.limits)
        self._stream = Stream(end)
        self._stream.deadline = time.monotonic() + READY
        try:
            ready = Reader(self._stream.read, 0).frame()
        except (TimeoutError, EOFError, OSError, BadFrame):
            ready = None
        if ready is None or ready.kind is not Kind.READY:  # nothing of the submission has run yet
            raise IsolationError(f"a worker could not be made ready: {_how(self._stop(0.5))}")
        try:
            reply = self.ask(Kind.LOAD, json.dumps(self.sources))
            names, _, failure = reply.text.partition("\0")
            self.names = tuple(n for n in names.split("\n") if n.isidentifier())[:500]
            if failure:
                self.failure = ImplementationError(printable(failure))
        except ImplementationError as error:
            self.failure = error

    def implementation(
        self,
        item: str | Sequence[str],
        layer: Layer | None = None,
        *,
        convention: Convention = None,
        strict: bool = False,
        name: str = "",
    ) -> RemoteImplementation:
        """What the submission defines under a name, behind the protocol.

        Args:
            item: the class's or function's name; several names for a convention that takes
                several; none for one that takes the whole module.
            layer: what it should compute; unused until it is bound to a problem of it.
            convention: how it is called.
            strict: refuse options that it does not have.
            name: what reports call it; the first item's name by default.

        Nothing is raised here: `bind` says what is missing or broken.
        """
        items = (item,) if isinstance(item, str) else tuple(item)
        called = name or (items[0] if items else "submission")
        chosen = convention if convention is not None else self.convention
        key = f"{called}/{sum(other == called for other in self._called)}"
        self._called.append(called)
        return RemoteImplementation(self, items, called, chosen, strict, key)

    @property
    def level(self) -> Level:
        """How far it is cut off."""
        return self.zygote.level

    @property
    def alive(self) -> bool:
        """Whether the process still answers."""
        return self._stream is not None

    def revive(self) -> None:
        """A new process for the same sources, if the last one has ended.

        Raises:
            ImplementationError: running the sources is what ended it, or the time is used up.
        """
        if self.alive:
            return
        if isinstance(self.failure, WorkerDied):
            raise self.failure
        if self.spent >= self.limits.total:
            raise TimedOut(f"the submission had used its {self.limits.total:g} s before this")
        self._start()

    def output(self) -> str:
        """What the submission printed, capped and harmless."""
        if not self.alive:
            return ""
        try:
            return printable(self.ask(Kind.OUTPUT).text, limit=self.limits.output, lines=500)
        except ImplementationError:
            return ""

    def ask(
        self, kind: Kind, text: str = "", entries: Sequence[Entry] = (), room: int = 0
    ) -> Frame:
        """One request and its reply.

        Args:
            kind, text, entries: the request.
            room: bytes of arrays that the reply needs.

        Raises:
            WorkerDied, TimedOut, ProtocolViolation: the process has ended or was ended.
            ImplementationError: the submission's own exception.
            NotOffered: it lacks an option.
        """
        self._sequence += 1
        request = encode(Frame(kind, self._sequence, tuple(entries), text))
        with self._timed() as stream:
            try:
                stream.send(request)
                reply = Reader(stream.read, 0).frame(self.limits.reply + room)
            except (TimeoutError, EOFError, OSError, BadFrame) as error:
                raise self._ended(error) from None
            return self._checked(reply, kind, self._sequence)

    def converse_raw(self, requests: Sequence[Request], name: str = "") -> tuple[bytes, list[int]]:
        """Many requests at once, each already encoded.

        Args:
            requests: in order.
            name: what the zygote may have learnt them under: then they are not sent.

        Returns:
            The raw replies, one after the other, and where each ends.

        Raises:
            WorkerDied, TimedOut, ProtocolViolation: the process ended, or was, before it had
                answered all of them.
        """
        if name in self.learnt:
            sent = encode(Frame(Kind.LEARNT, 0, text=name))
        else:
            sent = b"".join(request.data for request in requests)
        with self._timed() as stream:
            raw, ends, error = stream.exchange(
                sent,
                [self.limits.reply + request.room for request in requests],
                self.limits.seconds,
                MAX_TEXT,
            )
        if error is not None:
            raise self._ended(error)
        return raw, ends

    def answers(self, requests: Sequence[Request], raw: bytes, ends: list[int]) -> list[Answer]:
        """Raw replies as what `ask` would have given or raised for each.

        Raises:
            ProtocolViolation: one of them is no answer.
        """
        found: list[Answer] = []
        for request, start, end in zip(requests, [0, *ends], ends, strict=False):
            try:
                reply = decode(raw[start:end])
                found.append(self._checked(reply, request.kind, request.sequence))
            except WorkerDied:
                raise
            except (ImplementationError, NotOffered) as raised:
                found.append(raised)
            except BadFrame as bad:
                raise self._ended(bad) from None
        return found

    def _checked(self, reply: Frame, kind: Kind, sequence: int) -> Frame:
        if reply.kind is not kind or reply.sequence != sequence:
            raise self._ended(BadFrame("an answer to another question"))
        if reply.status is Status.DONE:
            return reply
        message = printable(reply.text)
        if reply.status is Status.ONE_NUMBER:
            raise OneNumber(message)
        if reply.status is Status.NOT_OFFERED:
            raise NotOffered(message)
        raise ImplementationError(message)

    @contextmanager
    def _timed(self) -> Iterator[Stream]:
        """The stream, with a deadline; what passes until it is given back is spent."""
        if self._stream is None:
            raise WorkerDied("the submission's process has ended")
        seconds = min(self.limits.seconds, self.limits.total - self.spent)
        if seconds <= 0:
            raise self._ended(TimeoutError())
        started = time.monotonic()
        self._stream.deadline = started + seconds
        try:
            yield self._stream
        finally:
            self.spent += time.monotonic() - started

    def _ended(self, error: Exception) -> WorkerDied:
        """End the process; what has happened, as an exception to raise."""
        if isinstance(error, BadFrame):
            self._stop()
            return ProtocolViolation(
                f"the submission's process sent something else than an answer: {error}"
            )
        if isinstance(error, TimeoutError):
            self._stop()
            return TimedOut(f"stopped after {self.limits.seconds:g} s: an endless loop, perhaps")
        return WorkerDied(_how(self._stop(patience=0.5)))

    def violation(self, what: str) -> ProtocolViolation:
        """End the process for an answer that cannot be one."""
        found = self._ended(BadFrame(what))
        assert isinstance(found, ProtocolViolation)
        return found

    def _stop(self, patience: float = 0.0) -> dict[str, Any]:
        if self._stream is None:
            return {"status": 0}
        self._stream.close()
        self._stream = None
        return self.zygote.end(self._pid, patience)

    def close(self) -> None:
        """End the process."""
        self._stop()


def _how(found: Mapping[str, Any]) -> str:
    status = int(found.get("status", 0))
    if found.get("killed"):
        return "the submission closed its connection to the grader"
    if status < 0:
        known = {int(s): s.name for s in signal.Signals}
        name = known.get(-status, f"signal {-status}")
        why = {
            "SIGXCPU": "its processor time was up",
            "SIGKILL": "killed from outside, probably for memory",
            "SIGSEGV": "a memory fault",
        }.get(name, "")
        return f"the submission's process was ended by {name}" + (f": {why}" if why else "")
    return f"the submission ended its process with exit code {status}"
