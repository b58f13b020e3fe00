"""Conventions told apart from mistakes: a course may want a mean over the batch inside the layer.

What is the same factor, made of sizes, in everything that it concerns, is a convention that was not
declared: ``convention-mismatch`` with the factor. What is off by a factor in one quantity alone is a
mistake, and stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crosscheck.comparison import NUMERIC, Kind
from crosscheck.finding import Finding
from crosscheck.implementations.conventions.scalings import CONSTANTS, one_factor, ratio
from crosscheck.spec import Problem

CODE = "convention-mismatch"
#: Findings that a factor may explain.
BY_VALUE = frozenset(
    ("forward-wrong", "backward-wrong", "backward-wrong-by-oracles", "forward-and-backward-wrong",
     "gradient-convention",
     "backward-wrong-by-numeric", "forward-wrong-backward-consistent")
)  # fmt: skip


def tell_apart(findings: Sequence[Finding], subject: str) -> list[Finding]:
    """The findings, those that are a convention under the code ``convention-mismatch``.

    Args:
        findings: of one check.
        subject: the name of the implementation.
    """
    problem = next((f.comparisons[0].case.problem for f in findings if f.comparisons), None)
    if problem is None:
        return [*findings]
    found = [_accumulates(finding, subject) for finding in findings]
    by_value = {f.quantity: f for f in found if f.code in BY_VALUE}
    parameters = [f"grad_{n}" for n in problem.parameters if n in problem.differentiable]
    loss = _of_a_loss(problem)
    for group in (parameters, loss):
        # A mean over the samples inside the layer; of a loss, over whatever there is, and a half.
        axes, constants = (problem.sizes, CONSTANTS) if group is loss else (("batch",), (1.0,))
        factor = _shared(by_value, group, tuple(axes), constants, subject)
        if factor is None:
            continue
        if group is parameters and set(by_value) - set(parameters):
            continue  # the input's gradient or the output is off as well: no mean of the parameters'
        found = [
            _scaled(f, factor, group, subject) if f.quantity in group and f.code in BY_VALUE else f
            for f in found
        ]
    return found


def _of_a_loss(problem: Problem) -> list[str]:
    """The quantities of a layer whose only output is one number."""
    shapes = [tensor.shape(problem) for tensor in problem.outputs.values()]
    if shapes != [()] or problem.parameters:
        return []
    return [*problem.outputs, *(f"grad_{name}" for name in problem.differentiable)]


def _shared(
    findings: dict[str, Finding],
    group: Sequence[str],
    axes: Sequence[str],
    constants: Sequence[float],
    subject: str,
) -> str | None:
    """The one factor that every quantity of a group is off by."""
    if not group or not set(group) <= set(findings):
        return None
    ratios, sizes = [], []
    for quantity in group:
        mine = _ratios(findings[quantity], subject)
        if not mine or any(k is None for k, _ in mine):
            return None
        ratios += [k for k, _ in mine if k is not None]
        sizes += [s for _, s in mine]
    known = [axis for axis in axes if all(axis in s for s in sizes)]
    return one_factor(ratios, sizes, known, constants)


def _ratios(finding: Finding, subject: str) -> list[tuple[float | None, dict[str, int]]]:
    return [
        (ratio(c.got, c.expected), c.case.problem.sizes)
        for c in finding.comparisons
        if c.left == subject
        and c.right != NUMERIC
        and c.kind is Kind.VALUE
        and c.got is not None
        and c.expected is not None
    ]


def _scaled(finding: Finding, factor: str, group: Sequence[str], subject: str) -> Finding:
    listed = ", ".join(f'{quantity} = "{factor}"' for quantity in group)
    return replace(
        finding,
        code=CODE,
        cause="scale",
        message=(
            f"{finding.quantity} of {subject} is {factor} times what is asked for, as is everything "
            "that belongs to it: another convention, not a wrong derivative."
        ),
        explanation=f"a mean or a sum: an exercise that wants it declares scale = {{ {listed} }}.",
        certainty="proved",
    )


def _accumulates(finding: Finding, subject: str) -> Finding:
    if finding.code != "contract" or "accumulates" not in finding.message:
        return finding
    return replace(
        finding,
        code=CODE,
        cause="accumulates",
        message=f"{subject} adds its gradients to those of the call before: another convention.",
        explanation="accumulated: an exercise that wants it declares accumulates = true.",
    )
