"""Any one submission, whatever it comes in. Nothing is run, and nothing is raised for what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from crosscheck.submissions.archive import members
from crosscheck.submissions.folder import contents
from crosscheck.submissions.sources import CODE, assemble
from crosscheck.submissions.submission import Submission, Unreadable

#: A file larger than this is not even opened.
MOST_FILE = 256 << 20


def read(
    path: str | os.PathLike[str], *, name: str | None = None, everything: bool = False
) -> Submission:
    """Read a ``.py``, ``.ipynb`` or ``.zip`` file, or a folder of them.

    Args:
        path: where it is.
        name: what it is called in results; the file's name by default.
        everything: run a notebook's demonstrations too, not its definitions alone.

    Returns:
        A `Submission`; one that cannot be read says why in its `problems`.
    """
    where = Path(path)
    called = name or where.name or str(where)
    try:
        if where.is_symlink():
            raise Unreadable(f"{where.name} is a link, not a file")
        if where.is_dir():
            return assemble(called, _code_in(where), everything)
        if not where.exists():
            raise Unreadable(f"{path}: no such file")
        if not where.is_file():
            raise Unreadable(f"{where.name} is no file")
        if where.stat().st_size > MOST_FILE:
            raise Unreadable(f"{where.name} is larger than {MOST_FILE >> 20} MiB")
        return from_bytes(where.name, where.read_bytes(), name=called, everything=everything)
    except Unreadable as error:
        return Submission(called, problems=(str(error),))
    except OSError as error:
        return Submission(called, problems=(f"{where.name}: {error.strerror or error}",))


def from_bytes(
    file: str, content: bytes, *, name: str | None = None, everything: bool = False
) -> Submission:
    """Likewise a file that is in memory.

    Args:
        file: its name, whose ending says what it is.
        content: its bytes.
        name, everything: as of `read`.
    """
    called = name or file
    suffix = Path(file).suffix.lower()
    try:
        if not content:
            raise Unreadable(f"{file} is empty")
        if suffix == ".zip":
            return assemble(called, members(content, file, CODE), everything)
        if suffix in CODE:
            # Whatever the file is called, it was handed in to be run: no name is passed over.
            own = (
                file
                if not file.startswith((".", "test_", "conftest", "setup"))
                else f"handed_in_{file}"
            )
            return assemble(called, {own: content}, everything)
    except Unreadable as error:
        return Submission(called, problems=(str(error),))
    return Submission(
        called, problems=(f"{file} is no .py, .ipynb or .zip file: hand in one of these",)
    )


def _code_in(folder: Path) -> dict[str, bytes]:
    """The code in a folder; where there is none, that in its zips, beside these."""
    found = contents(folder, (*CODE, ".zip"))
    if any(Path(path).suffix.lower() in CODE for path in found):
        return found
    for path, content in [*found.items()]:
        found |= {f"{Path(path).stem}/{k}": v for k, v in members(content, path, CODE).items()}
    return found
