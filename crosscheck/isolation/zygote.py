"""The process that workers are forked from: NumPy and the harness, and nothing that is secret.

It reads commands from the parent on one socket: fork a worker on the socket that comes along, kill one,
say how one ended. It never runs a line of a submission, and ends when the parent does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from typing import Any

import crosscheck.isolation.runtime as runtime
from crosscheck.isolation.hardening import limits as hardening_limits
from crosscheck.isolation.hardening.limits import Limits


def main(control: socket.socket) -> None:
    """Serve until the control socket is closed."""
    children: set[int] = set()
    while True:
        try:
            message, descriptors, _, _ = socket.recv_fds(control, 65536, 4)
        except OSError:
            break
        if not message:
            break
        command = json.loads(message)
        reply: dict[str, Any] = {}
        if command["do"] == "fork":
            (stream,) = descriptors
            pid = os.fork()
            if pid == 0:
                control.close()
                _worker(stream, Limits(**command["limits"]))
            os.close(stream)
            children.add(pid)
            reply = {"pid": pid}
        elif command["do"] == "end":
            reply = _end(command["pid"], children, command["patience"])
        control.sendall(json.dumps(reply).encode() + b"\n")
    for pid in children:
        _end(pid, set(children))


def _worker(stream: int, limits: Limits) -> None:
    """A worker's whole life: give everything up, say so, run the submission."""
    status = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        hardening_limits.apply(limits)
        runtime.run(stream, limits.output)
        status = 0
    finally:
        os._exit(status)


def _end(pid: int, children: set[int], patience: float = 0.0) -> dict[str, Any]:
    """Kill a worker if it still runs, and say how it ended."""
    if pid not in children:
        return {"status": 0}
    children.discard(pid)
    done, status = os.waitpid(pid, os.WNOHANG)
    waited = 0.0
    while not done and waited < patience:  # it has closed its stream: it may be about to end
        time.sleep(0.005)
        waited += 0.005
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return {"killed": True, "status": os.waitstatus_to_exitcode(status)}
    return {"killed": False, "status": os.waitstatus_to_exitcode(status)}


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
