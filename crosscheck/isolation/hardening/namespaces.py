"""Namespaces: the zygote and its workers see no other process, no network and an empty file system.

With root's rights or, where the system lets ordinary users have them, in a user namespace.
"""

from __future__ import annotations

import os

from crosscheck.isolation.hardening import system

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_NOSUID, _NODEV, _NOEXEC, _REC, _PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_DETACH = 2

#: What all scratch folders together may hold.
SCRATCH = "size=64m,nr_inodes=4096,mode=0755"


def enter() -> None:
    """New namespaces for this process and, of process ids, for its children.

    Raises:
        OSError: the system does not let us.
    """
    uid, gid = os.geteuid(), os.getegid()
    flags = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET
    if uid == 0:
        system.unshare(flags)
        return
    system.unshare(flags | _NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")


def empty_root(folder: str) -> None:
    """Make a new, empty, size-limited file system the root, and let go of the old one.

    Args:
        folder: an empty folder, to mount it on.

    Raises:
        OSError: it cannot be done; the mounts may be half-way, in this namespace only.
    """
    system.mount("none", "/", "", _REC | _PRIVATE)
    system.mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV | _NOEXEC, SCRATCH)
    old = os.path.join(folder, "old")
    os.mkdir(old, 0o700)
    system.call("pivot_root", folder.encode(), old.encode())
    os.chdir("/")
    system.call("umount2", b"/old", _DETACH)
    os.rmdir("/old")


def _write(path: str, text: str) -> None:
    with open(path, "w") as handle:
        handle.write(text)
