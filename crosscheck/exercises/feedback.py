"""What a student is told: where to look, not what to write. No expected value, no solution.

A hint is a question or a place. It is chosen by the probable cause where one is known, else by the kind of
error and the quantity. Everything of a submission that is quoted is capped and made harmless.
"""

from __future__ import annotations

from collections.abc import Mapping

from crosscheck.exercises.exercise import CONTRACT
from crosscheck.exercises.marking import Mark, Status
from crosscheck.spec import Problem

#: Probable cause → where to look.
BY_CAUSE: Mapping[str, str] = {
    "not-summed-over-batch": "it has one row per sample. How many samples use this parameter, and how do their contributions come together?",
    "extra-axis": "the values fit, the shape does not: compare the shape of the gradient with that of the parameter.",
    "transposed": "compare its axes with those of the parameter, on sizes that differ.",
    "zero": "it is zero everywhere: is it computed, and is what was computed kept?",
    "upstream-ignored": "what comes from the layer above seems not to be used.",
    "one-minus": "look at the signs in the formula.",
    "reversed": "look at the order of the axes.",
    "scale": "everything is off by one factor: does the exercise ask for a sum or for a mean?",
    "accumulates": "call backward twice with the same arguments and look at the gradients.",
}
#: Code of the finding → where to look.
BY_CODE: Mapping[str, str] = {
    "wrong-shape": "the shape is not the one that is asked for: print the shapes, with more than one sample.",
    "wrong-dtype": "the dtype is not that of the input: look at every array that is created.",
    "non-finite": "it becomes NaN or infinite for large inputs: which function overflows?",
    "forward-wrong": "compute one small example by hand and compare.",
    "backward-wrong": "differentiate your own forward numerically (change one element a little) and compare.",
    "backward-wrong-by-numeric": "differentiate your own forward numerically (change one element a little) and compare.",
    "backward-wrong-by-oracles": "write the derivative down element by element, and compare with the code.",
    "forward-and-backward-wrong": "start with the forward; then differentiate it anew.",
    "forward-wrong-backward-consistent": "it differs only because the forward does.",
    "gradient-convention": "is there a part of it that the exercise wants to be something else?",
    "not-its-own-derivative": "it is not the derivative of the forward that is written.",
    "missing": "is it returned, or left where the exercise says?",
}
#: Clause of the contract → where to look.
BY_CLAUSE: Mapping[str, str] = {
    "inputs unchanged": "an argument is another after the call than before: is something written into it?",
    "upstream unchanged": "the upstream gradient is changed in place.",
    "second call gives the same": "the second call gives something else: what is kept from the first?",
    "two instances share nothing": "two objects share an array: where does it belong?",
    "returns no alias": "what is returned is a view of what was given: changing one changes the other.",
}
#: At most so many characters of a submission's own words.
MOST_QUOTED = 600


def hint(mark: Mark, show: str) -> str:
    """One or two sentences for a student; "" where nothing is to be said.

    Args:
        mark: of a quantity.
        show: how much the exercise lets be seen: ``verdict``, ``hints`` or ``causes``.
    """
    if mark.status is Status.RIGHT:
        return ""
    if mark.status is Status.FOLLOWS:
        return "differs only because of another mistake here: no points are lost for it."
    if mark.status is Status.UNCHECKED:
        return f"could not be checked: {quoted(mark.reason)}"
    if mark.status in (Status.RAISED, Status.MISSING):
        return quoted(mark.reason)
    if show == "verdict":
        return ""
    if show == "causes" and mark.finding is not None and mark.finding.explanation:
        return f"probably {mark.finding.explanation}"
    return _hint(mark)


def _hint(mark: Mark) -> str:
    if mark.quantity == CONTRACT:
        if mark.finding is None or not mark.finding.quantity.startswith(CONTRACT):
            return quoted(mark.reason)
        clause = mark.finding.quantity.partition(": ")[2]
        if mark.finding.cause == "accumulates":
            return BY_CAUSE["accumulates"]
        return BY_CLAUSE.get(clause, "")
    finding = mark.finding
    if finding is None:
        return ""
    if finding.code == "wrong-shape":
        known = BY_CAUSE.get(finding.cause or "") or (finding.hint if finding.cause else "")
        return known or _shape(mark)
    return BY_CAUSE.get(finding.cause or "") or finding.hint or BY_CODE.get(finding.code, "")


def _shape(mark: Mark) -> str:
    """The shape in the exercise's own words: axis names, no numbers of ours."""
    finding = mark.finding
    if finding is None or not finding.comparisons:
        return BY_CODE["wrong-shape"]
    problem = finding.comparisons[0].case.problem
    axes = axes_of(problem, mark.quantity)
    return (
        f"it should have the shape ({axes}). {BY_CODE['wrong-shape']}"
        if axes
        else BY_CODE["wrong-shape"]
    )


def axes_of(problem: Problem, quantity: str) -> str:
    """The axis names of a quantity, ``"in_features, out_features"``; "" where they have none."""
    tensors = {**problem.given, **problem.outputs}
    tensor = tensors.get(quantity.removeprefix("grad_"))
    if tensor is None or not isinstance(tensor.axes, str):
        return ""
    return ", ".join(tensor.axes.split())


def quoted(text: str) -> str:
    """Somebody else's words: no control characters, not too many of them."""
    clean = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return clean if len(clean) <= MOST_QUOTED else clean[:MOST_QUOTED] + " …"
