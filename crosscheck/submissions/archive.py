"""A zip in memory: no path escapes from it, no link is followed, and nobody is flooded by it.

Nothing is written to disk. Sizes are those that come out, not those that the archive claims.
"""

from __future__ import annotations

import io
import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import PurePosixPath

from crosscheck.submissions.submission import Unreadable

#: Members, and bytes of all of them together.
MOST_MEMBERS = 2_000
MOST_BYTES = 128 << 20
#: A member that unpacks to more than this many times its packed size is a bomb; small ones may.
MOST_RATIO = 200
SMALL = 1 << 20
#: What a damaged archive raises.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError,
           NotImplementedError, KeyError, UnicodeDecodeError, IndexError, lzma.LZMAError,
           struct.error)  # fmt: skip


def members(content: bytes, name: str, suffixes: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Path → content of every file in a zip.

    Args:
        content: the archive.
        name: what messages call it.
        suffixes: unpack only files that end so; all by default.

    Raises:
        Unreadable: no zip, damaged, encrypted, an escaping path, a link, too many members, or more
            content than a submission can have.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _unpacked(archive, name, suffixes)
    except DAMAGED as error:
        raise Unreadable(
            f"{name} is no readable zip: {str(error) or type(error).__name__}"
        ) from None


def _unpacked(archive: zipfile.ZipFile, name: str, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MOST_MEMBERS:
        raise Unreadable(f"{name} has {len(entries)} members, more than {MOST_MEMBERS}")
    found: dict[str, bytes] = {}
    total = 0
    for entry in entries:
        path = _inside(entry.filename, name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Unreadable(f"{name} contains a link: {_shown(entry.filename)}")
        if entry.is_dir() or (suffixes and not path.name.lower().endswith(suffixes)):
            continue
        if entry.flag_bits & 1:
            raise Unreadable(f"{name} is encrypted")
        data = _member(archive, entry, name, MOST_BYTES - total)
        total += len(data)
        if str(path) in found:
            raise Unreadable(f"{name} contains {_shown(str(path))} twice")
        found[str(path)] = data
    return found


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, room: int) -> bytes:
    """One member, read piece by piece so that a bomb is noticed while it goes off."""
    parts = bytearray()
    most = max(SMALL, MOST_RATIO * entry.compress_size)
    with archive.open(entry) as stream:
        while piece := stream.read(1 << 16):
            parts += piece
            if len(parts) > room:
                raise Unreadable(f"{name} unpacks to more than {MOST_BYTES >> 20} MiB")
            if len(parts) > most:
                raise Unreadable(
                    f"{name} unpacks {_shown(entry.filename)} to more than {MOST_RATIO} times its size"
                )
    return bytes(parts)


def _inside(path: str, name: str) -> PurePosixPath:
    """A member's path, if it stays inside.

    Raises:
        Unreadable: absolute, with a drive, or with ``..``.
    """
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in (pure.parts or ("",))[0] or "\0" in path:
        raise Unreadable(f"{name} contains a path that leaves it: {_shown(path)}")
    return pure


def _shown(path: str) -> str:
    """A foreign name, harmless on a terminal."""
    return ascii(path[:80])[1:-1]
