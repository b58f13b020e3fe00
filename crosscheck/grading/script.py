"""The questions of one check as one message: numbered, packed, and the answers taken apart again.

Nine questions in ten are forward passes for a numeric derivative: one after the other, on arrays of
the same shapes. A run of them crosses as one request (`Kind.FORWARDS`), which says the same and costs
a fraction.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from crosscheck.isolation.protocol import Entry, Frame, Kind, Layout, Status, decode, encode
from crosscheck.isolation.worker import Answer, Request, Worker

#: A run of forward passes is cut where its arrays get longer than this.
MOST = 1 << 20

#: The answer to a question of a script; None where it has to be asked by itself.
Known: TypeAlias = "Answer | None"


@dataclass(frozen=True)
class Script:
    """Questions, in order.

    Attributes:
        requests: what is sent.
        counts: how many questions each request stands for.
        places: a digest of a question (`body`) → its places in the order.
    """

    requests: tuple[Request, ...]
    counts: tuple[int, ...]
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
        requests, counts = [], []
        for run in _runs(questions, alone):
            packed = run[0] if len(run) == 1 else _packed(run)
            number = first + len(requests)
            data = numbered(packed.data, number)
            requests.append(replace(packed, data=data, sequence=number))
            counts.append(len(run))
        return cls(tuple(requests), tuple(counts), {k: tuple(at) for k, at in places.items()})

    def answers(self, worker: Worker, raw: bytes, ends: list[int]) -> list[Known]:
        """Raw replies to the script as the answers to its questions.

        Raises:
            ProtocolViolation: one of them is no answer.
        """
        found: list[Known] = []
        replies = worker.answers(self.requests, raw, ends)
        for request, count, reply in zip(self.requests, self.counts, replies, strict=True):
            if request.kind is not Kind.FORWARDS:
                found.append(reply)
            elif isinstance(reply, Frame) and reply.status is Status.DONE:
                if any(e.array.shape[:1] != (count,) for e in reply.entries):
                    raise worker.violation("an answer to more or fewer questions")
                found += [_one(reply, at) for at in range(count)]
            else:  # one of them raised, or their outputs do not stack
                found += [None] * count
        return found


def body(data: bytes) -> bytes:
    """A question without its number, as a digest."""
    return hashlib.blake2b(data[:8] + data[12:], digest_size=16).digest()


def numbered(data: bytes, sequence: int) -> bytes:
    """The same frame with another number."""
    return data[:8] + struct.pack("<I", sequence) + data[12:]


def _runs(questions: Iterable[Request], alone: Collection[int]) -> Iterator[list[Request]]:
    """What can cross as one request each: forward passes of one slot on arrays of the same shapes."""
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
    return frame.text, *((e.role, e.index, e.array.dtype, e.array.shape) for e in frame.entries)


def _packed(run: Sequence[Request]) -> Request:
    frames = [decode(question.data) for question in run]
    entries = tuple(
        Entry(role=some[0].role, index=some[0].index, array=np.stack([e.array for e in some]))
        for some in zip(*(frame.entries for frame in frames), strict=True)
    )
    data = encode(Frame(Kind.FORWARDS, 0, entries, frames[0].text))
    return Request(data, Kind.FORWARDS, 0, sum(question.room for question in run))


def _one(reply: Frame, at: int) -> Frame:
    """One of the answers in a reply to several questions."""
    entries = (entry._replace(array=entry.array[at, ...]) for entry in reply.entries)
    return Frame(Kind.FORWARD, 0, tuple(entries))
