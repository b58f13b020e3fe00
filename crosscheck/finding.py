"""A Finding: who is wrong, where, and probably why, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crosscheck.comparison import Comparison


@dataclass(frozen=True)
class Finding:
    """What the comparisons of one quantity come to.

    Attributes:
        code: a stable slug, such as ``backward-wrong``.
        quantity: what it is about, such as ``grad_bias``.
        message: one or two sentences for the person who wrote the layer.
        cause: the slug of the probable mistake (`crosscheck.causes`), None if unknown.
        explanation: the probable mistake in words, with what speaks for it.
        comparisons: the evidence: the disagreeing comparisons, over all cases.
        against: witness → verdict with the subject, on the first case.
        certainty: how sure the cause is: ``proved`` (computed: the mistake gives exactly what was
            given), ``likely``, ``possible``, or "" without a cause.
        evidence: what speaks for the cause, in short sentences.
        hint: a question that makes the author look, without giving it away.
        answer: the plain answer: what is wrong and what to write instead.
    """

    code: str
    quantity: str
    message: str
    cause: str | None = None
    explanation: str = ""
    comparisons: tuple[Comparison, ...] = field(default=(), repr=False)
    against: Mapping[str, str] = field(default_factory=dict)
    certainty: str = ""
    evidence: tuple[str, ...] = ()
    hint: str = ""
    answer: str = ""
