"""A folder of files, links not followed."""

from __future__ import annotations

import os
from pathlib import Path

from crosscheck.submissions.sources import CODE, IGNORED_FOLDERS
from crosscheck.submissions.submission import Unreadable

#: How many files are looked at, and how many bytes are read.
MOST_ENTRIES = 20_000
MOST_BYTES = 128 << 20


def contents(folder: Path, suffixes: tuple[str, ...] = CODE) -> dict[str, bytes]:
    """Path inside the folder → content of every file that ends so.

    Raises:
        Unreadable: too many files or too much in them, or the folder cannot be read.
    """
    found: dict[str, bytes] = {}
    seen, total = 0, 0
    for where, folders, files in os.walk(folder, followlinks=False, onerror=_refuse):
        folders[:] = sorted(
            f for f in folders if f not in IGNORED_FOLDERS and not Path(where, f).is_symlink()
        )
        for name in sorted(files):
            seen += 1
            if seen > MOST_ENTRIES:
                raise Unreadable(f"{folder.name} holds more than {MOST_ENTRIES} files")
            path = Path(where, name)
            if path.is_symlink() or not path.is_file() or path.suffix.lower() not in suffixes:
                continue
            total += path.stat().st_size
            if total > MOST_BYTES:
                raise Unreadable(f"{folder.name} holds more than {MOST_BYTES >> 20} MiB of code")
            try:
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
            except OSError as error:
                raise Unreadable(f"{name} cannot be read: {error.strerror}") from None
    return found


def _refuse(error: OSError) -> None:
    raise Unreadable(f"{error.filename} cannot be read: {error.strerror}")
