"""The process that workers are forked from: NumPy and the harness, and nothing that is secret.

It reads commands from the parent on one socket: fork a worker on the socket that comes along, kill one,
say how one ended. It never runs a line of a submission, and ends when the parent does.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crosscheck.isolation import preload, runtime, warming
from crosscheck.isolation.hardening import (
    landlock,
    levels,
    limits,
    namespaces,
    privileges,
    seccomp,
    system,
)
from crosscheck.isolation.hardening.levels import Level
from crosscheck.isolation.hardening.limits import Limits
from crosscheck.isolation.protocol import Frame, Kind, encode

LINUX = sys.platform == "linux"
#: Exit code of a worker that could not give everything up: no submission has run in it.
UNREADY = 113
#: A worker lives for a moment: it looks for unreachable cycles after so many new objects, not 700.
GARBAGE = 20_000


@dataclass
class Slot:
    """A scratch folder and the rule set that leaves it open."""

    folder: str
    rules: int | None = None
    worker: int = 0


@dataclass
class Hardening:
    """What every worker gives up, found out once.

    Attributes:
        measures: what is in force.
        missing: what is not, and why.
    """

    folder: str
    without: Sequence[str] = ()
    extra: Sequence[str] = ()
    measures: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    program: bytes = b""
    landlock: bool = False
    privileges: bool = False
    limited: bool = False
    size: int = 0
    null: int = -1
    slots: list[Slot] = field(default_factory=list)

    def attempt(self, name: str, step: Callable[[], object]) -> bool:
        """One measure; whether it is in force."""
        try:
            if name in self.without:
                raise OSError(0, "left out on request")
            step()
        except (OSError, ImportError, ValueError) as error:
            self.missing.append(f"{name}: {getattr(error, 'strerror', None) or error}")
            return False
        self.measures.append(name)
        return True

    def prepare(self) -> None:
        """Build what all workers share: the filter; and find out what the system has."""
        self.null = os.open(os.devnull, os.O_RDWR)
        self.size = limits.own_size()
        self.limited = self.attempt("limits", lambda: __import__("resource"))
        if not LINUX:
            self.missing.append(f"privileges, files, system calls: not on {sys.platform}")
            return
        self.privileges = self.attempt("no new privileges", lambda: system.prctl(39))
        self.landlock = self.attempt("Landlock", landlock.restrictable)

        def build() -> None:
            self.program = seccomp.program(system.machine())

        self.attempt("seccomp", build)

    def slot(self) -> Slot:
        """A free scratch folder, empty."""
        for slot in self.slots:
            if not slot.worker:
                return slot
        slot = Slot(os.path.join(self.folder, str(len(self.slots))))
        os.mkdir(slot.folder, 0o700)
        if os.geteuid() == 0:
            os.chown(slot.folder, privileges.NOBODY, privileges.NOBODY)
        if self.landlock:
            slot.rules = landlock.ruleset(slot.folder)
        self.slots.append(slot)
        return slot

    def apply(self, slot: Slot, most: Limits, keep: Sequence[int]) -> None:
        """Give everything up. Only `keep` stays open.

        Raises:
            OSError: something that was in force before is not now.
        """
        for descriptor in (0, 1, 2):
            os.dup2(self.null, descriptor)
        os.chdir(slot.folder)
        os.umask(0o077)
        os.environ.clear()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        if self.limited:
            limits.apply(most, self.size)
        rules = slot.rules if slot.rules is not None else -1
        if self.privileges:
            privileges.no_new()
            privileges.drop()
            system.prctl(system.PR_SET_DUMPABLE, 0)
            system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if rules >= 0:
            landlock.restrict(rules)
        _close_all_but((0, 1, 2, *keep))
        if self.program:
            seccomp.apply(self.program)


def _close_all_but(keep: Sequence[int]) -> None:
    edges = sorted(keep)
    for low, high in zip(edges, [*edges[1:], 4096], strict=True):
        os.closerange(low + 1, high)


def main(descriptor: int, folder: str, extra: Sequence[str], without: Sequence[str]) -> None:
    """A zygote's life, namespaces first.

    Args:
        descriptor: the control socket.
        folder: an empty folder of the parent's making, for scratch.
        extra: modules beyond the standard ones that submissions may import.
        without: measures to leave out, to try what a lesser system gives.
    """
    unknown = preload.preload(extra)
    hardening = Hardening(folder, without, [name for name in extra if name not in unknown])
    hardening.missing += [f"module {name}: not installed" for name in unknown]
    hardening.prepare()
    if LINUX and _namespaces(hardening):
        child = os.fork()
        if child:
            os.close(descriptor)
            _, status = os.waitpid(child, 0)
            os._exit(0 if status == 0 else 1)
        system.prctl(system.PR_SET_PDEATHSIG, signal.SIGKILL)
        if hardening.attempt("empty file system", lambda: namespaces.empty_root(folder)):
            hardening.folder = "/"
    control = socket.socket(fileno=descriptor)
    level = _level(hardening)
    facts = {"level": int(level), "measures": hardening.measures, "missing": hardening.missing}
    control.sendall(json.dumps(facts).encode())
    os.dup2(hardening.null, 2)
    preload.close_doors(hardening.extra)
    gc.set_threshold(GARBAGE)
    gc.collect()
    gc.freeze()
    Zygote(control, hardening).serve()


def _namespaces(hardening: Hardening) -> bool:
    return hardening.attempt("namespaces", namespaces.enter)


def _level(hardening: Hardening) -> Level:
    """What a worker that has given everything up can still do says which level is reached."""
    if not hardening.limited:
        return Level.PROCESS
    reading, writing = os.pipe()
    slot = hardening.slot()
    child = os.fork()
    if child == 0:
        try:
            hardening.apply(slot, Limits(), [writing])
            os.write(writing, ("\n".join(levels.trial()) + "\n.").encode())
        except BaseException as error:
            os.write(writing, f"cannot give everything up: {error}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as handle:
        *able, end = handle.read().decode().split("\n")
    os.waitpid(child, 0)
    able = [what for what in able if what]
    hardening.missing += [f"a worker can {what}" for what in able]
    if end != ".":
        return Level.PROCESS
    if able:
        return Level.LIMITED if hardening.privileges or not LINUX else Level.PROCESS
    sealed = {"namespaces", "empty file system"} <= set(hardening.measures)
    return Level.SEALED if sealed else Level.CONFINED


class Zygote:
    """Serves the parent's commands."""

    def __init__(self, control: socket.socket, hardening: Hardening) -> None:
        self.control = control
        self.hardening = hardening
        self.children: dict[int, Slot] = {}
        self.learnt: dict[str, tuple[Frame, ...]] = {}

    def serve(self) -> None:
        """Until the control socket is closed."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self.control, 65536, 4)
            except OSError:
                break
            if not message:
                break
            command = json.loads(message)
            if command["do"] == "fork":
                reply = self._fork(descriptors[0], Limits(**command["limits"]))
            elif command["do"] == "warm":
                reply = self._warm()
            elif command["do"] == "learn":
                reply = self._learn(command["name"], command["size"])
            else:
                reply = self._end(command["pid"], command["patience"])
            self.control.sendall(json.dumps(reply).encode())
        for pid in [*self.children]:
            self._end(pid, 0.0)

    def _warm(self) -> dict[str, Any]:
        warming.warm()
        gc.collect()
        gc.freeze()
        return {}

    def _learn(self, name: str, size: int) -> dict[str, Any]:
        """Take questions that workers will be asked again and again."""
        self.control.sendall(b"{}")
        data = bytearray()
        while len(data) < size:
            part = self.control.recv(size - len(data))
            if not part:
                break
            data += part
        self.learnt[name] = runtime.learn(bytes(data))
        if self.hardening.size:  # what a submission may use comes on top
            self.hardening.size += 2 * size
        gc.collect()
        gc.freeze()
        return {}

    def _fork(self, stream: int, most: Limits) -> dict[str, Any]:
        slot = self.hardening.slot()
        pid = os.fork()
        if pid == 0:
            self._live(stream, slot, most)
        os.close(stream)
        slot.worker = pid
        self.children[pid] = slot
        return {"pid": pid}

    def _live(self, stream: int, slot: Slot, most: Limits) -> None:
        """A worker's whole life: give everything up, say so, run the submission."""
        status = UNREADY
        try:
            self.hardening.apply(slot, most, [stream])
            os.write(stream, encode(Frame(Kind.READY, 0)))
            status = 1
            runtime.run(stream, most.output, self.learnt)
            status = 0
        finally:
            os._exit(status)

    def _end(self, pid: int, patience: float) -> dict[str, Any]:
        """Kill a worker if it still runs, say how it ended, and empty its folder."""
        slot = self.children.pop(pid, None)
        if slot is None:
            return {"status": 0}
        done, status = os.waitpid(pid, os.WNOHANG)
        waited = 0.0
        while not done and waited < patience:  # it has closed its stream: it may be about to end
            time.sleep(0.005)
            waited += 0.005
            done, status = os.waitpid(pid, os.WNOHANG)
        killed = not done
        if killed:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        try:
            empty(slot.folder)
            slot.worker = 0
        except OSError:  # what is left there is nobody's: the slot stays taken
            pass
        return {"killed": killed, "status": os.waitstatus_to_exitcode(status)}


def empty(folder: str) -> None:
    """Remove what a worker left in its folder, however deep or closed it is. Nothing runs there now.

    Without recursion and without long paths: what lies in a folder in it is moved up before that goes.

    Raises:
        OSError: something cannot be removed.
    """
    while folders := _without_files(folder):
        for path in folders:
            os.chmod(path, 0o700)
            for inside in _without_files(path):
                os.chmod(inside, 0o700)  # a folder that moves is written to
                os.rename(inside, os.path.join(folder, os.urandom(16).hex()))
            os.rmdir(path)


def _without_files(folder: str) -> list[str]:
    """Remove a folder's files; the paths of the folders in it."""
    with os.scandir(folder) as entries:
        found = [*entries]
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
    return [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
