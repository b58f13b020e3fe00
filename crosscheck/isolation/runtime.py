"""Inside a worker: runs the submission's text and answers requests about it.

From the first line of the submission on nothing here can be relied upon: the submission may replace any
of it. Whatever it does, what leaves the process is bytes on one stream, and the other end checks them.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import inspect
import io
import json
import linecache
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from crosscheck.case import present
from crosscheck.evaluation import Evaluation, ImplementationError, NotOffered, OneNumber
from crosscheck.implementations.conventions import notebook
from crosscheck.implementations.manner import Manner
from crosscheck.implementations.numpy_layer import NumpyBound, NumpyImplementation
from crosscheck.isolation.description import rebuild
from crosscheck.isolation.protocol import (
    MAX_TEXT,
    NONE,
    BadFrame,
    Entry,
    Frame,
    Kind,
    Layout,
    Reader,
    Role,
    Status,
    decode,
    encode,
    native,
)
from crosscheck.spec import Array, Values

#: A request of the parent's is at most this large.
MOST = 1 << 32
#: Bytes that are read or written at once.
CHUNK = 1 << 16
#: What random numbers start from in every worker, so that a second run gives the same.
RANDOM = 20_011


class Capped(io.TextIOBase):
    """Standard output that keeps the first characters and counts the others."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: list[str] = []
        self.length = 0
        self.lost = 0

    def write(self, text: str) -> int:
        """Keep what still fits."""
        part = text[: max(0, self.most - self.length)]
        if part:
            self.kept.append(str(part))
            self.length += len(part)
        self.lost += len(text) - len(part)
        return len(text)

    def writable(self) -> bool:
        """Yes."""
        return True

    def text(self) -> str:
        """What was kept, and how much was not."""
        tail = f"\n[{self.lost} more characters]" if self.lost else ""
        return "".join(self.kept) + tail


class Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The submission's files as modules, out of memory: there is no file of it to read."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.texts = {module_name(path): (path, text) for path, text in sources.items()}
        self.modules: list[ModuleType] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        """A spec for the submission's own modules, and for the folders that they lie in."""
        if name in self.texts:
            return importlib.util.spec_from_loader(name, self, origin=self.texts[name][0])
        if any(other.startswith(name + ".") for other in self.texts):
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the text in the module."""
        if module.__name__ not in self.texts:
            return
        path, text = self.texts[module.__name__]
        shown = f"<{path}>"
        linecache.cache[shown] = (len(text), None, text.splitlines(keepends=True), shown)
        module.__file__ = path
        self.modules.append(module)
        exec(compile(text, shown, "exec"), module.__dict__)


def module_name(path: str) -> str:
    """``layers/linear.py`` → ``layers.linear``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Served:
    """One bound implementation, with what may be asked of it again."""

    def __init__(self, bound: NumpyBound) -> None:
        self.bound = bound
        problem = bound.problem
        self.given = tuple(problem.given)
        self.outputs = (*problem.outputs, *problem.buffers)
        self.wanted = problem.differentiable
        self.cotangents = problem.differentiable_outputs
        self.last: Evaluation | None = None

    def arrays(self, frame: Frame) -> tuple[dict[str, Array], dict[str, Array]]:
        """The request's arrays by name, in the memory layout that it asks for."""
        values: dict[str, Array] = {}
        cotangents: dict[str, Array] = {}
        for entry in frame.entries:
            name = (self.given if entry.role is Role.VALUE else self.cotangents)[entry.index]
            array = native(entry.array).copy()  # the original stays, to see what was changed
            if entry.layout is not Layout.PLAIN:
                array = _laid_out(name, array, entry.layout)
            (values if entry.role is Role.VALUE else cotangents)[name] = array
        return values, cotangents

    def answer(
        self, evaluation: Evaluation, values: Values, cotangents: Values, frame: Frame
    ) -> tuple[Entry, ...]:
        """Outputs, gradients, and what of the given arrays is another than before."""
        self.last = evaluation
        given = [*values.values(), *cotangents.values()]

        def entry(role: Role, names: Sequence[str], name: str, array: Array) -> Entry:
            own = list(values).index(name) if name in values else -1
            alias = next(
                (i for i, a in enumerate(given) if i != own and array.size
                 and np.may_share_memory(array, a) and np.shares_memory(array, a)),
                NONE,
            )  # fmt: skip
            return Entry(role, names.index(name), array, alias=alias)

        found = [
            entry(Role.OUTPUT, self.outputs, name, array)
            for name, array in evaluation.outputs.items()
            if name in self.outputs
        ]
        found += [
            entry(Role.GRADIENT, self.wanted, name, array)
            for name, array in evaluation.gradients.items()
            if name in self.wanted
        ]
        for sent in frame.entries:
            name = (self.given if sent.role is Role.VALUE else self.cotangents)[sent.index]
            now = (values if sent.role is Role.VALUE else cotangents)[name]
            if now.tobytes() != sent.array.tobytes():
                found.append(Entry(sent.role, sent.index, now))
        return tuple(found)


class Runtime:
    """Reads requests, writes replies, until the stream ends.

    Args:
        stream: the socket's file descriptor.
        output: where the submission's prints go.
        learnt: questions that are known beforehand, by the name that they are asked under.
    """

    def __init__(
        self, stream: int, output: Capped, learnt: Mapping[str, Sequence[Frame]] | None = None
    ) -> None:
        self.stream = stream
        self.output = output
        self.learnt = learnt or {}
        self.coming = b""
        self.place = 0
        self.going = b""
        self.reader = Reader(self._read, MOST, most_text=1 << 30)
        self.modules: list[ModuleType] = []
        self.subjects: dict[str, NumpyImplementation] = {}
        self.bound: dict[str, Served] = {}
        self.handlers: dict[Kind, Callable[[Frame], Frame]] = {
            Kind.LOAD: self._load,
            Kind.DEFINE: self._define,
            Kind.BIND: self._bind,
            Kind.FORWARD: self._forward,
            Kind.FORWARDS: self._forwards,
            Kind.VJP: self._vjp,
            Kind.AGAIN: self._again,
            Kind.REREAD: self._reread,
            Kind.OUTPUT: self._output,
        }

    def _read(self, count: int) -> bytes:
        """That many bytes; before waiting for them, what was answered is sent.

        Raises:
            EOFError: the stream ended.
        """
        while len(self.coming) - self.place < count:
            self.flush()
            part = os.read(self.stream, CHUNK)
            if not part:
                raise EOFError
            self.coming = self.coming[self.place :] + part
            self.place = 0
        self.place += count
        return bytes(self.coming[self.place - count : self.place])

    def flush(self) -> None:
        """Send what is waiting to be sent."""
        data = memoryview(self.going)
        while data:
            data = data[os.write(self.stream, data) :]
        self.going = b""

    def send(self, frame: Frame) -> None:
        """Send one frame, at the latest when nothing more is asked at once."""
        try:
            data = encode(frame)
        except BadFrame as error:
            text = f"the answer cannot be sent: {error}"
            data = encode(Frame(frame.kind, frame.sequence, text=text, status=Status.RAISED))
        self.going += data
        if len(self.going) > CHUNK:
            self.flush()

    def serve(self) -> None:
        """Answer until the parent closes the stream."""
        while True:
            request = self.reader.frame()
            if request.kind is Kind.LEARNT:
                for question in self.learnt[request.text]:
                    self.send(self._answer(question))
            else:
                self.send(self._answer(request))

    def _answer(self, request: Frame) -> Frame:
        """The reply to one question; whatever the submission raises is one."""
        try:
            return self.handlers[request.kind](request)
        except OneNumber as error:
            text, status = str(error), Status.ONE_NUMBER
        except NotOffered as error:
            text, status = str(error), Status.NOT_OFFERED
        except ImplementationError as error:
            text, status = str(error), Status.RAISED
        except MemoryError:
            text, status = "it ran out of memory", Status.RAISED
        except BaseException as error:
            text, status = described("the submission", error), Status.RAISED
        return Frame(request.kind, request.sequence, text=text, status=status)

    def _load(self, request: Frame) -> Frame:
        """Import every source, in order; a failure is told, and what was defined before it stays.

        The reply's text is the names that are defined, a line each, a null, and the failure.
        """
        sources = json.loads(request.text)
        finder = Sources(sources)
        sys.meta_path.insert(0, finder)
        failure = ""
        for path in sources:
            try:
                importlib.import_module(module_name(path))
            except BaseException as error:
                if isinstance(error, SystemExit):
                    failure = f"importing {path} ended with exit({error.code!r})"
                else:
                    failure = described(f"importing {path}", error)
                break
        self.modules = finder.modules
        np.seterr(all="ignore")  # what comes out is compared; `NumpyBound` sees to it as well
        warnings.simplefilter("ignore")
        return Frame(request.kind, request.sequence, text="\n".join(self._names()) + "\0" + failure)

    def _names(self) -> list[str]:
        return [
            name
            for module in self.modules
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (isinstance(value, type) or inspect.isfunction(value))
            and getattr(value, "__module__", "") == module.__name__
        ]

    def _define(self, request: Frame) -> Frame:
        """Make an implementation out of names, under a key; replies with its convention's name."""
        asked = json.loads(request.text)
        names, convention = asked["names"], asked["convention"]
        found = [self._named(name) for name in names]
        subject: Any = found[0] if len(found) == 1 else tuple(found)
        if not names:
            subject = self.modules[-1]
        if isinstance(convention, dict):
            manner = Manner.from_json(convention["manner"])
            self.subjects[asked["key"]] = manner.wrap(subject, asked["strict"])
            return Frame(request.kind, request.sequence)
        called = resolve(convention)
        self.subjects[asked["key"]] = NumpyImplementation(
            subject, called, asked["called"], asked["strict"]
        )
        return Frame(request.kind, request.sequence, text=getattr(called, "__name__", ""))

    def _named(self, name: str) -> Any:
        for module in reversed(self.modules):
            if name in vars(module):
                return vars(module)[name]
        raise KeyError(name)

    def _bind(self, request: Frame) -> Frame:
        key, slot, text = request.text.split("\n", 2)
        subject = self.subjects[key]
        self.bound[slot] = Served(subject.bind(rebuild(text)))
        return Frame(request.kind, request.sequence, text="\n".join(subject.notes))

    def _served(self, request: Frame) -> Served:
        return self.bound[request.text]

    def _forward(self, request: Frame) -> Frame:
        served = self._served(request)
        values, _ = served.arrays(request)
        outputs = served.bound.forward(values)
        entries = [
            Entry(Role.OUTPUT, served.outputs.index(name), array)
            for name, array in outputs.items()
            if name in served.outputs
        ]
        return Frame(request.kind, request.sequence, tuple(entries))

    def _forwards(self, request: Frame) -> Frame:
        """Several forward passes, one after the other, as if each had been asked for by itself."""
        served = self._served(request)
        stacks = [(served.given[e.index], native(e.array)) for e in request.entries]
        width = len({name for name, _ in stacks})
        groups = [stacks[at : at + width] for at in range(0, len(stacks), width)]
        counts = [len(group[0][1]) for group in groups]
        found = served.bound.forwards(
            {name: stack[at, ...].copy() for name, stack in group}
            for group, count in zip(groups, counts, strict=True)
            for at in range(count)
        )
        if len({tuple(outputs) for outputs in found}) > 1:
            return Frame(request.kind, request.sequence, status=Status.UNFIT)
        entries: list[Entry] = []
        start = 0
        for count in counts:
            some, start = found[start : start + count], start + count
            for index, name in enumerate(served.outputs):
                if name not in some[0]:
                    continue
                arrays = [outputs[name] for outputs in some]
                kind = arrays[0].shape, arrays[0].dtype
                if any((array.shape, array.dtype) != kind for array in arrays):
                    return Frame(request.kind, request.sequence, status=Status.UNFIT)
                entries.append(Entry(Role.OUTPUT, index, np.array(arrays)))
        return Frame(request.kind, request.sequence, tuple(entries))

    def _vjp(self, request: Frame) -> Frame:
        served = self._served(request)
        return self._evaluate(request, served, served.bound.vjp)

    def _again(self, request: Frame) -> Frame:
        served = self._served(request)
        return self._evaluate(request, served, served.bound.again)

    def _evaluate(
        self, request: Frame, served: Served, call: Callable[[Values, Values], Evaluation]
    ) -> Frame:
        values, cotangents = served.arrays(request)
        evaluation = call(values, cotangents)
        entries = served.answer(evaluation, values, cotangents, request)
        return Frame(request.kind, request.sequence, entries)

    def _reread(self, request: Frame) -> Frame:
        """The arrays of the last answer as they are now: another call may have changed them."""
        served = self._served(request)
        if served.last is None:
            return Frame(request.kind, request.sequence, status=Status.UNFIT)
        entries = served.answer(served.last, {}, {}, Frame(request.kind, request.sequence))
        return Frame(request.kind, request.sequence, entries)

    def _output(self, request: Frame) -> Frame:
        return Frame(request.kind, request.sequence, text=self.output.text()[:MAX_TEXT])


def described(what: str, error: BaseException) -> str:
    """An exception with the submission's own frames, as `ImplementationError.during` words it."""
    trace = traceback.TracebackException.from_exception(error, limit=-50)
    own = [frame for frame in trace.stack if frame.filename.startswith("<")][-6:]
    own = [frame for frame in own if not frame.filename.startswith("<frozen")]
    head = "".join(trace.format_exception_only()).strip()
    text = "".join(traceback.format_list(own)).rstrip()
    return f"{what} raised {head}" + (f"\n{text}" if text else "")


def resolve(convention: Any) -> Any:
    """A convention out of what the parent sent: ``module:name``, or a text and the name in it."""
    if convention is None:
        return notebook
    if isinstance(convention, list):
        text, name = convention
        namespace: dict[str, Any] = {"__name__": "convention"}
        exec(compile(text, "<convention>", "exec"), namespace)
        return namespace[name]
    module, _, name = convention.partition(":")
    return getattr(importlib.import_module(module), name)


def _laid_out(name: str, array: Array, layout: Layout) -> Array:
    memory = "strided" if layout is Layout.STRIDED else "readonly"
    if array.dtype.kind == "f":
        return present({name: array}, str(array.dtype), memory)[name]
    return present({name: array}, "float64", memory)[name]


def learn(data: bytes) -> tuple[Frame, ...]:
    """Questions, one after the other, as they are kept for `Runtime.learnt`."""
    place, found = 0, []
    while place < len(data):
        end = place + Reader.size(data, MOST, start=place)
        found.append(decode(data[place:end]))
        place = end
        if found[-1].kind is Kind.BIND:
            rebuild(found[-1].text.split("\n", 2)[2])  # kept there
    return tuple(found)


def run(stream: int, most_output: int, learnt: Mapping[str, Sequence[Frame]] | None = None) -> None:
    """The rest of a worker's life."""
    import random

    output = Capped(most_output)
    sys.stdout = sys.stderr = output
    np.random.seed(RANDOM)
    random.seed(RANDOM)
    runtime = Runtime(stream, output, learnt)
    try:
        runtime.serve()
    except (EOFError, OSError):
        pass
