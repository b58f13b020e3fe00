"""Somebody's code is run in peace: its exceptions become ours, and NumPy stays quiet."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from crosscheck.evaluation import ImplementationError, NotOffered

#: How the filters of warnings begin where all are ignored already.
_IGNORED = (("ignore", None, Warning, None, 0),)


class ForeignCode:
    """Around somebody's code: their exceptions become `ImplementationError`, NumPy stays quiet.

    Overflow and the like are no error here: what comes out is compared, and NaN agrees with
    nothing. The error state of the process is untouched.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._errstate = np.errstate(all="ignore")
        self._warnings: warnings.catch_warnings[None] | None = None
        self._filters: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        self._errstate.__enter__()
        filters = tuple(warnings.filters)
        if filters[:1] == _IGNORED:  # as in a worker: nothing to do, and that takes time
            self._filters = filters
            return
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._warnings is not None:
            self._warnings.__exit__(kind, error, trace)
        elif tuple(warnings.filters) != self._filters:  # theirs is the code, not the filters
            warnings.filters = [*self._filters]
            warnings.simplefilter("ignore")
        self._errstate.__exit__(kind, error, trace)
        if error is None or isinstance(error, ImplementationError | NotOffered):
            return
        if isinstance(error, StopIteration):
            raise ImplementationError(f"{self.what}: the convention yielded nothing") from error
        if isinstance(error, Exception | SystemExit):
            raise ImplementationError.during(self.what, error) from error
