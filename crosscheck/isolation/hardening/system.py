"""The system calls that Python has no name for, through the C library. Linux only."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

#: System call numbers, from the kernel's own tables; the architectures that are known here.
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {"capset": 126, "pivot_root": 155, "umount2": 166},
    "aarch64": {"capset": 91, "pivot_root": 41, "umount2": 39},
}
#: The same everywhere since they were added after the tables were unified.
COMMON = {
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """The architecture's name, as the kernel gives it."""
    return platform.machine()


def call(name: str, *arguments: object) -> int:
    """A system call by name.

    Raises:
        OSError: it failed, or is not known on this architecture.
    """
    number = COMMON.get(name, NUMBERS.get(machine(), {}).get(name))
    if number is None:
        raise OSError(38, f"{name} is not known on {machine()}")
    return _checked(name, _library().syscall(number, *arguments))


def prctl(option: int, *arguments: object) -> int:
    """``prctl``.

    Raises:
        OSError: it failed.
    """
    padded = [*arguments, *(0,) * (4 - len(arguments))]
    longs = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in padded]
    return _checked(f"prctl {option}", _library().prctl(option, *longs))


def unshare(flags: int) -> None:
    """``unshare``.

    Raises:
        OSError: it failed.
    """
    _checked("unshare", _library().unshare(flags))


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """``mount``.

    Raises:
        OSError: it failed.
    """
    arguments = (
        source.encode(),
        target.encode(),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode(),
    )
    _checked("mount", _library().mount(*arguments))


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
