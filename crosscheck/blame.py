"""Blame: from who agrees with whom, who is wrong.

The table that this file is, for a gradient of the subject S, its oracles O (PyTorch, JAX) and the
numeric derivative N of the subject's own forward:

    S=O  S=N      right
    S≠O  S≠N  O=N   the backward is wrong
    S≠O  S=N        the forward is wrong and the backward is consistent with it; where the forward is
                    right, the gradient asked for is another than its derivative
    S≠O  S≠N  O≠N   both are wrong
    S=O  S≠N        the forward computes something else than it is the derivative of
    O≠O             the oracles disagree with each other
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crosscheck.comparison import NUMERIC, Comparison, Kind, Verdict
from crosscheck.finding import Finding

#: Codes, with what each says. `{s}` is the subject, `{q}` the quantity, `{o}` its oracles.
MESSAGES = {
    "raised": "{s} raises an exception: {reason}",
    "wrong-shape": "{q} of {s} has the wrong shape: {reason}.",
    "wrong-dtype": "{q} of {s} has the wrong dtype: {reason}.",
    "non-finite": "{q} of {s} is not finite where {o} is: {reason}.",
    "missing": "{s} does not give {q}: {reason}.",
    "forward-wrong": "The forward of {s} is wrong: {q} differs from {o}.",
    "backward-wrong": (
        "The backward of {s} is wrong: {q} differs from {o}, and from the numeric derivative of "
        "its own forward."
    ),
    "backward-wrong-by-numeric": (
        "The backward of {s} is wrong: {q} differs from the numeric derivative of its own forward."
    ),
    "backward-wrong-by-oracles": "{q} of {s} differs from {o}; its numeric derivative was not available.",
    "forward-wrong-backward-consistent": (
        "{q} of {s} differs from {o} because its forward does; the backward is consistent with "
        "that forward."
    ),
    "gradient-convention": (
        "{q} of {s} differs from {o}, although the forward agrees and the numeric derivative of it "
        "shows no difference: either it is too coarse here to see one, or the gradient asked for "
        "is not the derivative of the forward (a row of padding that is not to be trained)."
    ),
    "forward-and-backward-wrong": (
        "{q} of {s} differs from {o} and from the numeric derivative of its own forward: forward "
        "and backward are both wrong."
    ),
    "not-its-own-derivative": (
        "{q} of {s} agrees with {o}, but not with the numeric derivative of its own forward: "
        "the forward does not compute what it is the derivative of, or loses precision."
    ),
    "random-forward": (
        "The forward of {s} is random, so that its gradients cannot be judged: {reason}. Fix its "
        "seed, or make what it draws (a mask) an input."
    ),
    "low-precision": (
        "{s} computes in float32 whatever it is given: in float64 {q} differs from {o} by no more "
        "than float32 rounds."
    ),
    "oracles-disagree": "PyTorch and JAX disagree with each other on {q}; {s} agrees with {o}.",
    "contract": "{s} {reason}.",
    "not-differentiable": "Not differentiable here: {reason}",
}


@dataclass(frozen=True)
class _Votes:
    """The comparisons of one quantity of one case, by pair."""

    subject: str
    comparisons: Sequence[Comparison]

    def between(self, left: str, right: str) -> Verdict | None:
        """The verdict of a pair, or None if it was not compared."""
        for comparison in self.comparisons:
            if {comparison.left, comparison.right} == {left, right}:
                return comparison.verdict
        return None

    @property
    def oracles(self) -> tuple[str, ...]:
        """The witnesses besides the subject and the numeric one, in order."""
        names = dict.fromkeys(n for c in self.comparisons for n in (c.left, c.right))
        return tuple(n for n in names if n not in (self.subject, NUMERIC, "contract", "itself"))

    def first(self, verdict: Verdict, *kinds: Kind) -> Comparison | None:
        """The first comparison of the subject with that verdict (and one of those kinds)."""
        for comparison in self.comparisons:
            if comparison.left == self.subject and comparison.verdict is verdict:
                if not kinds or comparison.kind in kinds:
                    return comparison
        return None


def judge(subject: str, comparisons: Iterable[Comparison]) -> list[Finding]:
    """Findings of one check, each quantity once per code, gathered over the cases.

    Args:
        subject: the name of the implementation under test.
        comparisons: all of them, of all cases.
    """
    per_case: dict[tuple[str, str], list[Comparison]] = {}
    comparisons = [*comparisons]
    if any(c.kind is Kind.RANDOM for c in comparisons):
        # Whatever else differs, differs at every call: it is no evidence of a wrong gradient.
        comparisons = [c for c in comparisons if c.kind not in (Kind.VALUE, Kind.DTYPE)]
    low = any(c.kind is Kind.LOW_PRECISION for c in comparisons)
    for comparison in comparisons:
        per_case.setdefault((comparison.case.id, comparison.quantity), []).append(comparison)
    wrong_forward = {
        case
        for (case, quantity), group in per_case.items()
        if not quantity.startswith(("grad_", "contract"))
        and _Votes(subject, group).first(Verdict.DISAGREE, Kind.VALUE, Kind.SHAPE, Kind.NON_FINITE)
    }
    gathered: dict[tuple[str, str], Finding] = {}
    for (case, quantity), group in per_case.items():
        found = _judge_quantity(_Votes(subject, group), quantity, case in wrong_forward)
        if found is None:
            continue
        if low and all(_rounding_of_float32(c) for c in found.comparisons):
            text = MESSAGES["low-precision"].format(
                s=subject, q=quantity, o=" and ".join(_display(c.right) for c in found.comparisons)
            )
            found = replace(found, code="low-precision", message=text)
        key = (found.code, found.quantity)
        if key in gathered:
            previous = gathered[key]
            found = Finding(
                previous.code,
                previous.quantity,
                previous.message,
                explanation=previous.explanation,
                comparisons=previous.comparisons + found.comparisons,
                against=previous.against,
            )
        gathered[key] = found
    return _folded(gathered)


def _folded(gathered: dict[tuple[str, str], Finding]) -> list[Finding]:
    """What is a wrong backward in one case is one where another case was too coarse to say so."""
    found = dict(gathered)
    for code, quantity in gathered:
        plain = found.get(("backward-wrong", quantity))
        if plain is not None and code in ("gradient-convention", "backward-wrong-by-oracles"):
            more = found.pop((code, quantity)).comparisons
            joined = replace(plain, comparisons=plain.comparisons + more)
            found["backward-wrong", quantity] = joined
    return list(found.values())


def _judge_quantity(votes: _Votes, quantity: str, forward_wrong: bool) -> Finding | None:
    subject = votes.subject
    wrong = tuple(
        c
        for c in votes.comparisons
        if c.verdict is Verdict.DISAGREE and c.known is None and subject in (c.left, c.right)
    )
    against = {c.right: c.verdict.value for c in votes.comparisons if c.left == subject}

    def finding(code: str, about: Sequence[str], reason: str = "") -> Finding:
        text = MESSAGES[code].format(
            s=subject,
            q=quantity,
            o=" and ".join(map(_display, about)) or "the others",
            reason=reason,
        )
        return Finding(code, quantity, text, comparisons=wrong, against=against)

    random = votes.first(Verdict.DISAGREE, Kind.RANDOM)
    if random is not None:
        return finding("random-forward", (), random.reason)
    if wrong and wrong[0].kind is Kind.CONTRACT:
        return finding("contract", (), wrong[0].reason)
    for code, kind in (
        ("raised", Kind.RAISED),
        ("missing", Kind.MISSING),
        ("wrong-shape", Kind.SHAPE),
        ("wrong-dtype", Kind.DTYPE),
    ):
        comparison = votes.first(Verdict.DISAGREE, kind)
        if comparison is not None and comparison.known is None:
            reason = comparison.reason
            if kind is Kind.RAISED:  # the first line; the report shows the traceback
                reason = reason.partition("\n")[0]
            return finding(code, (comparison.right,), reason)
    comparison = votes.first(Verdict.DISAGREE, Kind.NON_FINITE)
    if comparison is not None and comparison.known is None:
        return finding("non-finite", (comparison.right,), comparison.reason)
    oracles = votes.oracles
    for one, other in zip(oracles, oracles[1:], strict=False):
        if votes.between(one, other) is Verdict.DISAGREE:
            if not any(c.known for c in votes.comparisons):
                agrees = [o for o in oracles if votes.between(subject, o) is Verdict.AGREE]
                if not agrees:
                    break  # wrong by both of them, or not given
                split = finding("oracles-disagree", agrees)
                every = tuple(c for c in votes.comparisons if c.verdict is Verdict.DISAGREE)
                return Finding(
                    split.code, quantity, split.message, comparisons=every, against=against
                )
    if not wrong:
        return None
    differs = [o for o in oracles if votes.between(subject, o) is Verdict.DISAGREE]
    numeric = votes.between(subject, NUMERIC)
    if not quantity.startswith("grad_"):
        return finding("forward-wrong", differs)
    if not differs:
        agrees = [o for o in oracles if votes.between(subject, o) is Verdict.AGREE]
        found = finding("not-its-own-derivative" if agrees else "backward-wrong-by-numeric", agrees)
        return replace(found, explanation=next((c.reason for c in wrong if c.reason), ""))
    if numeric is Verdict.AGREE and forward_wrong:
        return finding("forward-wrong-backward-consistent", differs)
    if numeric is Verdict.AGREE:
        return finding("gradient-convention", differs)
    if numeric is Verdict.DISAGREE:
        oracle_is_derivative = any(votes.between(o, NUMERIC) is Verdict.AGREE for o in differs)
        both = forward_wrong and not oracle_is_derivative
        return finding("forward-and-backward-wrong" if both else "backward-wrong", differs)
    return finding("backward-wrong-by-oracles", differs)


def _rounding_of_float32(comparison: Comparison) -> bool:
    """Whether a difference in float64 would be none in float32, by the same rule."""
    margin = comparison.margin
    return comparison.case.dtype == "float64" and margin is not None and margin < 2.0**29


def _display(witness: str) -> str:
    return {"torch": "PyTorch", "jax": "JAX"}.get(witness, witness)
