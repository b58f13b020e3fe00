"""One call of hand-written code: what to construct, what to pass, how to read the answer.

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
from dataclasses import dataclass, field
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, TypeAlias

import numpy as np

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.implementations.conventions.names import (
    INPUT_GRADIENTS,
    INPUTS,
    first,
    gradient_names,
    parameter_names,
)
from crosscheck.implementations.conventions.slots import (
    Slot,
    array_names,
    attributes,
    gradient_slot,
    parameter_slot,
    same_object,
)
from crosscheck.spec import Array, Problem, Values

Named: TypeAlias = Mapping[str, Any]
Convention: TypeAlias = Callable[[Any, "Call"], Generator[Named, tuple[Array, ...], None]]
Running: TypeAlias = Generator[Named, tuple[Array, ...], None]


@dataclass(frozen=True)
class Naming:
    """What is known beforehand of how a subject is built and where it keeps things.

    Attributes:
        attributes: parameter or buffer → where it is (``W``, ``params.W1``); ``grad_<parameter>``
            → where its gradient is left. What is not here is looked for (`names`).
        constructor: the positional arguments, as axis names, options or numbers; those of the
            layer's spec if None.
        transposed: the parameters that the subject keeps transposed.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    constructor: tuple[str | int, ...] | None = None
    transposed: frozenset[str] = frozenset()


class Call:
    """One call.

    Attributes:
        problem: layer, options and sizes.
        values: the arrays by name.
        inputs: the inputs, in the order of the call.
        layer: the constructed object; set by `construct`, or beforehand to reuse one.
        strict: whether an option that the class does not have is refused; else the class is
            taken to be written for it.
        naming: what is known of the subject's names.
        columns: whether samples are columns: every matrix is handed over transposed and every
            vector of parameters as a column, and the answers are turned back.
        wrap, unwrap: how an array becomes the subject's own tensor, and back.
    """

    def __init__(
        self,
        problem: Problem,
        values: Values,
        layer: Any = None,
        strict: bool = False,
        naming: Naming | None = None,
    ) -> None:
        self.problem = problem
        self.strict = strict
        self.values = values
        self.layer = layer
        self.naming = naming or Naming()
        self.columns = False
        self.wrap: Callable[[Array], Any] = _as_it_is
        self.unwrap: Callable[[Any], Any] = lambda value: value
        self._slots: dict[str, Slot] = {}
        self._own_shapes: dict[str, tuple[int, ...]] = {}

    # --- what goes in ----------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[Array, ...]:
        """The inputs in order, as the subject wants them laid out."""
        return tuple(self.given(name) for name in self.problem.inputs)

    def given(self, name: str) -> Array:
        """One array as the subject wants it laid out."""
        array = self.values[name]
        parameter = name in self.problem.parameters or name in self.problem.buffers
        if self.columns:
            return array[:, None] if parameter and array.ndim == 1 else array.T
        return array.T if name in self.naming.transposed else array

    def turned(self, upstream: tuple[Array, ...]) -> tuple[Array, ...]:
        """The upstream gradients, laid out likewise."""
        return tuple(array.T for array in upstream) if self.columns else upstream

    def construct(self, subject: Any) -> Any:
        """The object to call, with the case's parameters and buffers put in.

        Raises:
            NotOffered: its constructor lacks an option that is not at the default.
            ImplementationError: it has no place for a parameter.
        """
        if self.layer is None:
            self.layer = (
                build(subject, self.problem, self.strict, self.naming.constructor)
                if isinstance(subject, type)
                else subject
            )
        self.place(self.layer)
        return self.layer

    def place(self, layer: Any) -> None:
        """Put the parameters and buffers where the object keeps them.

        Raises:
            ImplementationError: it has no place for a parameter.
        """
        parameters, have = tuple(self.problem.parameters), None
        for name in (*parameters, *self.problem.buffers):
            slot = parameter_slot(layer, name, parameters, self.naming.attributes.get(name))
            if slot is None:
                if name in self.problem.parameters:
                    raise ImplementationError(
                        f"{type(layer).__name__} has no attribute "
                        f"{self.naming.attributes.get(name, name)!r} for the parameter "
                        f"{name!r}; its arrays are {', '.join(array_names(layer)) or 'none'}"
                    )
                continue
            old = slot.get()
            if self.wrap is _as_it_is and not isinstance(old, np.ndarray):
                if isinstance(getattr(old, "data", None), np.ndarray):
                    # an object for the array and its gradient
                    slot = Slot(old, "data", f"{slot.label}.data")
                    old = slot.get()
            value = self.given(name)
            own = self.unwrap(old)
            if isinstance(own, np.ndarray) and _only_ones_apart(own.shape, value.shape):
                self._own_shapes[name] = own.shape
                value = value.reshape(own.shape)
            wrapped = self.wrap(value)
            have = have or attributes(layer)
            for place in (*same_object(layer, have, old, slot), slot):
                place.set(wrapped)
                if place.owner is layer:
                    have[place.key] = wrapped
            self._slots[name] = slot

    # --- what comes out --------------------------------------------------------------------

    def outputs(self, returned: Any, layer: Any = None) -> Named:
        """Name what forward returned, and read the buffers off the layer."""
        named = {
            k: self.canonical(k, self.unwrap(v))
            for k, v in _name(returned, tuple(self.problem.outputs), "forward").items()
        }
        for name in self.problem.buffers:
            slot = None if layer is None else parameter_slot(
                layer, name, tuple(self.problem.buffers), self.naming.attributes.get(name)
            )  # fmt: skip
            if slot is not None:
                named[name] = self.canonical(name, self.unwrap(slot.get()))
        return named

    def gradients(self, returned: Any, layer: Any = None, prefix: str = "grad_") -> Named:
        """Name what backward returned, and read the parameters' gradients off the layer.

        Args:
            returned: the gradient of the input, a tuple of them in order, or a dictionary.
            layer: the object; None if everything is in `returned`.
            prefix: tried first, before the names of `crosscheck.implementations.conventions.names`.
        """
        wanted = self.problem.differentiable
        inputs = tuple(name for name in self.problem.inputs if name in wanted)
        if isinstance(returned, Mapping):
            named = self.from_mapping(returned)
        elif isinstance(returned, tuple) and len(returned) == len(wanted) > len(inputs):
            named = dict(self._in_order(returned))  # the parameters' gradients as well
        else:
            named = _name(returned, inputs, "backward")
        if returned is None and layer is not None and len(inputs) == 1:
            have = attributes(layer)
            key = first((f"grad_{inputs[0]}", *INPUT_GRADIENTS), have)
            named |= {} if key is None or have[key] is None else {inputs[0]: have[key]}
        for name in self.problem.parameters:
            if name in wanted and name not in named and layer is not None:
                found = self.gradient_of(layer, name, prefix)
                if found is not None:
                    named[name] = found
        return {k: self.canonical(k, self.unwrap(v)) for k, v in named.items()}

    def gradient_of(self, layer: Any, name: str, prefix: str = "grad_") -> Any:
        """The gradient of a parameter that a backward left on the object, or None."""
        stated = self.naming.attributes.get(f"grad_{name}")
        slot = self._slots.get(name)
        if slot is not None and slot.key == "data" and hasattr(slot.owner, "grad"):
            return slot.owner.grad
        if stated is None and slot is not None and not isinstance(slot.owner, dict | list):
            if hasattr(slot.owner, f"{prefix}{slot.key}"):
                return getattr(slot.owner, f"{prefix}{slot.key}")
        found = gradient_slot(layer, name, tuple(self.problem.parameters), slot, stated)
        return None if found is None else found.get()

    def slot(self, name: str) -> Slot:
        """Where `construct` put a parameter."""
        return self._slots[name]

    def from_mapping(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical names for a dictionary of gradients: ``dW1`` → weights, ``dX`` → x."""
        problem = self.problem
        inputs = [n for n in problem.inputs if n in problem.differentiable]
        named = {}
        for name in problem.differentiable:
            if name in problem.parameters:
                stated = self.naming.attributes.get(f"grad_{name}")
                own = parameter_names(name, tuple(problem.parameters))
                keys = [stated] if stated else []
                keys += [g for n in own for g in gradient_names(n)] + [*own]
            else:
                keys = [*gradient_names(name)]
                keys += [*INPUT_GRADIENTS, *INPUTS] if len(inputs) == 1 else []
            key = name if name in found else first(keys, found)
            if key is not None and found[key] is not None:
                named[name] = found[key]
        return named

    def in_order(self, returned: Any) -> Named:
        """Name a returned tuple of gradients: of the inputs, then of the parameters."""
        if isinstance(returned, Mapping):
            return self.gradients(returned)
        named = self._in_order(returned)
        return {k: self.canonical(k, self.unwrap(v)) for k, v in named.items()}

    def _in_order(self, returned: Any) -> Named:
        names = tuple(n for n in self.problem.given if n in self.problem.differentiable)
        return _name(returned, names, "backward")

    def canonical(self, name: str, value: Any) -> Any:
        """A parameter, gradient or output turned back from the subject's layout."""
        if value is None or isinstance(value, str | bytes):
            return value
        array = np.asarray(value)
        if self.columns:
            parameter = name in self.problem.parameters or name in self.problem.buffers
            if parameter and self.values[name].ndim == 1:
                # A column is a vector; what is a vector here would not fit the column.
                right = array.ndim == 2 and array.shape[1] == 1
                return array[:, 0] if right else np.atleast_2d(array.T)
            return array.T
        if name in self._own_shapes and array.shape == self._own_shapes[name]:
            return array.reshape(self.values[name].shape)
        if name in self.naming.transposed:
            return array.T
        if isinstance(value, np.matrix | np.ma.MaskedArray):
            return value  # whoever takes it has to see that it is none of NumPy's plain arrays
        return array if array.dtype != object else value


def _as_it_is(array: Array) -> Any:
    return array


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """`inspect.signature`, remembered: for a class without a constructor it parses text every time.

    Raises:
        TypeError, ValueError: there is none.
    """
    bare = getattr(function, "__func__", None)
    try:
        if inspect.ismethod(function) and bare is not None:
            return _bound_signature(bare)
        return _signature(function)
    except TypeError:  # not hashable, or really none
        return inspect.signature(function)


@lru_cache(512)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@lru_cache(512)
def _bound_signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(MethodType(function, object()))


def accepts(function: Callable[..., Any], positional: int) -> bool:
    """Whether a function can be called with that many positional arguments."""
    bare = getattr(function, "__func__", function)
    if isinstance(bare, FunctionType | type):  # a bound method is another object at every access
        return _accepts(bare, positional + (bare is not function))
    return _binds(function, positional)


def _binds(function: Callable[..., Any], positional: int) -> bool:
    try:
        signature(function).bind(*range(positional))
    except TypeError:
        return False
    except ValueError:  # built-in without a signature
        return True
    return True


_accepts = lru_cache(maxsize=512)(_binds)


def method_accepts(subject: Any, method: str, positional: int) -> bool:
    """Whether a method of a class (or of an object) can be called with that many arguments."""
    function = getattr(subject, method, None)
    if function is None:
        return False
    bare = inspect.getattr_static(subject, method, None)
    bound = not isinstance(subject, type) or isinstance(bare, staticmethod | classmethod)
    return accepts(function, positional + (not bound))


def required(function: Callable[..., Any]) -> int:
    """How many positional arguments have no default."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional arguments, without ``self``; empty where there is no signature."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )


def build(
    subject: type,
    problem: Problem,
    strict: bool = False,
    constructor: tuple[str | int, ...] | None = None,
) -> Any:
    """Construct a class: sizes by position, options by keyword where it takes them.

    Args:
        subject: the class.
        problem: layer, options and sizes.
        strict: see `Call`.
        constructor: the positional arguments, instead of the layer's own.

    Raises:
        NotOffered: `strict`, and an option away from its default is not a parameter of the
            constructor.
    """
    positional, keywords = construction(subject, problem, strict, constructor)
    return subject(*positional, **keywords)


def construction(
    subject: type,
    problem: Problem,
    strict: bool = False,
    constructor: tuple[str | int, ...] | None = None,
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments with which `build` constructs a class; raises as it does."""
    if constructor is not None:
        positional = [problem[item] if isinstance(item, str) else item for item in constructor]
    else:
        positional = [
            item(problem) if callable(item) else problem[item] for item in problem.layer.constructor
        ]
    try:
        parameters = signature(subject).parameters
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


def _only_ones_apart(own: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Whether two shapes differ in axes of size 1 alone: ``(1, 5)`` and ``(5,)``."""
    return len(own) > len(given) and _squeezed(own) == _squeezed(given)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


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
