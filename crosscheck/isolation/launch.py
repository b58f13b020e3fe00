"""The parent's hold on a zygote: starts it, asks it for workers, ends it."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import crosscheck
from crosscheck.isolation.failures import IsolationError
from crosscheck.isolation.hardening.levels import Level
from crosscheck.isolation.hardening.limits import Limits

#: Seconds that a zygote may take to start.
START = 60

#: All that the zygote's environment holds.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}

_BOOT = """
import sys
standard = [*sys.path]
sys.path[:] = standard + {places!r}
from crosscheck.isolation import zygote
sys.path[:] = standard
zygote.main({descriptor}, {folder!r}, {extra!r}, {without!r})
"""


class Zygote:
    """A running zygote. Safe to use from several threads.

    Args:
        extra: modules beyond NumPy and the standard ones that submissions may import.
        without: measures to leave out, to try what a lesser system gives.
    """

    def __init__(self, extra: Sequence[str] = (), without: Sequence[str] = ()) -> None:
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise IsolationError(
                "submissions are run in forked processes, which this system does not have: use "
                "Linux, macOS, or WSL 2 on Windows"
            )
        self.owner = os.getpid()
        self.closed = False
        self.lock = threading.Lock()
        self._facts: dict[str, Any] | None = None
        self._warm = False
        #: What it has learnt, by name.
        self.learnt: frozenset[str] = frozenset()
        self.folder = tempfile.mkdtemp(prefix="crosscheck-")
        os.chmod(self.folder, 0o711)
        self.control, theirs = socket.socketpair()
        boot = _BOOT.format(
            places=_places(), descriptor=theirs.fileno(), folder=self.folder,
            extra=[*extra], without=[*without],
        )  # fmt: skip
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", boot],
                env=ENVIRONMENT, cwd="/", pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise IsolationError(f"no process can be started: {error}") from None
        finally:
            theirs.close()

    @property
    def facts(self) -> Mapping[str, Any]:
        """``level``, ``measures`` and ``missing``, as the zygote found them before any submission.

        Raises:
            IsolationError: it did not start.
        """
        with self.lock:
            if self._facts is None:
                self.control.settimeout(START)
                try:
                    answer = self.control.recv(65536)
                except OSError:
                    answer = b""
                self.control.settimeout(None)
                if not answer:
                    self.process.kill()
                    _, why = self.process.communicate()
                    last = why.decode(errors="replace").strip().rpartition("\n")[2]
                    raise IsolationError(f"no process for submissions could be started: {last}")
                self._facts = json.loads(answer)
            return self._facts

    @property
    def level(self) -> Level:
        """What is known to hold for its workers."""
        return Level(self.facts["level"])

    def require(self, level: Level | str | None) -> None:
        """Nothing, if at least this level was reached.

        Raises:
            IsolationError: less was reached; the message says what is missing and why.
        """
        if level is None:
            return
        wanted = Level.named(level)
        if self.level < wanted:
            why = "; ".join(self.facts["missing"]) or "no reason known"
            raise IsolationError(
                f"isolation level {wanted.name.lower()} is required, this system reaches "
                f"{self.level.name.lower()}: {why}"
            )

    @property
    def usable(self) -> bool:
        """Whether it runs and is this process's own, not a forked parent's."""
        return self.owner == os.getpid() and self.process.poll() is None

    def warm(self) -> None:
        """Have it learn what every worker would have to: worth a tenth of a second before many.

        Raises:
            IsolationError: it is gone.
        """
        _ = self.facts
        if not self._warm:
            self._ask({"do": "warm"})
            self._warm = True

    def learn(self, name: str, questions: bytes) -> None:
        """Give it questions that its workers will be asked, so that they need not be sent to each.

        Args:
            name: what they are asked under, see `protocol.Kind.LEARNT`.
            questions: frames, one after the other. Every worker can read them: inputs are in them
                anyway, answers never.

        Raises:
            IsolationError: it is gone.
        """
        _ = self.facts
        with self.lock:
            self._exchange(json.dumps({"do": "learn", "name": name, "size": len(questions)}))
            self._exchange(questions)
            self.learnt |= {name}

    def fork(self, limits: Limits) -> tuple[socket.socket, int]:
        """A new worker: its stream and its number."""
        _ = self.facts
        ours, theirs = socket.socketpair()
        try:
            reply = self._ask({"do": "fork", "limits": limits.plain()}, theirs)
        except IsolationError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours, int(reply["pid"])

    def end(self, pid: int, patience: float = 0.0) -> dict[str, Any]:
        """How a worker ended; killed if it still runs after `patience` seconds."""
        return self._ask({"do": "end", "pid": pid, "patience": patience})

    def _ask(self, command: dict[str, Any], carry: socket.socket | None = None) -> dict[str, Any]:
        with self.lock:
            return self._exchange(json.dumps(command), carry)

    def _exchange(self, message: str | bytes, carry: socket.socket | None = None) -> dict[str, Any]:
        data = message.encode() if isinstance(message, str) else message
        try:
            if carry is None:
                self.control.sendall(data)
            else:
                socket.send_fds(self.control, [data], [carry.fileno()])
            answer = self.control.recv(65536)
        except OSError as error:
            raise IsolationError(f"the process that workers come from is gone: {error}") from None
        if not answer:
            raise IsolationError("the process that workers come from has ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the zygote and with it every worker."""
        if self.owner != os.getpid() or self.closed:
            return
        self.closed = True
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _places() -> list[str]:
    """Where NumPy and crosscheck are: the zygote looks there while it starts, and then no more."""
    found = [Path(crosscheck.__file__).parent.parent, Path(np.__file__).parent.parent]
    return [*dict.fromkeys([*map(str, found), sysconfig.get_path("platlib")])]


_shared: dict[tuple[str, ...], Zygote] = {}
_shared_lock = threading.Lock()


def shared(extra: Sequence[str] = ()) -> Zygote:
    """This process's zygote for a set of modules, started at first use, ended with the process."""
    key = tuple(extra)
    with _shared_lock:
        found = _shared.get(key)
        if found is None or not found.usable:
            found = _shared[key] = Zygote(key)
            atexit.register(found.close)
            if "multiprocessing.util" in sys.modules:  # its processes end without atexit
                sys.modules["multiprocessing.util"].Finalize(None, found.close, exitpriority=10)
        return found
