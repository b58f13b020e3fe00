"""A rule: one probable mistake as data, and what a rule says of a finding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosscheck.causes.evidence import Evidence

#: How sure a cause is, the surest first. ``proved``: computed, what the mistake would give is what
#: was given (or what repairs it makes it agree). ``likely``: the pattern over the cases says so.
#: ``possible``: fits, but so may others.
CERTAINTIES = ("proved", "likely", "possible")

#: Finding codes of three sorts: arrays that differ, exceptions, breaches of the contract.
VALUES = (
    "wrong-shape",
    "forward-wrong",
    "backward-wrong",
    "backward-wrong-by-numeric",
    "backward-wrong-by-oracles",
    "gradient-convention",
    "forward-and-backward-wrong",
    "forward-wrong-backward-consistent",
    "not-its-own-derivative",
)


@dataclass(frozen=True)
class Diagnosis:
    """What a rule found.

    Attributes:
        certainty: one of `CERTAINTIES`.
        says: the probable mistake in words, as the end of "Probably …".
        evidence: what speaks for it, in short sentences.
        facts: what the rule's question and answer are filled with.
    """

    certainty: str
    says: str
    evidence: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One probable mistake.

    Attributes:
        slug: a stable name.
        title: the mistake in a few words, for lists.
        test: from the evidence of a finding to a diagnosis, or None.
        question: the first hint: it makes the author look, and does not give it away.
        answer: the second hint: what is wrong and what to write instead.
        codes: the finding codes that it is tried on.

    Question and answer may name ``{q}``, the quantity, ``{s}``, the subject, and the facts of
    the diagnosis.
    """

    slug: str
    title: str
    test: Callable[[Evidence], Diagnosis | None]
    question: str
    answer: str
    codes: Sequence[str] = VALUES


def proved(evidence: Evidence, says: str, why: str, **facts: Any) -> Diagnosis:
    """What is said of a mistake that gives what was given, in every view.

    Args:
        evidence: whose views it was computed on; few numbers make it no more than likely.
        says: the mistake, as the end of "Probably …".
        why: what equals what.
        facts: for the rule's question and answer.
    """
    count = len(evidence.views)
    where = f"in all {count} cases looked at" if count > 1 else "in the case looked at"
    return Diagnosis(evidence.certainty, says, (f"{why}, {where}.",), facts)
