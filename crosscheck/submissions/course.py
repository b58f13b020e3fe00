"""A folder or zip that a learning management system exports: one entry per student.

| who | how it looks |
|---|---|
| Moodle | ``Name Surname_12345_assignsubmission_file_/any.ipynb`` |
| Canvas | ``surnamename_12345_67890_any.ipynb``, with ``_LATE_`` after the name if so |
| Blackboard | ``assignment_user_attempt_2026-01-31-12-00-00_any.py`` |
| nbgrader | ``submitted/student/assignment/any.ipynb`` |
| Gradescope, GitHub Classroom, by hand | a folder per student, or ``student_any.py``, or ``student.py`` |
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from crosscheck.errors import UsageError
from crosscheck.submissions.archive import members
from crosscheck.submissions.folder import contents
from crosscheck.submissions.reading import from_bytes, read
from crosscheck.submissions.sources import CODE, IGNORED_FOLDERS, assemble
from crosscheck.submissions.submission import Submission, Unreadable

HANDED_IN = (*CODE, ".zip")
MOODLE = re.compile(r"^(?P<student>.+_\d+)_assignsubmission_\w+$")
CANVAS = re.compile(r"^(?P<student>[^_]+_(?:LATE_)?\d+)_\d+_.+$")
BLACKBOARD = re.compile(r"^.+?_(?P<student>[^_]+)_attempt_[\d-]+(?:_.*)?(?:\.\w+)?$")


@dataclass(frozen=True)
class Entry:
    """One student's part of an export; read only when asked.

    Attributes:
        student: who.
        paths: the files or the folder that they handed in.
        content: path → bytes, of an export that is a zip.
    """

    student: str
    paths: tuple[Path, ...] = ()
    content: dict[str, bytes] = field(default_factory=dict, repr=False)

    def read(self, everything: bool = False) -> Submission:
        """The submission; one that cannot be read says so."""
        if self.content:
            if len(self.content) == 1:
                ((inside, data),) = self.content.items()
                return from_bytes(
                    PurePosixPath(inside).name, data, name=self.student, everything=everything
                )
            return assemble(self.student, self.content, everything)
        if len(self.paths) == 1:
            return read(self.paths[0], name=self.student, everything=everything)
        files: dict[str, bytes] = {}
        for path in self.paths:
            try:
                if path.is_dir():
                    files |= {f"{path.name}/{k}": v for k, v in contents(path).items()}
                elif not path.is_file():  # a pipe would be waited for
                    raise Unreadable("it is no file")
                elif path.suffix.lower() == ".zip":
                    files |= members(path.read_bytes(), path.name, CODE)
                else:
                    files[path.name] = path.read_bytes()
            except OSError as error:
                return Submission(
                    self.student, problems=(f"{path.name}: {error.strerror or error}",)
                )
            except Unreadable as error:
                return Submission(self.student, problems=(f"{path.name}: {error}",))
        found = assemble(self.student, files, everything)
        names = ", ".join(path.name for path in self.paths[:5])
        together = f"{len(self.paths)} files taken for one person's: {names}"
        return replace(found, notes=(together, *found.notes))


def course(path: str | os.PathLike[str]) -> Iterator[Entry]:
    """The entries of an export, by student.

    Args:
        path: a folder, or a zip of one. A folder that holds a single folder is entered.

    Raises:
        UsageError: there is no such folder, or nothing in it that is a submission.
    """
    where = Path(path)
    if where.is_file() and where.suffix.lower() == ".zip":
        try:
            content = _grouped_content(members(where.read_bytes(), where.name, HANDED_IN))
        except Unreadable as error:
            raise UsageError(str(error)) from None
        _require(content, path)
        yield from (Entry(student, content=content[student]) for student in sorted(content))
    elif where.is_dir():
        where = _entered(where)
        names = _grouped_names(where)
        _require(names, path)
        for student in sorted(names):  # paths are made one student at a time: there may be many
            yield Entry(student, _latest([where / name for name in names[student]]))
    else:
        raise UsageError(f"{path}: no such folder or zip of submissions")


def _require(found: Mapping[str, object], path: str | os.PathLike[str]) -> None:
    if not found:
        raise UsageError(
            f"{path}: no submissions in it: no folder per student, no .py, .ipynb or .zip"
        )


def student_of(name: str, folder: bool = False) -> str:
    """Whose a file or folder is, by its name."""
    if folder:
        match = MOODLE.match(name)
        return match["student"] if match else name
    match = CANVAS.match(name) or BLACKBOARD.match(name)
    if match:
        return match["student"].replace("_LATE", "")
    stem = PurePosixPath(name).stem
    return stem.partition("_")[0] or stem


def _entered(where: Path) -> Path:
    """Down through folders that hold one folder and no file of their own."""
    for _ in range(4):
        inside = _visible(where)
        if len(inside) != 1 or not inside[0].folder or MOODLE.match(inside[0].name):
            break
        deeper = _visible(where / inside[0].name)
        if not any(p.folder for p in deeper) and len(deeper) < 2:
            break
        where /= inside[0].name
    return where


class _Named(NamedTuple):
    name: str
    folder: bool


def _visible(where: Path) -> list[_Named]:
    with os.scandir(where) as entries:
        return sorted(
            _Named(entry.name, entry.is_dir())
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name not in IGNORED_FOLDERS
            and not entry.is_symlink()
        )


def _grouped_names(where: Path) -> dict[str, tuple[str, ...]]:
    """Student → the names of what they handed in."""
    found: dict[str, tuple[str, ...]] = {}
    for name, folder in _visible(where):
        student = student_of(name, folder)
        code = folder or Path(name).suffix.lower() in HANDED_IN
        if code or student not in found:
            # a file of another kind is somebody's submission too, and is answered
            found[student] = (*found.get(student, ()), name)
    return found


def _latest(paths: list[Path]) -> tuple[Path, ...]:
    """Of several attempts at the same file the last; Canvas numbers them ``-1``, ``-2``."""
    code = [p for p in paths if p.is_dir() or p.suffix.lower() in HANDED_IN] or paths
    newest: dict[str, Path] = {}
    for path in sorted(code, key=_attempt):
        newest[re.sub(r"-\d+$", "", path.stem) + path.suffix] = path
    return tuple(newest.values())


def _attempt(path: Path) -> tuple[str, int]:
    found = re.search(r"-(\d+)$", path.stem)
    return re.sub(r"-\d+$", "", path.stem), int(found[1]) if found else 0


def _grouped_content(files: dict[str, bytes]) -> dict[str, dict[str, bytes]]:
    prefix = os.path.commonpath(files) if len(files) > 1 else ""
    if prefix in files:
        prefix = ""
    found: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        inside = PurePosixPath(path).relative_to(prefix) if prefix else PurePosixPath(path)
        if inside.parts[0] in IGNORED_FOLDERS or inside.parts[0].startswith("."):
            continue
        folder = len(inside.parts) > 1
        student = student_of(inside.parts[0], folder)
        found.setdefault(student, {})["/".join(inside.parts[folder:])] = content
    return found
