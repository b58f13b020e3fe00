"""The parent's hold on a zygote: starts it, asks it for workers, ends it."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

from crosscheck.isolation.failures import IsolationError
from crosscheck.isolation.hardening.limits import Limits

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
zygote.main(zygote.socket.socket(fileno={descriptor}))
"""


class Zygote:
    """A running zygote. Safe to use from several threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        import crosscheck

        places = [str(Path(crosscheck.__file__).parent.parent), sysconfig.get_path("platlib")]
        import numpy

        numpys = str(Path(numpy.__file__).parent.parent)
        places += [numpys] if numpys not in places else []
        boot = _BOOT.format(places=places, descriptor=theirs.fileno())
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.control = ours
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", "-X", "utf8", "-c", boot],
                env=ENVIRONMENT, cwd="/", pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise IsolationError(f"no process can be started: {error}") from None
        finally:
            theirs.close()

    @property
    def usable(self) -> bool:
        """Whether it runs and is this process's own, not a forked parent's."""
        return self.owner == os.getpid() and self.process.poll() is None

    def fork(self, limits: Limits) -> tuple[socket.socket, int]:
        """A new worker: its stream and its number."""
        ours, theirs = socket.socketpair()
        with theirs:
            reply = self._ask({"do": "fork", "limits": limits.plain()}, theirs)
        return ours, int(reply["pid"])

    def end(self, pid: int, patience: float = 0.0) -> dict[str, Any]:
        """How a worker ended; killed if it still runs after `patience` seconds."""
        return self._ask({"do": "end", "pid": pid, "patience": patience})

    def _ask(self, command: dict[str, Any], carry: socket.socket | None = None) -> dict[str, Any]:
        with self.lock:
            try:
                message = json.dumps(command).encode()
                if carry is None:
                    self.control.sendall(message)
                else:
                    socket.send_fds(self.control, [message], [carry.fileno()])
                answer = self.control.recv(65536)
            except OSError as error:
                raise IsolationError(
                    f"the process that workers come from is gone: {error}"
                ) from None
        if not answer:
            raise IsolationError("the process that workers come from has ended")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the zygote and with it every worker."""
        if self.owner != os.getpid():
            return
        self.control.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


_shared: Zygote | None = None
_shared_lock = threading.Lock()


def shared() -> Zygote:
    """This process's zygote, started at first use and ended with the process."""
    global _shared
    with _shared_lock:
        if _shared is None or not _shared.usable:
            _shared = Zygote()
            atexit.register(_shared.close)
        return _shared
