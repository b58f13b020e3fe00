"""How much of everything a submission may use, and the kernel's own limits that see to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from crosscheck.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: wall-clock time of one request (a forward and backward pass, say, or the import).
        total: wall-clock time of all its requests together.
        memory: bytes of address space on top of what the empty worker has.
        output: characters of its printed output that are kept.
        file: bytes of any one file that it writes to its scratch folder.
        reply: bytes of one reply beyond what the arrays asked for need.
    """

    seconds: float = 5.0
    total: float = 30.0
    memory: int = 512 * MIB
    output: int = 20_000
    file: int = 8 * MIB
    reply: int = MIB

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise UsageError(f"limit {name}={value!r}: a positive number is needed")

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def apply(limits: Limits, size: int) -> None:
    """Put the kernel's limits on this process, for good. POSIX only.

    Args:
        limits: what the submission may use.
        size: what this process has of address space already (`own_size`); where that is not
            known (0), memory is not limited.
    """
    import resource

    def lower(kind: int, value: int) -> None:
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))

    cpu = int(limits.total) + 2
    lower(resource.RLIMIT_CPU, cpu)
    lower(resource.RLIMIT_FSIZE, int(limits.file))
    lower(resource.RLIMIT_NOFILE, 32)
    lower(resource.RLIMIT_CORE, 0)
    if size:
        lower(resource.RLIMIT_AS, size + int(limits.memory))


def own_size() -> int:
    """Bytes of address space that this process has; 0 where the system does not say."""
    try:
        import resource

        with open("/proc/self/statm") as handle:
            return int(handle.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return 0
