"""Questions asked all at once: what a check will ask is known from the submission before.

A check asks an implementation some hundred small questions, each of which costs two process switches.
They hardly depend on the answers. So the questions of one check are kept as a *script*; for the next
submission the whole script is sent at once, and the check finds its answers waiting. A question that
is not in the script is asked as ever. What the check sees is the same either way.

The raw answers to the whole script also say when two submissions cannot be told apart: then they get
the same mark, and the second one costs nothing but asking. Where a check asked more than the script,
what it asked is asked again, and counts as well.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.isolation.failures import WorkerDied
from crosscheck.isolation.protocol import Entry, Frame, Kind, decode, encode
from crosscheck.isolation.remote import RemoteImplementation
from crosscheck.isolation.worker import Answer, Request, Worker

#: Where the numbers of scripted requests begin, so that they are the same for every submission.
FIRST = 1 << 24
#: Depend on the request before them, so they are answered from a script in sequence or not at all.
_SEQUEL = (Kind.AGAIN, Kind.REREAD)


class Deviated(Exception):
    """A question depends on one that was not asked as the script has it: begin again, without it."""


@dataclass(frozen=True)
class Script:
    """The questions of one check, in order."""

    requests: tuple[Request, ...]
    places: dict[bytes, tuple[int, ...]] = field(repr=False)

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Script:
        """A script of requests as they were heard, of forward passes alone the first case's.

        Those of the other cases serve the numeric witness, whose answer matters where the others
        disagree; they are asked then.
        """
        first = next((_text(r.data) for r in requests if r.kind is Kind.FORWARD), "")
        requests = [r for r in requests if r.kind is not Kind.FORWARD or _text(r.data) == first]
        requests = [
            replace(r, data=_numbered(r.data, FIRST + n), sequence=FIRST + n)
            for n, r in enumerate(requests)
        ]
        places: dict[bytes, list[int]] = {}
        for number, request in enumerate(requests):
            places.setdefault(_body(request.data), []).append(number)
        return cls(tuple(requests), {body: tuple(at) for body, at in places.items()})


@dataclass(frozen=True)
class Encore:
    """What one check asked beyond the script, and a digest of what it was answered."""

    requests: tuple[Request, ...]
    digest: bytes


class Rehearsed(RemoteImplementation):
    """An implementation in a worker that listens for a script, or answers out of one.

    Attributes:
        heard: the requests that were made, in order.
        beyond: those of them that were not in the script, and what they were answered.
    """

    @classmethod
    def around(cls, found: RemoteImplementation, script: Script | None) -> Rehearsed:
        """The same implementation, with a script or none."""
        return cls(
            found.worker, found.items, found.name, found.convention, found.strict, found.key,
            script=script,
        )  # fmt: skip

    def __init__(
        self,
        worker: Worker,
        items: tuple[str, ...],
        name: str,
        convention: object,
        strict: bool,
        key: str,
        script: Script | None = None,
    ) -> None:
        super().__init__(worker, items, name, convention, strict, key)
        self.script = script
        self.heard: list[Request] = []
        self.beyond: list[tuple[Request, Answer]] = []
        self._again: deque[tuple[Request, Answer]] = deque()
        self._raw: tuple[bytes, list[int]] | None = None
        self._answers: list[Answer] = []
        self._next = 0
        self._live = False

    def rehearse(self) -> bytes | None:
        """Ask the whole script.

        Returns:
            A digest of all answers; None without a script, where the submission does not define
            what it is about, or where it did not live to answer all of it. Then nothing was asked:
            a process that has ended is followed by another one.
        """
        if self.script is None:
            return None
        script, self.script = self.script, None
        try:
            self.worker.revive()
            for item in self.items:
                self._present(item)
            self._raw = self.worker.converse_raw(script.requests)
        except ImplementationError:
            return None  # asked the usual way, it is raised again
        self.script = script
        return hashlib.blake2b(self._raw[0], digest_size=16).digest()

    def encore(self) -> Encore | None:
        """What was asked beyond the script until now; None if that ended the process."""
        if self.dead is not None:
            return None
        requests = tuple(request for request, _ in self.beyond)
        return Encore(requests, _digest([answer for _, answer in self.beyond]))

    def repeats(self, encore: Encore) -> bool:
        """Whether it answers the same to what another check asked beyond the script.

        If not, what it answered is not lost: a check that asks it gets it. Where the process ended
        over it, the check has to begin anew.
        """
        if not encore.requests:
            return True
        try:
            start = FIRST + len(self.script.requests) if self.script is not None else FIRST
            requests = [
                replace(r, data=_numbered(r.data, start + n), sequence=start + n)
                for n, r in enumerate(encore.requests)
            ]
            answers = self.worker.converse(requests)
        except ImplementationError:
            return False
        self._again = deque(zip(requests, answers, strict=True))
        return _digest(answers) == encore.digest

    def _unpack(self) -> None:
        if self._raw is not None and self.script is not None:
            raw, self._raw = self._raw, None
            try:
                self._answers = self.worker.answers(self.script.requests, *raw)
            except WorkerDied as ended:
                self.dead = ended
                raise

    def ask(
        self, kind: Kind, text: str = "", entries: Sequence[Entry] = (), room: int = 0
    ) -> Frame:
        """`Worker.ask`, out of the script where it can be."""
        if self.dead is not None:
            raise self.dead
        self._unpack()
        sequence = FIRST + len(self.heard)
        data = encode(Frame(kind, sequence, tuple(entries), text))
        self.heard.append(Request(data, kind, sequence, room))
        place = self._place(data, kind)
        if place is None:
            if kind in _SEQUEL and self._answers and not self._live:
                raise Deviated
            self._live = bool(self._answers)
            return self._beyond(kind, text, entries, room)
        self._next = place + 1
        self._live = False
        answer = self._answers[place]
        if isinstance(answer, ImplementationError | NotOffered):
            raise answer
        return answer

    def _beyond(self, kind: Kind, text: str, entries: Sequence[Entry], room: int) -> Frame:
        """Asked now, or just before by `repeats`."""
        request = self.heard[-1]
        if self._again and _body(self._again[0][0].data) == _body(request.data):
            answer = self._again.popleft()[1]
        else:
            self._again.clear()
            try:
                answer = super().ask(kind, text, entries, room)
            except WorkerDied:
                raise
            except (ImplementationError, NotOffered) as raised:
                answer = raised
        self.beyond.append((request, answer))
        if isinstance(answer, ImplementationError | NotOffered):
            raise answer
        return answer

    def _place(self, data: bytes, kind: Kind) -> int | None:
        if self.script is None:
            return None
        for place in self.script.places.get(_body(data), ()):
            if place >= self._next and place < len(self._answers):
                if kind in _SEQUEL and (self._live or place != self._next):
                    return None
                return place
        return None


def _digest(answers: Sequence[Answer]) -> bytes:
    """Of answers, whatever their numbers are."""
    digest = hashlib.blake2b(digest_size=16)
    for answer in answers:
        if isinstance(answer, Frame):
            digest.update(encode(replace(answer, sequence=0)))
        else:
            digest.update(f"{type(answer).__name__}\n{answer}\0".encode(errors="backslashreplace"))
    return digest.digest()


def _text(data: bytes) -> str:
    return decode(data).text


def _numbered(data: bytes, sequence: int) -> bytes:
    return data[:8] + struct.pack("<I", sequence) + data[12:]


def _body(data: bytes) -> bytes:
    """A frame without its number, as a digest."""
    return hashlib.blake2b(data[:8] + data[12:], digest_size=16).digest()
