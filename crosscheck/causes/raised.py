"""Causes read off an exception: what was raised, where, and in which cases only."""

from __future__ import annotations

import re
from collections.abc import Callable

from crosscheck.causes.evidence import Evidence
from crosscheck.causes.rule import Diagnosis, Rule

RAISED = ("raised", "contract")
#: Removed name → what to write today. NumPy 1.24 took the aliases of Python types away, 2.0 many more.
MODERN = {
    "float": "float or np.float64", "int": "int or np.int64", "bool": "bool or np.bool_",
    "object": "object", "complex": "complex or np.complex128", "str": "str or np.str_",
    "bool8": "np.bool_", "float_": "np.float64", "complex_": "np.complex128",
    "unicode_": "np.str_", "Inf": "np.inf", "Infinity": "np.inf", "infty": "np.inf",
    "PINF": "np.inf", "NINF": "-np.inf", "NaN": "np.nan", "pad": "np.pad",
    "product": "np.prod", "cumproduct": "np.cumprod", "sometrue": "np.any", "alltrue": "np.all",
    "in1d": "np.isin", "row_stack": "np.vstack", "trapz": "np.trapezoid", "asfarray": "np.asarray",
    "asscalar": "array.item()", "round_": "np.round", "msort": "np.sort(a, axis=0)",
    "mat": "np.asmatrix, or better np.asarray", "cast": "array.astype", "find_common_type":
    "np.promote_types", "issubclass_": "issubclass", "string_": "np.bytes_",
}  # fmt: skip


#: Recurrent layer → the gates' letters, as they may be called, in the order of the blocks.
GATES = {
    "LSTM": ("ifgo", "ifco", "ifuo"),
    "GRU": ("rzn", "rzh", "ruc"),
}


def _text(evidence: Evidence) -> str:
    return evidence.said[0] if evidence.said else ""


def _head(evidence: Evidence) -> str:
    """The exception alone, without its traceback."""
    return _text(evidence).partition("\n")[0]


def _line(evidence: Evidence) -> str:
    """The last line of the author's source in the traceback, if it is there."""
    lines = [s.strip() for s in _text(evidence).splitlines()[1:]]
    found = [s for s in lines if s and not s.startswith(("File ", "^", "~"))]
    return found[-1] if found else ""


def _matches(
    pattern: str, says: str, certainty: str = "proved"
) -> Callable[[Evidence], Diagnosis | None]:
    def test(evidence: Evidence) -> Diagnosis | None:
        found = re.search(pattern, _head(evidence))
        if found is None:
            return None
        why = [f"it raised: {_head(evidence).partition('raised ')[2] or _head(evidence)}"]
        if _line(evidence):
            why.append(f"in the line: {_line(evidence)}")
        facts = {k: v or "" for k, v in found.groupdict().items()}
        facts["line"] = _line(evidence) or "the line above"
        return Diagnosis(certainty, says.format(**facts), tuple(why), facts)

    return test


def _removed(evidence: Evidence) -> Diagnosis | None:
    pattern = (
        r"module 'numpy(?:\.\w+)*' has no attribute '(?P<one>\w+)'|`np\.(?P<two>\w+)` was removed"
    )
    found = re.search(pattern, _head(evidence))
    if found is None:
        return None
    name = found["one"] or found["two"]
    modern = MODERN.get(name, "the name that NumPy's migration guide gives")
    return Diagnosis(
        "proved" if name in MODERN or found["two"] else "likely",
        f"np.{name} is a name that NumPy no longer has; today it is {modern}.",
        (f"NumPy raised: {_head(evidence).partition('raised ')[2]}",),
        {"name": name, "modern": modern},
    )


def _gates(evidence: Evidence) -> Diagnosis | None:
    """A recurrent layer that has an array for each gate, where one array of all is set."""
    name = evidence.wrong_cases[0].problem.layer.name.removesuffix("Cell")
    found = re.search(
        r"has no attribute '(?P<name>\w+)' .*its arrays are (?P<own>.*)", _head(evidence)
    )
    if found is None or name not in GATES:
        return None
    own = set(found["own"].replace(",", " ").split())
    for gates in GATES[name]:
        stems = {array[:-1] for array in own if array[-1:] == gates[0]}
        for stem in sorted(stems, key=lambda s: _unlike(s, found["name"])):
            if all(stem + gate in own for gate in gates):
                listed = ", ".join(stem + gate for gate in gates)
                return Diagnosis(
                    "likely",
                    f"it keeps an array for each gate ({listed}), as flax and many tutorials do; here "
                    "the gates are the blocks of one array.",
                    (f"{found['name']} is not there, but {listed} are.",),
                    {"name": found["name"], "listed": listed},
                )
    return None


def _unlike(stem: str, name: str) -> tuple[bool, bool, str]:
    """Orders W_i before W_h and b_i for ``weight_ih``."""
    kind, _, side = name.partition("_")
    return (stem[:1].lower() == "b") != (kind == "bias"), not stem.endswith(side[:1]), stem


def _read_only(evidence: Evidence) -> str | None:
    """Which it is that is written into: "inputs" or "upstream"; None if nothing is read-only."""
    if not re.search(r"read-only|WRITEABLE", _head(evidence)):
        return None
    case = evidence.wrong_cases[0]
    values, upstream = case.arrays(memory="plain"), case.upstream(memory="plain")
    evidence.subject_answer(case, values=values, upstream=upstream)
    fresh = case.arrays(memory="plain")
    changed = any(
        name not in case.problem.buffers and bool((values[name] != array).any())
        for name, array in fresh.items()
    )
    return "inputs" if changed else "upstream"


def _writes(which: str) -> Callable[[Evidence], Diagnosis | None]:
    def test(evidence: Evidence) -> Diagnosis | None:
        if _read_only(evidence) != which:
            return None
        what = "its input" if which == "inputs" else "the upstream gradient"
        return Diagnosis(
            "proved",
            f"it writes into {what}.",
            (f"with read-only arrays it raised: {_head(evidence).partition('raised ')[2]}",),
        )

    return test


RULES = (
    Rule(
        "removed-numpy-api",
        "a name that NumPy no longer has",
        _removed,
        "Which version of NumPy was this written for, and which is installed?",
        "np.{name} is gone. Write {modern}.",
        RAISED,
    ),
    Rule(
        "missing-star",
        "a missing multiplication sign",
        _matches(
            r"TypeError: '(?:numpy\.)?(?:ndarray|float64|float32|float|int)' object is not callable",
            "a * is missing: a(…) is a call, a * (…) a product.",
        ),
        "What does Python make of a name followed by parentheses?",
        "Put the * in: {line}",
        RAISED,
    ),
    Rule(
        "in-place-dtype",
        "+= into an integer array",
        _matches(
            r"(?:UFuncOutputCastingError|UFuncTypeError|_UFuncOutputCastingError).*|Cannot cast ufunc",
            "floats are added in place to an integer array.",
        ),
        "Which dtype does np.array(0) have?",
        "Start from a float array of the right shape: np.zeros_like(…), not np.array(0).",
        RAISED,
    ),
    Rule(
        "mutates-input",
        "writes into its input",
        _writes("inputs"),
        "Which array does {s} write into, and who owns it?",
        "Write into a copy of the input.",
        RAISED,
    ),
    Rule(
        "mutates-upstream",
        "writes into the upstream gradient",
        _writes("upstream"),
        "Which array does {s} write into, and who owns it?",
        "Write into a copy of the upstream gradient.",
        RAISED,
    ),
    Rule(
        "undefined-name",
        "a name that is not defined",
        _matches(
            r"(?:NameError|UnboundLocalError): .*?'(?P<name>\w+)'",
            "the name {name} is used but never set.",
        ),
        "Where is the name set that this line uses?",
        "{name} is not defined where it is used: look for another spelling, or a missing self.",
        RAISED,
    ),
    Rule(
        "not-implemented",
        "not written yet",
        _matches(r"NotImplementedError", "this part is not written yet."),
        "Is this the part that you still want to write?",
        "A NotImplementedError stands there: write the method.",
        RAISED,
    ),
    Rule(
        "separate-gates",
        "an array for each gate of a recurrent layer",
        _gates,
        "How many arrays does the layer have, and how many matrix products does a step need?",
        "Stack the gates: {name} = np.concatenate([{listed}]), and cut its gradient up in the same "
        "order. A property {name} with a setter that cuts it up does it without another change.",
        RAISED,
    ),
    Rule(
        "missing-attribute",
        "an attribute that was never set",
        _matches(
            r"AttributeError: '(?P<owner>\w+)' object has no attribute '(?P<name>\w+)'",
            "self.{name} is read but was never set.",
            "likely",
        ),
        "Where is that attribute set, and is it set before it is read?",
        "{name} is not an attribute of {owner}: set it in __init__ or forward, or correct the name.",
        RAISED,
    ),
    Rule(
        "shapes-do-not-fit",
        "shapes that do not fit, as with * for a matrix product",
        _matches(
            r"could not be broadcast|matmul: Input operand|not aligned|mismatch in its core"
            r"|cannot reshape|could not broadcast|non-broadcastable|size mismatch",
            "two shapes do not fit each other: a * where the matrix product @ belongs, or a "
            "missing transpose.",
            "possible",
        ),
        "Write the two shapes under each other. Which product is meant, @ or *?",
        "Shapes do not fit. For a matrix product write @ (or np.dot), with the inner sizes equal.",
        RAISED,
    ),
)
