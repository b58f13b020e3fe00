"""Landlock: the worker can open nothing but its own scratch folder.

Written against the kernel's interface (https://docs.kernel.org/userspace-api/landlock.html) with ctypes:
three system calls. The packages for it build a rule set per process; here one rule set serves every
worker that is forked, and it refuses what newer kernels added too.
"""

from __future__ import annotations

import ctypes
import os

from crosscheck.isolation.hardening import system

_VERSION = 1
_PATH_BENEATH = 1
#: Number of file-system rights by version of the interface; each is one bit.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_EXECUTE, _MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER, _IOCTL = (
    1 << bit for bit in (0, 6, 9, 10, 11, 12, 13, 15)
)
_SPECIAL = (
    _EXECUTE | _MAKE_CHAR | _MAKE_SOCK | _MAKE_FIFO | _MAKE_BLOCK | _MAKE_SYM | _REFER | _IOCTL
)


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def version() -> int:
    """The version of the kernel's interface, 0 where there is none."""
    try:
        return system.call("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(folder: str) -> int:
    """A rule set that leaves reading and writing beneath one folder, and nothing else at all.

    Returns:
        Its file descriptor; `restrict` applies it.

    Raises:
        OSError: the kernel has no Landlock.
    """
    number = version()
    if not number:
        raise OSError(38, "this kernel has no Landlock")
    every = (1 << _RIGHTS[min(number, 5)]) - 1
    wanted = _Ruleset(every, 3 if number >= 4 else 0, 3 if number >= 6 else 0)
    size = 24 if number >= 6 else 16 if number >= 4 else 8
    made = system.call("landlock_create_ruleset", ctypes.byref(wanted), ctypes.c_size_t(size), 0)
    parent = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _Beneath(every & ~_SPECIAL, parent)
        system.call("landlock_add_rule", made, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
    return made


def restrict(made: int) -> None:
    """Put a rule set on this process, for good. Needs no_new_privs.

    Raises:
        OSError: it failed.
    """
    system.call("landlock_restrict_self", made, 0)


def restrictable() -> None:
    """Whether this kernel has Landlock.

    Raises:
        OSError: it has not.
    """
    if not version():
        raise OSError(38, "this kernel has no Landlock")
