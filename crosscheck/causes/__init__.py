"""Causes: the probable mistake behind a finding, proved on the arrays where that is possible.

A rule is data (`Rule`): a slug, a test over the evidence, and what to say at two levels. `RULES` has
all of them, the specific before the general. The surest diagnosis names the cause, and among equally
sure ones the first; where no rule holds no cause is named, and the evidence is shown instead. Adding a
cause means adding a `Rule` to the file of its section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosscheck.causes import (
    gathering,
    operands,
    patterns,
    places,
    raised,
    reduction,
    scale,
    sequences,
    state,
    windows,
)
from crosscheck.causes.evidence import Evidence, View, attempt, gather, trusted
from crosscheck.causes.rule import CERTAINTIES, Diagnosis, Rule
from crosscheck.comparison import Comparison
from crosscheck.derivative import describe_region
from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.finding import Finding

if TYPE_CHECKING:
    from crosscheck.panel import Panel

__all__ = ["CERTAINTIES", "RULES", "Diagnosis", "Evidence", "Rule", "View", "explain"]

RULES: tuple[Rule, ...] = (
    *raised.RULES,
    *state.RULES,
    *reduction.RULES,
    *operands.RULES,
    *windows.RULES,
    *scale.RULES,
    *sequences.RULES,
    *places.RULES,
    *gathering.RULES,
    *patterns.RULES,
)

#: A backward that is consistent with a wrong forward needs no cause of its own.
FOLLOWS = Rule(
    "follows-from-forward",
    "follows from the wrong forward",
    lambda evidence: Diagnosis(
        "proved",
        "nothing of its own: it is the derivative of the forward as it is, which is wrong."
        if evidence.finding.code == "forward-wrong-backward-consistent"
        else "nothing of its own: it is the right gradient, but the forward is another function.",
        ("it agrees with the numeric derivative of the subject's own forward.",)
        if evidence.finding.code == "forward-wrong-backward-consistent"
        else ("it agrees with the frameworks.",),
    ),
    "Which output is wrong?",
    "Mend the forward first, then look at {q} again.",
    ("forward-wrong-backward-consistent", "not-its-own-derivative"),
)


def explain(
    findings: Sequence[Finding], comparisons: Sequence[Comparison], panel: Panel
) -> list[Finding]:
    """The findings with their probable causes, where rules hold on all their evidence.

    Args:
        findings: of one check, with their disagreeing comparisons.
        comparisons: all of the check: where it agrees says as much as where it does not.
        panel: to ask the witnesses further questions.
    """
    wrong_forward = any(f.code in ("forward-wrong", "non-finite") for f in findings)
    return [_explained(f, comparisons, panel, wrong_forward) for f in findings]


def _explained(
    finding: Finding, comparisons: Sequence[Comparison], panel: Panel, wrong_forward: bool
) -> Finding:
    if finding.code in ("oracles-disagree", "not-differentiable"):
        return finding
    evidence = gather(finding, comparisons, panel)
    if finding.code in FOLLOWS.codes and wrong_forward:
        diagnosis = FOLLOWS.test(evidence)
        assert diagnosis is not None
        return _told(finding, FOLLOWS, diagnosis, evidence)
    found = diagnose(evidence)
    if finding.code == "raised" and (found is None or found[1].certainty != "proved"):
        found = _of_forward(evidence) or found
    if found is not None:
        return _told(finding, *found, evidence)
    where = _where(evidence.views[0]) if evidence.views else ""
    said = f"no known mistake fits{': it is ' + where if where else '.'}"
    if finding.explanation:  # blame has narrowed it down already
        said = f"no known mistake fits; {finding.explanation.removesuffix('.')}."
    return replace(
        finding,
        explanation=said,
        evidence=_circumstances(evidence),
        hint=_look(finding),
    )


def diagnose(evidence: Evidence) -> tuple[Rule, Diagnosis] | None:
    """The surest rule that holds, among equals the first; a proof ends the search."""
    best: tuple[Rule, Diagnosis] | None = None
    with np.errstate(all="ignore"):
        for rule in RULES:
            if evidence.finding.code not in rule.codes:
                continue
            failed = f"look for a cause, the rule {rule.slug!r} of {evidence.quantity} failed"
            diagnosis = attempt(rule.test, evidence, failed)
            if diagnosis is None:
                continue
            if diagnosis.certainty == CERTAINTIES[0]:
                return rule, diagnosis
            if best is None or _rank(diagnosis) < _rank(best[1]):
                best = rule, diagnosis
    return best


def _rank(diagnosis: Diagnosis) -> int:
    return CERTAINTIES.index(diagnosis.certainty)


def _of_forward(evidence: Evidence) -> tuple[Rule, Diagnosis] | None:
    """Where backward raised: what the forward alone gave may be wrong already, and be why."""
    views = []
    who = trusted(evidence.panel)
    for case in evidence.wrong_cases[:6]:
        name = next(iter(case.problem.outputs))
        try:
            got = evidence.panel.subject.bind(case.problem).forward(case.arrays(memory="plain"))
        except (ImplementationError, NotOffered):
            return None
        view = View(case, name, who)
        if name not in got or view.expected is None or view.alike(got[name], view.expected):
            return None
        views.append(View(case, name, who, got[name], view.expected))
    if not views:
        return None
    code = "wrong-shape" if any(_shapes_differ(v) for v in views) else "forward-wrong"
    of_output = replace(evidence.finding, code=code, quantity=views[0].quantity)
    return diagnose(replace(evidence, finding=of_output, views=views, right_views=[]))


def _shapes_differ(view: View) -> bool:
    return view.got is None or view.expected is None or view.got.shape != view.expected.shape


def _told(finding: Finding, rule: Rule, diagnosis: Diagnosis, evidence: Evidence) -> Finding:
    facts = {"q": finding.quantity, "s": evidence.panel.subject.name, **diagnosis.facts}
    return replace(
        finding,
        cause=rule.slug,
        explanation=diagnosis.says,
        certainty=diagnosis.certainty,
        evidence=(*diagnosis.evidence, *_circumstances(evidence)),
        hint=rule.question.format(**facts),
        answer=rule.answer.format(**facts),
    )


def _circumstances(evidence: Evidence) -> tuple[str, ...]:
    """In which cases it is wrong and in which right, for every finding."""
    wrong, right = evidence.wrong_cases, evidence.right_cases
    if evidence.finding.code == "contract" or not wrong:
        return ()
    lines = [f"wrong in {len(wrong)} of {len(wrong) + len(right)} cases."]
    if right:
        kinds = list(dict.fromkeys(case.kind for case in right))
        lines.append(f"right in: {', '.join(kinds[:5])}{' …' if len(kinds) > 5 else ''}.")
    return tuple(lines)


def _where(view: View) -> str:
    """Where in the array it is wrong."""
    got, expected = view.got, view.expected
    if got is None or expected is None or got.shape != expected.shape or got.ndim == 0:
        return ""
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - expected)
    scale = float(np.max(np.abs(expected), initial=0.0))
    wrong = ~(difference <= 1e-6 * max(scale, float(np.finfo(np.float64).tiny)))
    return f"wrong in {describe_region(wrong)}." if wrong.any() else ""


def _look(finding: Finding) -> str:
    if finding.quantity.startswith("grad_"):
        return "Write the formula of this gradient on paper, with its shapes, and compare."
    return "Compute the worst element by hand, for one sample, and compare."
