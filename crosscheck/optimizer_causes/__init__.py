"""Causes of wrong optimizers, schedules and gradient clipping: which mistake gives the same numbers?

One file for what is checked: `steps` has the rules of optimizers, `surroundings` those of schedules and
of clipping. Adding a cause means adding a hypothesis there.
"""

from __future__ import annotations

from dataclasses import replace

from crosscheck.finding import Finding
from crosscheck.implementations.optimizer_convention import clipping, optimizer, schedule
from crosscheck.optimizer_causes import steps, surroundings
from crosscheck.optimizer_causes.evidence import Rule, gather
from crosscheck.panel import Panel

__all__ = ["RULES", "explain_step"]

#: The convention of what is checked → its rules, in the order in which they are tried.
RULES: dict[object, tuple[Rule, ...]] = {
    optimizer: steps.RULES,
    schedule: surroundings.SCHEDULES,
    clipping: surroundings.CLIPPING,
}

#: What is made with a mistake, and where to look for it.
MADE: dict[object, str] = {
    optimizer: "an optimizer",
    schedule: "a schedule",
    clipping: "a clipping",
}
LOOK: dict[object, str] = {
    optimizer: "Take one weight with gradients 1, then 2: which weights should come after the first "
    "and the second step, and which do?",
    schedule: "Which rate should the first step have, and which the first step after a change?",
    clipping: "Take gradients (3) and (4): what is their norm together, and what should become of them?",
}


def explain_step(finding: Finding, panel: Panel) -> Finding:
    """The finding with its probable cause, if a rule holds.

    Args:
        finding: about an optimizer, a schedule or clipping; any other is returned as it is.
        panel: its subject, and with it the layer, is asked further questions.
    """
    comparisons = finding.comparisons
    kind = comparisons[0].case.problem.layer.convention if comparisons else None
    if kind not in RULES:
        return finding
    if kind is optimizer:
        if finding.code == "raised":
            return steps.explain_exception(finding, panel)
        finding = replace(finding, message=finding.message.replace("The forward", "A step"))
    evidence = gather(finding, panel)
    for rule in RULES[kind] if evidence else ():
        said = rule.holds(evidence)
        if said is not None:
            count = f"all {len(evidence)} cases" if len(evidence) > 1 else "the case"
            return replace(
                finding,
                cause=rule.slug,
                explanation=said,
                certainty="proved",
                evidence=(f"{MADE[kind]} with this mistake gives the same numbers in {count}.",),
                hint=LOOK[kind],
                answer=said[0].upper() + said[1:],
            )
    return finding
