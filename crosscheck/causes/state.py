"""Causes in state, memory, precision and the contract: what is wrong is not the formula."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crosscheck.causes.evidence import Evidence
from crosscheck.causes.rule import VALUES, Diagnosis, Rule
from crosscheck.tolerance import quantities

CONTRACT = ("contract",)
#: A number that is kept or dropped by chance is the same so many times in a row once in 200,000 tries.
ASKED_AGAIN = 24


def _breach(clause: str, but: str = "") -> Callable[[Evidence], Diagnosis | None]:
    """A clause of the contract that is broken: whatever broke it was seen to happen."""

    def test(evidence: Evidence) -> Diagnosis | None:
        if evidence.quantity != f"contract: {clause}":
            return None
        reason = evidence.said[0] if evidence.said else clause
        if but and but not in reason:
            return None
        return Diagnosis(
            "proved", f"it {reason}.", (f"observed: {evidence.panel.subject.name} {reason}.",)
        )

    return test


def changes_twice(evidence: Evidence) -> bool:
    """Whether two newly constructed subjects give different answers to the same question."""
    case = (evidence.wrong_cases or evidence.right_cases)[0]
    one = evidence.subject_answer(case)
    if one is None:
        return False
    first = quantities(one)
    name = evidence.quantity
    names = [name] if name in first else [*first]
    for _ in range(ASKED_AGAIN):  # a single number may come out the same by chance
        other = evidence.subject_answer(case)
        second = {} if other is None else quantities(other)
        if any(
            n not in second
            or not np.array_equal(first[n], second[n], equal_nan=first[n].dtype.kind == "f")
            for n in names
        ):
            return True
    return False


def _mutated(evidence: Evidence) -> Diagnosis | None:
    """The layer changed its own input, and what is wrong is right for the changed input."""
    if not evidence.views or evidence.shapes_differ:
        return None
    for view in evidence.views:
        values = view.case.arrays(memory="plain")
        if evidence.subject_answer(view.case, values=values) is None:
            return None
        inputs = {name: values[name] for name in view.problem.inputs}
        changed = any(not np.array_equal(a, view.values[n]) for n, a in inputs.items())
        if not changed or not view.alike(view.would_be(values=inputs), view.got):
            return None
    return Diagnosis(
        evidence.certainty,
        "the input is changed on the way, and the gradient is that of the changed input.",
        ("after the call the input is another, and for that one the gradient is right.",),
    )


def _random(evidence: Evidence) -> Diagnosis | None:
    if evidence.finding.code == "contract" and "second call" not in evidence.quantity:
        return None
    if evidence.finding.code != "random-forward" and not changes_twice(evidence):
        return None
    return Diagnosis(
        "proved",
        "it is another one at every call, with the same arguments: something is drawn at random.",
        ("asked the same question again, it gave a different answer.",),
    )


def _float32(evidence: Evidence) -> Diagnosis | None:
    views = [v for v in evidence.views if v.got is not None]
    dtypes = {str(v.got.dtype) for v in views if v.got is not None}
    if evidence.finding.code != "wrong-dtype" or not dtypes or not dtypes <= {"float32", "float16"}:
        return None
    dtype = dtypes.pop()
    return Diagnosis(
        "proved",
        f"a {dtype} array is used where the input is float64.",
        (f"its dtype is {dtype} for an input of float64.",),
        {"dtype": dtype},
    )


def _promoted(evidence: Evidence) -> Diagnosis | None:
    views = [v for v in evidence.views if v.got is not None]
    if evidence.finding.code != "wrong-dtype" or not views:
        return None
    if any(v.case.dtype != "float32" or v.got is None or v.got.dtype != "float64" for v in views):
        return None
    return Diagnosis(
        "proved",
        "a float64 array or number is used where the input is float32.",
        ("its dtype is float64 for an input of float32.",),
    )


def _integer(evidence: Evidence) -> Diagnosis | None:
    if not evidence.views:
        return None
    kinds = set()
    if not any(
        v.got is not None and (v.got.dtype.kind != "f" or v.got.any()) for v in evidence.views
    ):
        return None  # zero says more
    for view in evidence.views:
        got, right = view.got, view.expected
        if got is None or right is None or got.shape != right.shape or right.dtype.kind != "f":
            return None
        kinds.add(got.dtype.kind)
        if got.dtype.kind == "f" and not any(
            np.array_equal(got, how(right)) for how in (np.trunc, np.rint, np.floor)
        ):
            return None
    if not (kinds <= {"i", "u", "b"} or kinds == {"f"}):
        return None
    return Diagnosis(
        "proved",
        "it is cut to whole numbers: an integer array holds it.",
        ("every element is a whole number, and the right ones are not.",),
    )


def _rounded(evidence: Evidence) -> Diagnosis | None:
    """float64, but every number is one of float32, and as far off as float32 rounds."""
    plain = [v for v in evidence.views if v.case.dtype == "float64"]
    if not plain or len(plain) != len(evidence.views):
        return None
    exact, half = 0, True
    for view in plain:
        got, right = view.got, view.expected
        if got is None or right is None or got.shape != right.shape or got.dtype != "float64":
            return None
        scale = float(np.max(np.abs(right), initial=0.0))
        with np.errstate(all="ignore"):
            error = float(np.max(np.abs(got - right), initial=0.0))
            exact += int(np.array_equal(got.astype(np.float32), got))
            half = half and np.array_equal(got.astype(np.float16), got)
            somewhere = right != 0
            felt = np.abs(got - right) > 1e-3 * error
            touched = float(np.mean(felt[somewhere])) if somewhere.any() else 0.0
        most = 1e-2 if half else 1e-5
        if not 1e-12 * scale < error < most * scale or touched < 0.5:
            return None  # rounding spares next to no element
    dtype = "float16" if half else "float32"
    return Diagnosis(
        "proved" if exact == len(plain) else "possible",
        f"it was {dtype} on the way: the error is that of rounding to {dtype}.",
        (
            f"every number is one that {dtype} can hold, in a float64 array."
            if exact == len(plain)
            else "the error is 1e-12 to 1e-5 of the largest element.",
        ),
    )


RULES = (
    Rule(
        "mutates-input",
        "forward or backward changes its input",
        _breach("inputs unchanged"),
        "Print x before and after the call. Is it still the same?",
        "Write into a copy: x = x.copy(), or an expression that makes a new array, such as "
        "np.where(x > 0, x, 0).",
        CONTRACT,
    ),
    Rule(
        "mutates-upstream",
        "backward changes the upstream gradient",
        _breach("upstream unchanged"),
        "Print grad_output before and after the call. Who else may need it?",
        "Write into a copy: grad = grad_output * …, not grad_output *= …. In a network with a "
        "residual connection the same array goes to two layers.",
        CONTRACT,
    ),
    Rule(
        "accumulates",
        "accumulates instead of overwriting",
        _breach("second call gives the same", "twice as large"),
        "What are the gradients after backward was called twice?",
        "Assign, do not add: self.grad_weights = …. Or reset it to zero first; if your course "
        "accumulates, declare that as its convention.",
        CONTRACT,
    ),
    Rule(
        "random",
        "another answer at every call",
        _random,
        "What is drawn at random, when, and is the same draw used in forward and backward?",
        "{q} changes from call to call. Draw once, keep what was drawn, and use it in both passes.",
        (*VALUES, "contract", "random-forward"),
    ),
    Rule(
        "state-kept",
        "a second call gives something else",
        _breach("second call gives the same"),
        "What does the object remember from the call before?",
        "A second call with the same arguments gives something else. Let nothing but the "
        "parameters outlive a call.",
        CONTRACT,
    ),
    Rule(
        "shared-state",
        "two instances share an array",
        _breach("two instances share nothing"),
        "Where are the arrays created: once for the class, or in __init__ for each object?",
        "Two objects share memory. Create arrays in __init__, not in the class body or as a "
        "default argument.",
        CONTRACT,
    ),
    Rule(
        "returns-alias",
        "returns a view of what it was given",
        _breach("returns no alias"),
        "If the caller changes the result in place, what else changes?",
        "Return a copy: what is returned shares memory with what was given.",
        CONTRACT,
    ),
    Rule(
        "stale-cache",
        "uses the last forward's input",
        _breach("backward belongs to its inputs"),
        "Call forward on a, then on b, then backward for a. Which input does it use?",
        "backward uses what the last forward remembered, not what it is given. Use its argument, "
        "or keep one memory per call: a layer may be used in two places of a network.",
        CONTRACT,
    ),
    Rule(
        "prints",
        "a print left in",
        _breach("prints nothing"),
        "What does your code write to the terminal during training?",
        "Take the print out, or use logging: it runs once per step.",
        CONTRACT,
    ),
    Rule(
        "np-matrix",
        "np.matrix instead of an array",
        _breach("returns plain arrays", "matrix"),
        "What is type(…) of what you return, and what does * mean for it?",
        "np.matrix is always 2-D and its * is the matrix product. Use np.ndarray, and @ for the "
        "matrix product.",
        CONTRACT,
    ),
    Rule(
        "float32-buffer",
        "a float32 buffer in float64",
        _float32,
        "Which dtype do np.zeros(…, dtype=…) and the input have?",
        "Make buffers with the input's dtype: np.zeros_like(x), or np.zeros(shape, x.dtype). np.sqrt(2) is a "
        "float64 number too: float(np.sqrt(2)) is none.",
        ("wrong-dtype",),
    ),
    Rule(
        "float64-buffer",
        "a float64 buffer in float32",
        _promoted,
        "Which dtype does np.zeros(shape) have, and which does the input?",
        "Make buffers with the input's dtype: np.zeros_like(x), or np.zeros(shape, x.dtype). np.sqrt(2) is a "
        "float64 number too: float(np.sqrt(2)) is none.",
        ("wrong-dtype",),
    ),
    Rule(
        "mutates-input",
        "the gradient of an input that the layer changed",
        _mutated,
        "Print x before and after the call. Is it still the same?",
        "Write into a copy: x = x.copy(), or an expression that makes a new array, such as "
        "np.where(x > 0, x, 0).",
    ),
    Rule(
        "integer-buffer",
        "cut to whole numbers",
        _integer,
        "Which dtype does the array have that {q} is written into?",
        "An integer array cuts what is written into it. Make it a float array: "
        "np.zeros(shape, x.dtype).",
        (*VALUES, "wrong-dtype"),
    ),
    Rule(
        "float32-inside",
        "rounded to float32 on the way",
        _rounded,
        "Is there an array or a constant of float32 or float16 on the way to {q}?",
        "{q} was rounded on the way. Keep the input's dtype throughout.",
        (*VALUES, "low-precision"),
    ),
)
