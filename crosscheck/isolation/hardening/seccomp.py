"""A system call filter: what a computation needs is allowed, all else fails with EPERM.

A list of what is allowed, not of what is forbidden: a call that a newer kernel adds is refused. The
program is classic BPF (https://docs.kernel.org/userspace-api/seccomp_filter.html), built once in the
zygote. Nothing can be mapped executable, so no machine code can be brought in either.
"""

from __future__ import annotations

import ctypes
import struct

from crosscheck.isolation.hardening import system

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _ENOTTY = 1, 38, 25
_FILTER_MODE = 2
_X32 = 0x40000000
_PROT_EXEC = 4

#: Name → number on x86_64 and on aarch64 (None: it does not exist there).
ALLOWED: dict[str, tuple[int, int | None]] = {
    # the stream, the scratch folder
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66),
    "pread64": (17, 67), "pwrite64": (18, 68), "close": (3, 57), "lseek": (8, 62),
    "open": (2, None), "openat": (257, 56), "fstat": (5, 80), "stat": (4, None),
    "lstat": (6, None), "newfstatat": (262, 79), "statx": (332, 291), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "getdents64": (217, 61),
    "getcwd": (79, 17), "chdir": (80, 49), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "ftruncate": (77, 46), "fsync": (74, 82),
    "readlink": (89, None), "readlinkat": (267, 78), "dup": (32, 23),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    # memory
    "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233),
    # itself
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132), "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "umask": (95, 166), "getrlimit": (97, 163), "getrusage": (98, 165), "times": (100, 153),
    "uname": (63, 160), "sysinfo": (99, 179), "exit": (60, 93), "exit_group": (231, 94),
    "futex": (202, 98), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128), "rseq": (334, 293), "set_robust_list": (273, 99),
    # time and chance
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None),
    "getrandom": (318, 278),
}  # fmt: skip
#: Allowed unless the memory is to be executable; the protection is argument 2.
_MAPPING = {"mmap": (9, 222), "mprotect": (10, 226)}
#: Allowed for looking, not for changing: argument 2 must be null.
_LOOKING = {"prlimit64": (302, 261)}
#: Allowed for descriptors and flags alone; the command is argument 1. Others choose who gets which signal.
_DESCRIPTORS = {"fcntl": (72, 25)}
_DUPFD, _GETFD, _SETFD, _GETFL, _SETFL, _DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
_COMMANDS = (_DUPFD, _GETFD, _SETFD, _GETFL, _SETFL, _DUPFD_CLOEXEC)
#: Refused with the answer that makes the C library take another way, or the caller no offence.
_OTHERWISE = {"clone3": (435, 435, _ENOSYS), "ioctl": (16, 29, _ENOTTY)}


def _statement(code: int, value: int) -> bytes:
    return struct.pack("<HBBI", code, 0, 0, value)


def _jump(code: int, value: int, true: int, false: int) -> bytes:
    return struct.pack("<HBBI", code, true, false, value)


_LOAD, _RETURN, _EQUAL, _AT_LEAST, _ANY_BIT = 0x20, 0x06, 0x15, 0x35, 0x45


def program(machine: str) -> bytes:
    """The filter for an architecture.

    Raises:
        OSError: the architecture is not known here.
    """
    if machine not in _ARCHITECTURE:
        raise OSError(38, f"no system call numbers for {machine}")
    column = 0 if machine == "x86_64" else 1
    lines = [
        _statement(_LOAD, 4),  # the architecture: 32-bit calls have other numbers
        _jump(_EQUAL, _ARCHITECTURE[machine], 1, 0),
        _statement(_RETURN, _KILL),
        _statement(_LOAD, 0),  # the call's number
    ]
    if machine == "x86_64":
        lines += [_jump(_AT_LEAST, _X32, 0, 1), _statement(_RETURN, _KILL)]
    for numbers in ALLOWED.values():
        number = numbers[column]
        if number is not None:
            lines += [_jump(_EQUAL, number, 0, 1), _statement(_RETURN, _ALLOW)]
    for *pair, answer in _OTHERWISE.values():
        lines += [_jump(_EQUAL, pair[column], 0, 1), _statement(_RETURN, _ERRNO | answer)]
    for mapping in _MAPPING.values():
        lines += [
            _jump(_EQUAL, mapping[column], 0, 4),
            _statement(_LOAD, 32),  # low half of argument 2
            _jump(_ANY_BIT, _PROT_EXEC, 0, 1),
            _statement(_RETURN, _ERRNO | _EPERM),
            _statement(_RETURN, _ALLOW),
        ]
    for descriptors in _DESCRIPTORS.values():
        lines += [
            _jump(_EQUAL, descriptors[column], 0, 2 + 2 * len(_COMMANDS)),
            _statement(_LOAD, 24),
        ]
        for command in _COMMANDS:
            lines += [_jump(_EQUAL, command, 0, 1), _statement(_RETURN, _ALLOW)]
        lines += [_statement(_RETURN, _ERRNO | _EPERM)]
    for looking in _LOOKING.values():
        lines += [
            _jump(_EQUAL, looking[column], 0, 6),
            _statement(_LOAD, 32),
            _jump(_EQUAL, 0, 0, 3),
            _statement(_LOAD, 36),
            _jump(_EQUAL, 0, 0, 1),
            _statement(_RETURN, _ALLOW),
            _statement(_RETURN, _ERRNO | _EPERM),
        ]
    return b"".join([*lines, _statement(_RETURN, _ERRNO | _EPERM)])


def apply(filter_program: bytes) -> None:
    """Put the filter on this process, for good. Needs no_new_privs.

    Raises:
        OSError: the kernel refuses it.
    """

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]

    found = Program(len(filter_program) // 8, filter_program)
    system.prctl(system.PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(found))
