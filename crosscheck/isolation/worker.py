"""The parent's end of a worker: an `Implementation` whose code runs elsewhere."""

from __future__ import annotations

import difflib
import json
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from crosscheck.evaluation import Evaluation, ImplementationError, NotOffered
from crosscheck.implementations.manner import Manner
from crosscheck.isolation.description import describe
from crosscheck.isolation.failures import (
    IsolationError,
    Missing,
    ProtocolViolation,
    TimedOut,
    WorkerDied,
)
from crosscheck.isolation.hardening.levels import Level
from crosscheck.isolation.hardening.limits import Limits
from crosscheck.isolation.launch import Zygote, shared
from crosscheck.isolation.protocol import (
    NONE,
    BadFrame,
    Entry,
    Frame,
    Kind,
    Layout,
    Reader,
    Role,
    Status,
    encode,
    native,
)
from crosscheck.isolation.text import one_line, printable
from crosscheck.spec import Array, Layer, Problem, Values

#: A convention: None for the notebook's, ``module:name`` of one that ships with crosscheck, a
#: function that ships with it, the text of one and its name, or a whole `Manner`.
Convention: TypeAlias = Any


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
        self._stream: socket.socket | None = None
        self._pid = 0
        self._sequence = 0
        self._start()

    def _start(self) -> None:
        self.generation += 1
        self._stream, self._pid = self.zygote.fork(self.limits)
        self._reader = Reader(self._read, self.limits.reply)
        try:
            self._receive(Kind.READY, 0, max(self.limits.seconds, 30.0), 0)
        except ImplementationError as error:  # nothing of the submission has run yet
            raise IsolationError(f"a worker could not be made ready: {error}") from None
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
        return RemoteImplementation(self, items, called, chosen, strict)

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
        if self._stream is None:
            raise WorkerDied("the submission's process has ended")
        seconds = min(self.limits.seconds, self.limits.total - self.spent)
        if seconds <= 0:
            raise self._ended(timed_out=True)
        self._sequence += 1
        frame = Frame(kind, self._sequence, tuple(entries), text)
        started = time.monotonic()
        self._deadline = started + seconds
        try:
            self._send(encode(frame))
            reply = self._receive(kind, self._sequence, seconds, room)
        finally:
            self.spent += time.monotonic() - started
        message = printable(reply.text) if kind is not Kind.OUTPUT else reply.text
        if reply.status is Status.NOT_OFFERED:
            raise NotOffered(message)
        if reply.status is not Status.DONE:
            raise ImplementationError(message)
        return reply

    def _send(self, data: bytes) -> None:
        assert self._stream is not None
        try:
            self._stream.settimeout(max(0.001, self._deadline - time.monotonic()))
            self._stream.sendall(data)
        except TimeoutError:
            raise self._ended(timed_out=True) from None
        except OSError:
            raise self._ended() from None

    def _receive(self, kind: Kind, sequence: int, seconds: float, room: int) -> Frame:
        self._deadline = time.monotonic() + seconds
        try:
            reply = self._reader.frame(self.limits.reply + room)
        except TimeoutError:
            raise self._ended(timed_out=True) from None
        except (EOFError, OSError):
            raise self._ended() from None
        except BadFrame as error:
            raise self._violation(str(error)) from None
        if reply.kind is not kind or reply.sequence != sequence:
            raise self._violation("an answer to another question")
        return reply

    def _read(self, count: int) -> bytes:
        stream = self._stream
        assert stream is not None
        parts = bytearray()
        while len(parts) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            stream.settimeout(left)
            part = stream.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _violation(self, what: str) -> ProtocolViolation:
        self._stop()
        return ProtocolViolation(
            f"the submission's process sent something else than an answer: {what}"
        )

    def _ended(self, timed_out: bool = False) -> WorkerDied:
        status = self._stop(0.0 if timed_out else 0.5)
        if timed_out:
            return TimedOut(f"stopped after {self.limits.seconds:g} s: an endless loop, perhaps")
        return WorkerDied(_how(status))

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
        name = signal.Signals(-status).name
        why = {
            "SIGXCPU": "its processor time was up",
            "SIGKILL": "killed from outside, probably for memory",
            "SIGSEGV": "a memory fault",
        }.get(name, "")
        return f"the submission's process was ended by {name}" + (f": {why}" if why else "")
    return f"the submission ended its process with exit code {status}"


class RemoteImplementation:
    """An implementation in a worker."""

    def __init__(
        self,
        worker: Worker,
        items: tuple[str, ...],
        name: str,
        convention: Convention,
        strict: bool,
    ) -> None:
        self.worker = worker
        self.items = items
        self._name = name
        self.convention = convention
        self.strict = strict
        self.dead: WorkerDied | None = None
        self._number: tuple[int, int] | None = None
        self.taken = ""
        self.notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    def bind(self, problem: Problem) -> RemoteBound:
        """Construct it in the worker.

        Raises:
            NotOffered: it lacks an option.
            Missing: the submission does not define it.
            ImplementationError: its constructor raised, or it ended the process before.
        """
        number = self._define()
        reply = self.ask(Kind.BIND, f"{number}\n{describe(problem)}")
        self.notes = tuple(one_line(line) for line in reply.text.split("\n")[1:9] if line)
        return RemoteBound(self, problem, self._integer(reply), self.worker.generation)

    def _define(self) -> int:
        if self.dead is not None:
            raise self.dead
        self.worker.revive()
        if self._number is not None and self._number[0] == self.worker.generation:
            return self._number[1]
        for item in self.items:
            if item not in self.worker.names and self.worker.failure is not None:
                raise self.worker.failure
            if item not in self.worker.names:
                near = difflib.get_close_matches(item, self.worker.names, 3, 0.5)
                hint = f"; it defines {', '.join(near)}" if near else ""
                raise Missing(f"the submission does not define {item}{hint}", item, tuple(near))
        convention = self.convention
        if isinstance(convention, Manner):
            convention = {"manner": convention.to_json()}
        elif callable(convention):
            convention = f"{convention.__module__}:{convention.__name__}"
        request = {
            "names": self.items, "convention": convention, "strict": self.strict, "called": self._name
        }  # fmt: skip
        reply = self.ask(Kind.DEFINE, json.dumps(request))
        _, _, self.taken = one_line(reply.text).partition(" ")
        self._number = (self.worker.generation, self._integer(reply))
        return self._number[1]

    def _integer(self, reply: Frame) -> int:
        first = reply.text.partition("\n")[0]
        if not first.isascii() or not first.isdigit() or len(first) > 9:
            raise self.worker._violation("no number where one was asked for")
        return int(first)

    def ask(self, *arguments: Any) -> Frame:
        """`Worker.ask`; whoever ends the process stays failed."""
        if self.dead is not None:
            raise self.dead
        try:
            return self.worker.ask(*arguments)
        except WorkerDied as error:
            self.dead = error
            raise


class RemoteBound:
    """A bound implementation in a worker.

    Attributes:
        aliases: of the last evaluation, quantity → the given array that it shares memory with,
            as the worker says.
    """

    def __init__(
        self, implementation: RemoteImplementation, problem: Problem, number: int, generation: int
    ) -> None:
        self.implementation = implementation
        self.problem = problem
        self.number = number
        self.generation = generation
        self.given = tuple(problem.given)
        self.outputs = (*problem.outputs, *problem.buffers)
        self.wanted = problem.differentiable
        self.cotangents = problem.differentiable_outputs
        self.aliases: dict[str, str] = {}
        shapes = problem.shapes()
        # Everything once more, in the widest dtype: outputs, gradients, and what was changed.
        self.room = 16 * 3 * sum(int(np.prod(s, dtype=np.int64)) for s in shapes.values())

    def forward(self, values: Values) -> Mapping[str, Array]:
        """The forward pass in the worker. `values` stay as they are."""
        reply = self._ask(Kind.FORWARD, values, {})
        return self._read(reply, values, {}).outputs

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on a newly constructed layer.

        What the submission did to its copies of the arguments is done to `values` and `cotangents`
        too, so that whoever looks for a change sees it; read-only arrays stay as they are.
        """
        return self._read(self._ask(Kind.VJP, values, cotangents), values, cotangents)

    def again(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on the layer of the call before."""
        return self._read(self._ask(Kind.AGAIN, values, cotangents), values, cotangents)

    def reread(self) -> Evaluation:
        """The arrays of the last answer as they are in the worker now."""
        return self._read(self._ask(Kind.REREAD, {}, {}), {}, {})

    def _ask(self, kind: Kind, values: Values, cotangents: Values) -> Frame:
        if self.generation != self.implementation.worker.generation:
            raise WorkerDied("the submission's process has ended since")
        entries = [
            Entry(Role.VALUE, i, values[name], _layout(values[name]))
            for i, name in enumerate(self.given)
            if name in values
        ]
        entries += [
            Entry(Role.COTANGENT, i, cotangents[name], _layout(cotangents[name]))
            for i, name in enumerate(self.cotangents)
            if name in cotangents
        ]
        return self.implementation.ask(kind, str(self.number), entries, self.room)

    def _read(self, reply: Frame, values: Values, cotangents: Values) -> Evaluation:
        outputs: dict[str, Array] = {}
        gradients: dict[str, Array] = {}
        given = [*values, *cotangents]
        self.aliases = {}
        for entry in reply.entries:
            names = {
                Role.OUTPUT: self.outputs, Role.GRADIENT: self.wanted,
                Role.VALUE: self.given, Role.COTANGENT: self.cotangents,
            }[entry.role]  # fmt: skip
            if entry.index >= len(names):
                raise self.implementation.worker._violation("an array that was not asked for")
            name, array = names[entry.index], native(entry.array)
            if entry.role is Role.OUTPUT:
                outputs[name] = array
            elif entry.role is Role.GRADIENT:
                gradients[name] = array
            else:
                _change((values if entry.role is Role.VALUE else cotangents).get(name), array)
                continue
            if entry.alias != NONE and entry.alias < len(given):
                quantity = name if entry.role is Role.OUTPUT else f"grad_{name}"
                self.aliases[quantity] = given[entry.alias]
        who = self.implementation.name
        absent = {n: f"{who} leaves no gradient of {n}" for n in self.wanted if n not in gradients}
        return Evaluation(outputs, gradients, absent)


def _layout(array: Array) -> Layout:
    if not array.flags.writeable:
        return Layout.READONLY
    return Layout.PLAIN if array.flags.c_contiguous else Layout.STRIDED


def _change(argument: Array | None, changed: Array) -> None:
    """Do to the argument what was done to its copy."""
    if (
        argument is not None
        and argument.flags.writeable
        and argument.shape == changed.shape
        and argument.dtype == changed.dtype
    ):
        argument[...] = changed
