"""The questions of one check as one message: numbered, packed, and the answers taken apart again.

Nine questions in ten are forward passes for a numeric derivative, one after the other. A run of them
crosses as one request (`Kind.FORWARDS`), which says the same and costs a fraction.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias

import numpy as np

from crosscheck.isolation.protocol import Entry, Frame, Kind, Layout, decode, encode
from crosscheck.isolation.worker import Answer, Request, Worker

#: A run of forward passes is cut where it gets longer than this, in bytes.
MOST = 1 << 20

#: The answer to a question of a script; None where it has to be asked by itself.
Known: TypeAlias = "Answer | None"


@dataclass(frozen=True)
class Script:
    """Questions, in order.

    Attributes:
        name: a digest of all of it.
        requests: what is sent.
        counts: how many questions each request stands for, by groups of the same shapes and dtypes.
        places: a digest of a question (`body`) → its places in the order.
    """

    name: str
    requests: tuple[Request, ...]
    counts: tuple[tuple[int, ...], ...]
    places: dict[bytes, tuple[int, ...]] = field(repr=False)

    @classmethod
    def of(cls, questions: Sequence[Request], first: int, alone: Collection[int] = ()) -> Script:
        """A script of questions as they were asked.

        Args:
            questions: in order.
            first: the number of the first request; the others follow. The same for every
                submission, so that equal answers are equal bytes.
            alone: the places of questions that are to stay requests by themselves.
        """
        places: dict[bytes, list[int]] = {}
        for number, question in enumerate(questions):
            places.setdefault(body(question.data), []).append(number)
        requests: list[Request] = []
        counts: list[tuple[int, ...]] = []
        for run in _runs(questions, alone):
            packed, count = (run[0], (1,)) if len(run) == 1 else _packed(run)
            number = first + len(requests)
            data = numbered(packed.data, number)
            requests.append(replace(packed, data=data, sequence=number))
            counts.append(count)
        found = {k: tuple(at) for k, at in places.items()}
        name = hashlib.blake2b(_joined(requests), digest_size=12).hexdigest()
        return cls(name, tuple(requests), tuple(counts), found)

    @property
    def data(self) -> bytes:
        """All requests, one after the other."""
        return _joined(self.requests)

    def answers(self, worker: Worker, raw: bytes, ends: list[int]) -> list[Known]:
        """Raw replies to the script as the answers to its questions.

        Raises:
            ProtocolViolation: one of them is no answer.
        """
        found: list[Known] = []
        replies = worker.answers(self.requests, raw, ends)
        for request, counts, reply in zip(self.requests, self.counts, replies, strict=True):
            if request.kind is not Kind.FORWARDS:
                found.append(reply)
            elif isinstance(reply, Frame):
                found += _taken_apart(reply, counts, worker)
            else:  # one of them raised, or their outputs do not stack
                found += [None] * sum(counts)
        return found


def _joined(requests: Iterable[Request]) -> bytes:
    return b"".join(request.data for request in requests)


def body(data: bytes) -> bytes:
    """A question without its number, as a digest."""
    return hashlib.blake2b(data[:8] + data[12:], digest_size=16).digest()


def numbered(data: bytes, sequence: int) -> bytes:
    """The same frame with another number."""
    return data[:8] + struct.pack("<I", sequence) + data[12:]


def _runs(questions: Iterable[Request], alone: Collection[int]) -> Iterator[list[Request]]:
    """What can cross as one request each: forward passes of one slot, one after the other."""
    run: list[Request] = []
    last, size = None, 0
    for number, question in enumerate(questions):
        like = None if number in alone else _like(question)
        if run and (like is None or like != last or size + len(question.data) > MOST):
            yield run
            run, size = [], 0
        run.append(question)
        last, size = like, size + len(question.data)
    if run:
        yield run


def _like(question: Request) -> tuple[object, ...] | None:
    """What two forward passes must have in common to cross together; None for all else."""
    if question.kind is not Kind.FORWARD:
        return None
    frame = decode(question.data)
    if not frame.entries or any(e.layout is not Layout.PLAIN for e in frame.entries):
        return None
    return frame.text, *(entry.index for entry in frame.entries)


def _packed(run: Sequence[Request]) -> tuple[Request, tuple[int, ...]]:
    """One request for a run of forward passes, and the lengths of its groups."""
    frames = [decode(question.data) for question in run]
    entries: list[Entry] = []
    counts = []
    for _, some in groupby(frames, lambda f: [(e.array.dtype, e.array.shape) for e in f.entries]):
        group = [frame.entries for frame in some]
        counts.append(len(group))
        entries += [
            Entry(same[0].role, same[0].index, np.stack([entry.array for entry in same]))
            for same in zip(*group, strict=True)
        ]
    data = encode(Frame(Kind.FORWARDS, 0, tuple(entries), frames[0].text))
    room = sum(question.room for question in run)
    return Request(data, Kind.FORWARDS, 0, room), tuple(counts)


def _taken_apart(reply: Frame, counts: Sequence[int], worker: Worker) -> Iterator[Frame]:
    """The answers in a reply to several questions.

    Raises:
        ProtocolViolation: it answers more or fewer.
    """
    width, rest = divmod(len(reply.entries), len(counts))
    if rest:
        raise worker.violation("an answer to other questions")
    for number, count in enumerate(counts):
        some = reply.entries[number * width : (number + 1) * width]
        if any(entry.array.shape[:1] != (count,) for entry in some):
            raise worker.violation("an answer to more or fewer questions")
        for at in range(count):
            entries = (replace(entry, array=entry.array[at, ...]) for entry in some)
            yield Frame(Kind.FORWARD, 0, tuple(entries))
