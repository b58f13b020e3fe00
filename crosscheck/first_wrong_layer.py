"""Which layer of a wrong network is the first that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from crosscheck.case import Case
from crosscheck.comparison import Verdict
from crosscheck.errors import UsageError
from crosscheck.finding import Finding
from crosscheck.implementations import ORACLES, oracle, reference
from crosscheck.networks import Network, stage_cases
from crosscheck.report import Report
from crosscheck.spec import Array, Layer, Problem, Values
from crosscheck.versions import installed


def first_wrong_layer(
    spec: Network,
    layers: Sequence[Any],
    findings: Sequence[Finding],
    alone: Callable[[Layer, Sequence[Case], Any], Report],
) -> list[Finding]:
    """Check each layer of a wrong network alone, on what trusted layers before it give.

    A layer is judged on its own inputs and an upstream gradient of its own, so an error that
    only passes through it is not blamed on it.

    Args:
        spec: the network.
        layers: its subjects, in order.
        findings: what is wrong with the whole.
        alone: the report of one subject on cases of its own layer.

    Returns:
        One finding, or none where each layer by itself is right.
    """
    case = next((f.comparisons[0].case for f in findings if f.comparisons), None)
    if case is None:
        return []
    for stage, stage_case in zip(spec.stages, stage_cases(case, _trusted_forward), strict=True):
        report = alone(stage.layer, [stage_case], layers[stage.index])
        if report.verdict is Verdict.DISAGREE:
            own = report.findings[0]
            message = (
                f"The first wrong layer of the network is layer {stage.index} ({report.subject}), "
                f"checked alone on the inputs it gets here: {own.message}"
            )
            return [replace(own, code="first-wrong-layer", message=message)]
    return []


def _trusted_forward(problem: Problem, values: Values) -> Array:
    """The first output of a layer by a framework, or by reference_nn where there is none."""
    trusted = [oracle(name, problem.layer) for name in ORACLES if installed(name)]
    witness = next((w for w in (*trusted, reference(problem.layer)) if w is not None), None)
    if witness is None:
        raise UsageError(f"nobody but the subject knows the forward of {problem.layer.name}")
    return witness.bind(problem).forward(values)[next(iter(problem.outputs))]
