"""What can go wrong with a worker. All but `IsolationError` are the submission's own doing."""

from __future__ import annotations

from crosscheck.errors import CrosscheckError
from crosscheck.evaluation import ImplementationError


class WorkerDied(ImplementationError):
    """The submission ended its process: exit, a signal, too much memory."""


class TimedOut(WorkerDied):
    """The submission was stopped: its time was up."""


class ProtocolViolation(WorkerDied):
    """The worker sent something that is no answer; it is ended at once."""


class Missing(ImplementationError):
    """The submission does not define what the exercise asks for.

    Attributes:
        name: what was looked for.
        near: names that it does define and that resemble it.
    """

    def __init__(self, message: str, name: str = "", near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.near = near


class IsolationError(CrosscheckError):
    """No worker can be started, or not with the isolation that was required. Not a mark."""

    exit_code = 3
