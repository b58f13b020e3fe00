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
    ) -> tuple[list[bytes], Exception | None]:
        """Send many requests at once and take a reply to each.

        Args:
            requests: frames, one after the other.
            rooms: for each, the bytes of arrays that its reply may have.
            seconds: time for each; whatever comes next starts the clock anew.
            most_text: bytes of text that a reply may have.

        Returns:
            The raw replies that came, and what ended it early, if anything did: TimeoutError,
            EOFError, OSError, or `BadFrame`.
        """
        rest = memoryview(requests)
        replies: list[bytes] = []
        last = self.deadline
        try:
            while len(replies) < len(rooms):
                self.deadline = min(last, time.monotonic() + seconds)
                size = Reader.size(self._peek(HEADER.size), rooms[len(replies)], most_text)
                have = len(self._buffer) - self._start
                if size is not None and have >= size:
                    replies.append(self.read(size))
                    continue
                while True:
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
                    self._buffer += part
                    break
        except Exception as error:  # told, not raised: what came before it counts
            return replies, error
        return replies, None

    def _peek(self, count: int) -> bytes | None:
        if len(self._buffer) - self._start < count:
            return None
        return bytes(self._buffer[self._start : self._start + count])
