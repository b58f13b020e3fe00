"""Conventions: how somebody's code wants to be called.

A convention is a generator of a few lines. It is given the subject (a class, usually) and a `Call`,
runs the forward pass, yields the outputs, receives the tuple of upstream gradients and yields the
gradients by name::

    def cached(subject, call):
        layer = call.construct(subject)
        upstream = yield call.outputs(layer.forward(*call.inputs), layer)
        yield call.gradients(layer.backward(*upstream), layer)

When only the forward pass is wanted, the generator is closed after the first yield.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

import numpy as np

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.spec import Array, Problem, Values

Named: TypeAlias = Mapping[str, Any]
Convention: TypeAlias = Callable[[Any, "Call"], Generator[Named, tuple[Array, ...], None]]


class Call:
    """One call of a hand-written layer: what to construct, what to pass, how to read the answer.

    Attributes:
        problem: layer, options and sizes.
        values: the arrays by name.
        inputs: the inputs, in the order of the call.
        layer: the constructed object; set by `construct`, or beforehand to reuse one.
        strict: whether an option that the class does not have is refused; else the class is
            taken to be written for it.
    """

    def __init__(
        self, problem: Problem, values: Values, layer: Any = None, strict: bool = False
    ) -> None:
        self.problem = problem
        self.strict = strict
        self.values = values
        self.inputs = tuple(values[name] for name in problem.inputs)
        self.layer = layer

    def construct(self, subject: Any) -> Any:
        """The object to call, with the case's parameters and buffers put in.

        Raises:
            NotOffered: its constructor lacks an option that is not at the default.
            ImplementationError: it lacks an attribute for a parameter.
        """
        if self.layer is None:
            self.layer = (
                build(subject, self.problem, self.strict) if isinstance(subject, type) else subject
            )
        for name in (*self.problem.parameters, *self.problem.buffers):
            owner, attribute = _resolve(self.layer, name)
            if not hasattr(owner, attribute) and name in self.problem.parameters:
                have = sorted(k for k, v in vars(owner).items() if isinstance(v, np.ndarray))
                raise ImplementationError(
                    f"{type(owner).__name__} has no attribute {attribute!r} for the parameter "
                    f"{name!r}; its arrays are {', '.join(have) or 'none'}"
                )
            setattr(owner, attribute, self.values[name])
        return self.layer

    def outputs(self, returned: Any, layer: Any) -> Named:
        """Name what forward returned, and read the buffers off the layer."""
        named = _name(returned, tuple(self.problem.outputs), "forward")
        for name in self.problem.buffers:
            owner, attribute = _resolve(layer, name)
            if hasattr(owner, attribute):
                named[name] = getattr(owner, attribute)
        return named

    def gradients(self, returned: Any, layer: Any, prefix: str = "grad_") -> Named:
        """Name what backward returned, and read ``grad_<parameter>`` off the layer."""
        wanted = self.problem.differentiable
        inputs = tuple(name for name in self.problem.inputs if name in wanted)
        named = _name(returned, inputs, "backward")
        for name in self.problem.parameters:
            owner, attribute = _resolve(layer, name)
            if name in wanted and hasattr(owner, prefix + attribute):
                named[name] = getattr(owner, prefix + attribute)
        return named


def notebook(subject: Any, call: Call) -> Generator[Named, tuple[Array, ...], None]:
    """``forward(*inputs)``, ``backward(*inputs, *upstream)``, gradients in ``grad_<parameter>``.

    A backward that takes no upstream gradient (a loss's) is scaled by it afterwards, which is the
    same as long as the output is one number.
    """
    layer = call.construct(subject)
    upstream = yield call.outputs(layer.forward(*call.inputs), layer)
    if accepts(layer.backward, len(call.inputs) + len(upstream)):
        yield call.gradients(layer.backward(*call.inputs, *upstream), layer)
    elif len(upstream) == 1 and upstream[0].ndim == 0 and accepts(layer.backward, len(call.inputs)):
        found = call.gradients(layer.backward(*call.inputs), layer)
        yield {name: upstream[0] * gradient for name, gradient in found.items()}
    else:
        raise ImplementationError(
            f"{type(layer).__name__}.backward{inspect.signature(layer.backward)} cannot take "
            f"{len(call.inputs)} input(s) and {len(upstream)} upstream gradient(s)"
        )


def accepts(function: Callable[..., Any], positional: int) -> bool:
    """Whether a function can be called with that many positional arguments."""
    try:
        inspect.signature(function).bind(*range(positional))
    except TypeError:
        return False
    except ValueError:  # built-in without a signature
        return True
    return True


def build(subject: type, problem: Problem, strict: bool = False) -> Any:
    """Construct a class: sizes by position, options by keyword where it takes them.

    Raises:
        NotOffered: `strict`, and an option away from its default is not a parameter of the
            constructor.
    """
    positional, keywords = construction(subject, problem, strict)
    return subject(*positional, **keywords)


def construction(
    subject: type, problem: Problem, strict: bool = False
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments with which `build` constructs a class; raises as it does."""
    positional = [
        item(problem) if callable(item) else problem[item] for item in problem.layer.constructor
    ]
    try:
        parameters = inspect.signature(subject).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = list(parameters)[: len(positional)]
    keywords = {}
    for name, value in problem.options.items():
        if (name in parameters and name not in taken) or open_ended:
            keywords[name] = value
        elif strict and value != problem.layer.options[name]:
            raise NotOffered(f"{subject.__name__} has no option {name!r}")
    if not accepts(subject, len(positional)) and not keywords and positional and not parameters:
        positional = []
    return positional, keywords


def _resolve(layer: Any, name: str) -> tuple[Any, str]:
    """The object that holds a parameter: ``"0.weights"`` is ``layer.layers[0].weights``."""
    *path, attribute = name.split(".")
    for step in path:
        layer = layer.layers[int(step)] if step.isdigit() else getattr(layer, step)
    return layer, attribute


def _name(returned: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if isinstance(returned, Mapping):
        return dict(returned)
    if len(names) == 1:
        if isinstance(returned, tuple) and len(returned) == 1:
            returned = returned[0]
        return {} if returned is None else {names[0]: returned}
    if not names:
        return {}
    if not isinstance(returned, tuple | list) or len(returned) != len(names):
        got = f"{len(returned)} values" if isinstance(returned, tuple | list) else "one value"
        raise ImplementationError(
            f"{what} returned {got}; expected {len(names)}: {', '.join(names)}"
        )
    return {k: v for k, v in zip(names, returned, strict=True) if v is not None}
