"""The journal of a run: one line per marked submission, on disk before it counts.

Append-only. A line is a checksum and JSON; a line that was cut off by a crash is dropped when the
journal is opened again, and its submission is marked anew. One run at a time holds the journal.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from crosscheck.errors import UsageError

FORMAT = "crosscheck-journal"
FORMAT_VERSION = 1
NAME = "journal"


class Journal:
    """An open journal, locked against other runs.

    Args:
        folder: the folder of results.
        facts: what the run is about, plain data; must be the same as when the journal was begun.
        private: more of the same that a resumed run takes from the journal: the seed.

    Attributes:
        facts: as they stand in the journal.
        done: student → where in the file their result is.

    Raises:
        UsageError: another run holds it, or it belongs to another exercise.
    """

    def __init__(
        self, folder: Path, facts: Mapping[str, Any], private: Mapping[str, Any] | None = None
    ) -> None:
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = open(self.path, "a+b", buffering=0)
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror or error}") from None
        try:
            _lock(self._file)
        except OSError:
            self._file.close()
            raise UsageError(
                f"{folder} is in use by another run: wait for it, or choose another folder"
            ) from None
        self.done: dict[str, int] = {}
        self._reader: BinaryIO | None = None
        try:
            self.facts = self._begin(dict(facts), dict(private or {}))
        except BaseException:
            self._file.close()
            raise

    def _begin(self, facts: dict[str, Any], private: dict[str, Any]) -> dict[str, Any]:
        lines = self._lines()
        first = next(lines, None)
        if first is None:
            self._file.truncate(0)
            whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **facts, **private}
            self._append([_line(whole)])
            return whole
        _, head = first
        if head.get("format") != FORMAT or head.get("format_version") != FORMAT_VERSION:
            raise UsageError(f"{self.path} is no journal of this version of crosscheck")
        for name, value in facts.items():
            if head.get(name) != value:
                raise UsageError(
                    f"{self.path.parent} holds results of another run ({name} was "
                    f"{head.get(name)!r}, is {value!r}): choose another folder or remove it"
                )
        end = self._end
        for offset, entry in lines:
            self.done[entry["student"]] = offset
            end = self._end
        self._file.truncate(end)
        os.lseek(self._file.fileno(), 0, os.SEEK_END)
        return head

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Whole lines with their offsets; stops at the first that is not."""
        self._end = 0
        with open(self.path, "rb") as handle:
            while True:
                offset = handle.tell()
                entry = _parsed(handle.readline())
                if entry is None:
                    return
                self._end = handle.tell()
                yield offset, entry

    def _append(self, lines: Iterable[bytes]) -> None:
        data = b"".join(lines)
        while data:
            data = data[self._file.write(data) :]
        os.fsync(self._file.fileno())

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write results: ``student``, ``fingerprint``, ``result`` each. On disk when this returns."""
        kept, offset = [], os.fstat(self._file.fileno()).st_size
        for entry in entries:
            line = _line(entry)
            self.done[entry["student"]] = offset
            offset += len(line)
            kept.append(line)
        if kept:
            self._append(kept)

    def marked(self, student: str, fingerprint: str) -> bool:
        """Whether the submission with that fingerprint is the one that was marked last."""
        entry = self._entry(student)
        return entry is not None and entry["fingerprint"] == fingerprint

    def results(self, students: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Student and result in the order asked for, one at a time from the disk."""
        for student in students:
            entry = self._entry(student)
            if entry is not None:
                yield student, entry["result"]

    def _entry(self, student: str) -> dict[str, Any] | None:
        if student not in self.done:
            return None
        if self._reader is None:
            self._reader = open(self.path, "rb")
        self._reader.seek(self.done[student])
        return _parsed(self._reader.readline())

    def close(self) -> None:
        """Let others have it."""
        self._file.close()
        if self._reader is not None:
            self._reader.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    text = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(text):
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def _lock(file: BinaryIO) -> None:
    """Hold the file until it is closed, or raise OSError at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
