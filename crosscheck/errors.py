"""What goes wrong around a check, as exceptions with a message a person can act on.

A wrong *layer* is never an exception: it is a verdict. These are for wrong usage, unreadable
input and missing frameworks; the command line turns each into its exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CrosscheckError(Exception):
    """Base of every error that crosscheck raises on purpose."""

    exit_code = 2


class UsageError(CrosscheckError):
    """An argument makes no sense: an unknown layer, option, axis, dtype, seed or framework."""


class CaseError(CrosscheckError):
    """A case cannot be built or a case file cannot be read."""


class MissingFramework(CrosscheckError):
    """A framework was asked for by name and is not installed."""

    exit_code = 3


class Disagreement(AssertionError):
    """The witnesses disagree; the message is the whole report. Raised by `Report.require_agreement`."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UsageError:
    """An error for a name that is not known, with the nearest known names.

    Args:
        kind: what the name should have been, "layer" for one.
        name: what was given.
        known: the names that would have done.
    """
    names = sorted(known)
    text = str(name)
    folded = {candidate.casefold(): candidate for candidate in names}
    near = difflib.get_close_matches(text.casefold(), folded, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(folded[match] for match in near) + "?"
    elif len(names) <= 12:
        hint = "there is: " + (", ".join(names) or "none")
    else:
        hint = f"there are {len(names)}; `crosscheck list` shows them"
    return UsageError(f"unknown {kind} {text!r}: {hint}")
