"""The parent's end of a worker's socket: bytes with a deadline, many requests at once if need be."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Sequence

from crosscheck.isolation.protocol import HEADER, Reader

CHUNK = 1 << 18


class Stream:
    """A socket that gives up at a deadline.

    Attributes:
        deadline: on the monotonic clock; everything after it raises TimeoutError.
    """

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.socket.setblocking(False)
        self.deadline = 0.0
        self._buffer = bytearray()
        self._start = 0

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def _wait(self, reading: bool, writing: bool) -> tuple[bool, bool]:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        read, write, _ = select.select(
            [self.socket] if reading else [], [self.socket] if writing else [], [], left
        )
        if not read and not write:
            raise TimeoutError
        return bool(read), bool(write)

    def send(self, data: bytes) -> None:
        """All of it.

        Raises:
            TimeoutError: the other end does not read.
            OSError: it is gone.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                self._wait(False, True)

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            TimeoutError: they do not come.
            EOFError, OSError: the other end is gone.
        """
        while len(self._buffer) - self._start < count:
            self._fill()
        found = bytes(self._buffer[self._start : self._start + count])
        self._start += count
        if self._start > CHUNK:
            del self._buffer[: self._start]
            self._start = 0
        return found

    def _fill(self) -> None:
        while True:
            try:
                part = self.socket.recv(CHUNK)
            except BlockingIOError:
                self._wait(True, False)
                continue
            if not part:
                raise EOFError
            self._buffer += part
            return

    def exchange(
        self, requests: bytes, rooms: Sequence[int], seconds: float, most_text: int
    ) -> tuple[bytes, list[int], Exception | None]:
        """Send many requests at once and take a reply to each.

        Args:
            requests: frames, one after the other.
            rooms: for each, the bytes of arrays that its reply may have.
            seconds: time that may pass without a reply.
            most_text: bytes of text that a reply may have.

        Returns:
            The raw replies that came, one after the other; where each ends; and what ended it
            early, if anything did: TimeoutError, EOFError, OSError, or `BadFrame`.
        """
        rest, wanted = memoryview(requests), len(rooms)
        found, start = self._buffer[self._start :], 0
        ends: list[int] = []
        self._buffer, self._start = bytearray(), 0
        last = self.deadline
        self.deadline = min(last, time.monotonic() + seconds)
        try:
            while True:
                before, have = len(ends), len(found)
                while len(ends) < wanted and have - start >= HEADER.size:
                    size = Reader.size(found, rooms[len(ends)], most_text, start)
                    if have - start < size:
                        break
                    start += size
                    ends.append(start)
                if len(ends) == wanted:
                    self._buffer = found[start:]
                    return bytes(found[:start]), ends, None
                if len(ends) > before:
                    self.deadline = min(last, time.monotonic() + seconds)
                if rest:
                    try:
                        rest = rest[self.socket.send(rest) :]
                    except BlockingIOError:
                        pass
                try:
                    part = self.socket.recv(CHUNK)
                except BlockingIOError:
                    self._wait(True, bool(rest))
                    continue
                if not part:
                    raise EOFError
                found += part
        except Exception as error:  # told, not raised: what came before it counts
            return bytes(found[:start]), ends, error
