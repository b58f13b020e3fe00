"""How far a worker is cut off, in four steps, and the trial that says which step was reached."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from enum import IntEnum

from crosscheck.errors import UsageError


class Level(IntEnum):
    """What is known to hold; each level includes those before it.

    PROCESS: another process, which holds no expected value, with a wall clock.
    LIMITED: and limits on processor time, memory, files and output; an empty environment; no new
        privileges, and not root's.
    CONFINED: and no file but its scratch folder, no socket, no other program, no other process, no
        new machine code.
    SEALED: and namespaces of its own: an empty file system, no network, no other process to see.
    """

    PROCESS = 1
    LIMITED = 2
    CONFINED = 3
    SEALED = 4

    @classmethod
    def named(cls, name: str | Level) -> Level:
        """A level by its name.

        Raises:
            UsageError: there is no such level.
        """
        if isinstance(name, Level):
            return name
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(level.name.lower() for level in cls)
            raise UsageError(f"no isolation level {name!r}: there is {known}") from None


def forbidden() -> dict[str, Callable[[], object]]:
    """What a confined worker must fail at: name → an attempt."""

    def read() -> None:
        for path in ("/etc/passwd", "/proc/self/status", __file__, "/"):
            try:
                os.close(os.open(path, os.O_RDONLY))
            except FileNotFoundError:
                continue
            return
        raise PermissionError

    return {
        "read files": read,
        "write files": lambda: os.open("/tmp", getattr(os, "O_TMPFILE", 0) | os.O_WRONLY, 0o600),
        "open sockets": lambda: socket.socket(socket.AF_UNIX),
        "start processes": _fork,
        "run programs": lambda: os.execv("/bin/true", ["true"]),
        "signal others": lambda: os.kill(os.getppid(), 0),
    }


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def trial() -> list[str]:
    """Attempt all that is forbidden, in a hardened process; the names of what succeeded."""
    succeeded: list[str] = []
    for name, attempt in forbidden().items():
        if name == "run programs" and succeeded:
            continue  # nothing after it would run
        try:
            attempt()
        except OSError as error:
            if name == "run programs" and error.errno != 1:
                succeeded.append(name)  # it failed, but not because it was forbidden
            continue
        succeeded.append(name)
    return succeeded
