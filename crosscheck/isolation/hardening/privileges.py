"""Privileges: a worker has none, whoever started the grader."""

from __future__ import annotations

import ctypes
import os

from crosscheck.isolation.hardening import system

#: The user and group of nobody in particular; used where root grades.
NOBODY = 65534
#: SECBIT_NOROOT and its lock, the same for keeping and raising: user 0 means nothing.
_NO_ROOT = 0b101111
_CAPABILITIES = 64
_CAP_VERSION = 0x20080522


def drop() -> None:
    """Become nobody if we are root, give every capability up, and take none ever again.

    Raises:
        OSError: something is left.
    """
    if os.geteuid() == 0:
        os.setgroups([])
        for capability in range(_CAPABILITIES):
            try:
                system.prctl(system.PR_CAPBSET_DROP, capability)
            except OSError:
                break  # past the last one
        system.prctl(system.PR_SET_SECUREBITS, _NO_ROOT)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        if os.getuid() == 0 or os.geteuid() == 0:
            raise OSError(1, "still root")
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    system.call("capset", ctypes.byref(header), ctypes.byref(none))


def no_new() -> None:
    """Nothing that is executed can give privileges back.

    Raises:
        OSError: the kernel refuses.
    """
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
