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
from collections.abc import Sequence
from dataclasses import dataclass

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.grading.script import Known, Script, body
from crosscheck.isolation.failures import WorkerDied
from crosscheck.isolation.protocol import Entry, Frame, Kind, encode
from crosscheck.isolation.remote import RemoteImplementation
from crosscheck.isolation.worker import Answer, Request, Worker

#: Where the numbers of scripted requests begin, so that they are the same for every submission.
FIRST = 1 << 24
#: And those of what was asked beyond a script.
BEYOND = 1 << 25
#: Depend on the request before them, so they are answered from a script in sequence or not at all.
_SEQUEL = (Kind.AGAIN, Kind.REREAD)


class Deviated(Exception):
    """A question depends on one that was not asked as the script has it: begin again, without it."""


@dataclass(frozen=True)
class Encore:
    """What one check asked beyond the script, and a digest of what it was answered."""

    script: Script
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
        self._raw: tuple[bytes, list[int]] | None = None
        self._answers: list[Known] = []
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
            self._raw = self.worker.converse_raw(script.requests, script.name)
        except ImplementationError:
            return None  # asked the usual way, it is raised again
        self.script = script
        return _digest(self._raw[0])

    def encore(self) -> Encore | None:
        """What was asked beyond the script until now; None if the process has ended.

        It is asked once more, all at once, as it will be asked of others; None as well if that is
        answered in another way.
        """
        if self.dead is not None:
            return None
        raised = [at for at, (_, answer) in enumerate(self.beyond) if not isinstance(answer, Frame)]
        script = Script.of([request for request, _ in self.beyond], BEYOND, raised)
        try:
            raw, ends = self.worker.converse_raw(script.requests)
            again = script.answers(self.worker, raw, ends)
        except ImplementationError:
            return None
        if [*map(_plain, again)] != [_plain(answer) for _, answer in self.beyond]:
            return None
        return Encore(script, _digest(raw))

    def repeats(self, encore: Encore) -> bool:
        """Whether it answers the same to what another check asked beyond the script.

        Where the process ended over it, the check has to begin anew.
        """
        if not encore.script.requests:
            return True
        try:
            raw, _ = self.worker.converse_raw(encore.script.requests, encore.script.name)
        except ImplementationError:
            return False
        return _digest(raw) == encore.digest

    def _unpack(self) -> None:
        if self._raw is not None and self.script is not None:
            raw, self._raw = self._raw, None
            try:
                self._answers = self.script.answers(self.worker, *raw)
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
        answer = self._answers[place]
        self._live = answer is None
        if answer is None:
            return self._beyond(kind, text, entries, room)
        return _given(answer)

    def _beyond(self, kind: Kind, text: str, entries: Sequence[Entry], room: int) -> Frame:
        """Asked now."""
        answer: Answer
        try:
            answer = super().ask(kind, text, entries, room)
        except WorkerDied:
            raise
        except (ImplementationError, NotOffered) as raised:
            answer = raised
        self.beyond.append((self.heard[-1], answer))
        return _given(answer)

    def _place(self, data: bytes, kind: Kind) -> int | None:
        if self.script is None:
            return None
        for place in self.script.places.get(body(data), ()):
            if place >= self._next and place < len(self._answers):
                if kind in _SEQUEL and (self._live or place != self._next):
                    return None
                return place
        return None


def _given(answer: Answer) -> Frame:
    if isinstance(answer, ImplementationError | NotOffered):
        raise answer
    return answer


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()


def _plain(answer: Known) -> bytes | None:
    """An answer as bytes, whatever its number is."""
    if isinstance(answer, Frame):
        return encode(answer._replace(sequence=0))
    return (
        None
        if answer is None
        else f"{type(answer).__name__}\n{answer}".encode("utf-8", "backslashreplace")
    )
