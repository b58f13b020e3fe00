"""Somebody else's code, run where it can do no harm and tell no lies that matter.

The parent holds expected values, seeds and results and never runs a submission. A *zygote*, a process
with NumPy and nothing secret in it, forks one worker per submission; only arrays of checked dtype,
shape and length come back (`crosscheck.isolation.protocol`). What comes back is an
`Implementation` like any other::

    with open_worker(text, limits=Limits(seconds=10)) as worker:
        subject = worker.implementation("nn_Linear", catalogue["Linear"])
        report = check_cases(layer, cases, subject)
"""

from crosscheck.isolation.failures import (
    IsolationError,
    Missing,
    ProtocolViolation,
    TimedOut,
    WorkerDied,
)
from crosscheck.isolation.hardening.levels import Level
from crosscheck.isolation.hardening.limits import Limits
from crosscheck.isolation.launch import Zygote, shared
from crosscheck.isolation.worker import Worker, open_worker

__all__ = [
    "IsolationError",
    "Level",
    "Limits",
    "Missing",
    "ProtocolViolation",
    "TimedOut",
    "Worker",
    "WorkerDied",
    "Zygote",
    "open_worker",
    "shared",
]
