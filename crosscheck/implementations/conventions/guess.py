"""Which convention somebody's code follows: guessed from signatures, tried, and said.

The signatures give candidates in order. Where rows or columns, or returned or left, cannot be told from
a signature, the first candidate is taken whose forward, on random arrays of the problem's shapes,
gives outputs of the declared shape. Nobody's numbers decide.
"""

from __future__ import annotations

import dis
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crosscheck.implementations.conventions.attributes import attributes
from crosscheck.implementations.conventions.cached import cached
from crosscheck.implementations.conventions.call import Call, Convention, Running
from crosscheck.implementations.conventions.columns import columns
from crosscheck.implementations.conventions.functions_with_cache import functions_with_cache
from crosscheck.implementations.conventions.layouts import own_shapes, recognise
from crosscheck.implementations.conventions.loss_and_gradient import loss_and_gradient
from crosscheck.implementations.conventions.names import (
    CACHES,
    RATES,
    UPSTREAM,
    first,
    parameter_names,
)
from crosscheck.implementations.conventions.naming import Naming
from crosscheck.implementations.conventions.notebook import notebook
from crosscheck.implementations.conventions.signatures import (
    argument_names,
    method_accepts,
    required,
    signature,
    words_of,
)
from crosscheck.implementations.conventions.slots import attributes as attributes_of
from crosscheck.implementations.conventions.tape import tape, tensor_class
from crosscheck.implementations.conventions.updating import updating
from crosscheck.implementations.conventions.whole_network import whole_network
from crosscheck.sampling import with_even_kernel
from crosscheck.spec import Problem

#: Every convention that is built in, by name.
CONVENTIONS: dict[str, Convention] = {
    "notebook": notebook,
    "cached": cached,
    "functions_with_cache": functions_with_cache,
    "columns": columns,
    "attributes": attributes,
    "updating": updating,
    "tape": tape,
    "whole_network": whole_network,
    "loss_and_gradient": loss_and_gradient,
}


@dataclass(frozen=True)
class Guess:
    """What was taken, and why.

    Attributes:
        name: the convention's name in `CONVENTIONS`.
        why: what speaks for it, as half a sentence.
        tried: whether its forward gave outputs of the declared shape.
    """

    name: str
    why: str
    tried: bool = False

    @property
    def convention(self) -> Convention:
        """The convention itself."""
        return CONVENTIONS[self.name]


def settle(
    subject: Any, problem: Problem, naming: Naming, convention: str | None = None
) -> tuple[Guess | None, Naming]:
    """The convention that a subject seems to follow, and how it keeps its parameters.

    Args:
        subject: a class, an object, a pair of functions or, for a tape, one function.
        problem: what it is to compute; sizes that differ from each other tell more.
        naming: what is known of it.
        convention: the name of the convention, if that is known.

    Returns:
        No guess if nothing fits: there is no forward, or no backward anywhere. Of several ways to
        build and to feed it the first under which its forward gives outputs of the right shape; if
        none does, the first under which it runs, so that its shapes are what is told.
    """
    tried: list[tuple[Guess | None, Naming, Problem]] = []
    for known, tried_on in _manners(subject, problem, naming):
        if convention is None:
            found = guess(subject, tried_on, known)
        else:
            fits = gives_the_shape(CONVENTIONS[convention], subject, tried_on, known)
            found = Guess(convention, "it was said", fits)
        if found is not None and found.name == "columns":
            known = replace(known, turned=naming.turned)  # all are turned there
        if found is not None and found.tried:
            return found, known
        tried.append((found, known, tried_on))
    for found, known, tried_on in tried:
        if found is not None:
            if _outputs(found.convention, subject, tried_on, known) is not None:
                return found, known
    return tried[0][:2]


def _manners(subject: Any, problem: Problem, naming: Naming) -> Iterator[tuple[Naming, Problem]]:
    """Ways to build and to feed a subject, and the problem to try each on."""
    if isinstance(subject, type):
        yield recognise(subject, problem, naming), problem
        even = with_even_kernel(problem)
        if even is not None:  # it may take one number for all axes of space
            yield recognise(subject, even, replace(naming, scalars=True)), even
        return
    forward = subject[0] if isinstance(subject, tuple) else subject
    names = argument_names(forward) if inspect.isfunction(forward) else ()
    summed = {
        two: one
        for one, two in problem.layer.sums
        if one in problem.parameters and _one_of(one, two, names)
    }
    if summed:
        naming = replace(naming, summed={**summed, **naming.summed})
    yield naming, problem
    shapes = {name: tensor.shape(problem) for name, tensor in problem.parameters.items()}
    for order in ((1, 0), (2, 3, 1, 0), (2, 1, 0), (2, 3, 4, 1, 0)):  # it may keep them turned
        turned = {name: order for name, shape in shapes.items() if len(shape) == len(order)}
        if turned:
            yield replace(naming, turned={**turned, **naming.turned}), problem


def _one_of(one: str, two: str, names: Sequence[str]) -> bool:
    """Whether only one of two parameters is among the arguments of a function."""
    kept = first(parameter_names(one, (one,)), names)
    return kept is not None and (
        first(parameter_names(two, (two,)), [n for n in names if n != kept]) is None
    )


def guess(subject: Any, problem: Problem, naming: Naming | None = None) -> Guess | None:
    """The convention that a subject seems to follow, built and fed in one way. See `settle`.

    Returns:
        None if nothing fits.
    """
    naming = recognise(subject, problem, Naming()) if naming is None else naming
    found = [*_candidates(subject, problem)]
    for name, why in found:
        if gives_the_shape(CONVENTIONS[name], subject, problem, naming):
            return Guess(name, why, True)
    return Guess(*found[0]) if found else None


def by_guess() -> Convention:
    """A convention that guesses at the first call of each subject, the notebook's where nothing fits."""
    known: dict[int, tuple[Convention, Naming]] = {}

    def guessed(subject: Any, call: Call) -> Running:
        if id(subject) not in known:
            found, naming = settle(subject, call.problem, Naming())
            known[id(subject)] = (notebook if found is None else found.convention), naming
        convention, call.naming = known[id(subject)]
        return (yield from convention(subject, call))

    return guessed


def plausible(subject: Any) -> bool:
    """Whether a subject may be code that some convention calls, without a problem at hand."""
    if isinstance(subject, tuple):
        return len(subject) == 2 and all(callable(s) and not isinstance(s, type) for s in subject)
    if callable(getattr(subject, "forward", None)) and callable(getattr(subject, "backward", None)):
        return True
    if isinstance(subject, type) and hasattr(subject, "loss"):
        return True
    return _runs(subject) and tensor_class(subject) is not None


# --- candidates -----------------------------------------------------------------------------


def _candidates(subject: Any, problem: Problem) -> Iterator[tuple[str, str]]:
    flat = all(
        len(t.shape(problem)) <= 2 for t in (*problem.inputs.values(), *problem.outputs.values())
    )
    if isinstance(subject, tuple):
        yield "functions_with_cache", "it is a pair of functions"
        if flat:
            yield "columns", "it is a pair of functions, and its forward fits samples as columns"
        return
    network = any("." in name for name in problem.parameters)
    if network and not hasattr(subject, "layers") and not _variadic(subject):
        yield "whole_network", "it is one class for a network of several layers"
    backward = getattr(subject, "backward", None)
    if not callable(backward):
        if _one_call(subject, problem):
            yield "loss_and_gradient", "it is one function that returns the loss and the gradient"
        if _runs(subject) and tensor_class(subject) is not None:
            yield "tape", f"it has no backward, its tensors ({_tensor_name(subject)}) have one"
        return
    inputs, upstream = len(problem.inputs), len(problem.differentiable_outputs)
    bare = inspect.getattr_static(subject, "backward")
    with_self = isinstance(subject, type) and not isinstance(bare, staticmethod | classmethod)
    names = argument_names(backward)[with_self:]
    listed = f"backward({', '.join(names)})"
    if first(CACHES, names):
        yield "functions_with_cache", f"{listed} is given what the forward returned"
    if _column_shapes(subject, problem):
        yield "columns", "its parameters have the shapes of samples as columns"
    leaves = _returns_nothing(getattr(subject, "forward", None))
    alone = method_accepts(subject, "forward", 0) and not method_accepts(subject, "forward", inputs)
    words = [word for word in words_of(backward) if word not in problem.options]
    told = method_accepts(subject, "backward", 0) and first(UPSTREAM, words)
    if leaves or alone or told:
        yield "attributes", (
            "its forward returns nothing" if leaves
            else "its forward takes no input" if alone
            else f"its backward reads the attribute {told}"
        )  # fmt: skip
    if first(RATES, names) or (_mentions_rate(subject) and _assigns_parameters(backward, problem)):
        yield "updating", f"{listed} takes a step of gradient descent"
    loss = upstream == 1 and not problem.outputs[problem.differentiable_outputs[0]].shape(problem)
    again = method_accepts(subject, "backward", inputs + upstream) or (
        loss and method_accepts(subject, "backward", inputs)
    )
    remembers = method_accepts(subject, "backward", upstream) or (
        loss and method_accepts(subject, "backward", 0)
    )
    needs = required(backward) - with_self
    flag = needs <= upstream and not first(UPSTREAM, names[inputs : inputs + upstream])
    if again and remembers and flag and not loss and not _any_number(backward):
        # backward(grad_output, training=True); backward(self, *arguments) says nothing
        yield "cached", f"{listed} needs the upstream gradient alone"
    if again:
        yield "notebook", f"{listed} takes the inputs again"
    if remembers:
        yield "cached", f"{listed} does not take the inputs again"
    if flat and (again or remembers):
        yield "columns", f"{listed}, and its forward fits samples as columns"
    yield "notebook", f"{listed} fits nothing else"


def gives_the_shape(convention: Convention, subject: Any, problem: Problem, naming: Naming) -> bool:
    """Whether a forward under a convention gives outputs of the declared shape."""
    found = _outputs(convention, subject, problem, naming)
    return found is not None and all(
        name in found and np.shape(found[name]) == tensor.shape(problem)
        for name, tensor in problem.outputs.items()
    )


def _outputs(
    convention: Convention, subject: Any, problem: Problem, naming: Naming
) -> Mapping[str, Any] | None:
    """What a forward under a convention gives; None if it raises."""
    rng = np.random.default_rng(0)
    values = {
        name: rng.uniform(0.1, 0.9, tensor.shape(problem))
        if tensor.domain.differentiable
        else np.ones(tensor.shape(problem))
        for name, tensor in problem.given.items()
    }
    running = convention(subject, Call(problem, values, naming=naming))
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = next(running)
            running.close()
            return found
    except (Exception, SystemExit):
        return None


# --- what signatures, shapes and code say ----------------------------------------------------


def _runs(subject: Any) -> bool:
    """Whether its objects have a forward or can be called; a function can."""
    if callable(getattr(subject, "forward", None)):
        return True
    return callable(subject) and not (isinstance(subject, type) and "__call__" not in dir(subject))


def _variadic(subject: Any) -> bool:
    try:
        parameters = signature(subject).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _tensor_name(subject: Any) -> str:
    return getattr(tensor_class(subject), "__name__", "?")


def _column_shapes(subject: Any, problem: Problem) -> bool:
    """Weights (out, in) together with a bias (out, 1)."""
    if not isinstance(subject, type):
        return False
    own = own_shapes(subject, problem)
    shapes = {name: tensor.shape(problem) for name, tensor in problem.parameters.items()}
    return any(len(s) == 1 and own.get(n) == (*s, 1) for n, s in shapes.items()) and any(
        len(s) == 2 and s[0] != s[1] and own.get(n) == s[::-1] for n, s in shapes.items()
    )


def _any_number(function: Any) -> bool:
    """Whether a signature has ``*arguments``, and so does not say how many it takes."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.kind is p.VAR_POSITIONAL for p in parameters)


def _one_call(subject: Any, problem: Problem) -> bool:
    """Whether it may be a loss as one function: ``loss, grad = softmax_loss(x, y)``."""
    scalar = all(not t.shape(problem) for t in problem.outputs.values())
    return inspect.isfunction(subject) and scalar and not problem.parameters


def _returns_nothing(function: Callable[..., Any] | None) -> bool:
    """Whether no path of a function returns anything but None."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & 0x20:
        return False
    last, before_it = code.co_code[-2], code.co_code[-4:-3]
    if last == dis.opmap.get("RETURN_VALUE") and before_it != bytes([dis.opmap["LOAD_CONST"]]):
        return False  # as nearly always; the rest is slow
    before: Any = None
    returned = []
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_CONST":
            returned.append(instruction.argval)
        elif instruction.opname == "RETURN_VALUE":
            constant = before is not None and before.opname == "LOAD_CONST"
            returned.append(before.argval if constant else ...)
        before = instruction
    return bool(returned) and all(value is None for value in returned)


def _mentions_rate(subject: Any) -> bool:
    names = (*argument_names(subject), *attributes_of(subject))
    words = words_of(getattr(subject, "backward", None) or subject)
    return first(RATES, names) is not None or first(RATES, words) is not None


def _assigns_parameters(backward: Callable[..., Any], problem: Problem) -> bool:
    """Whether the code of a backward stores into an attribute that holds a parameter."""
    stored = {i.argval for i in dis.get_instructions(backward) if i.opname == "STORE_ATTR"}
    names = tuple(problem.parameters)
    return any(set(parameter_names(name, names)) & stored for name in names)
