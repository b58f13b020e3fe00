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

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

import numpy as np

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions.building import build
from crosscheck.implementations.conventions.names import (
    INPUT_GRADIENTS,
    INPUTS,
    MODES,
    first,
    gradient_names,
    parameter_names,
)
from crosscheck.implementations.conventions.naming import Naming
from crosscheck.implementations.conventions.signatures import argument_names
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
#: What a user says of how code is called: a function, the name of a built-in one, or where arrays are.
Calling: TypeAlias = "Convention | str | Mapping[str, str]"
Running: TypeAlias = Generator[Named, tuple[Array, ...], None]


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
        return tuple([self.given(name) for name in self.problem.inputs])

    def given(self, name: str) -> Array:
        """One array as the subject wants it laid out."""
        array = self.values[name]
        for other, holder in self.naming.summed.items():
            if holder == name and other in self.values:
                array = array + self.values[other]
        if self.columns:
            parameter = name in self.problem.parameters or name in self.problem.buffers
            return array[:, None] if parameter and array.ndim == 1 else array.T
        order = None if name in self.naming.parts else self.naming.turned.get(name)
        return array if order is None else array.transpose(order)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that have a place of their own, in order."""
        return tuple(n for n in self.problem.parameters if n not in self.naming.summed)

    def forward(self, layer: Any) -> Any:
        """What the forward of an object returns for the inputs.

        One that is told with each call whether it trains (``training=True``, ``mode="train"``) is
        told so; one that has an argument for a buffer (a mask) is given it.
        """
        if not self.problem.buffers and not MODES.keys() & self.problem.options.keys():
            return layer.forward(*self.inputs)
        names = argument_names(layer.forward)[len(self.problem.inputs) :]
        told: dict[str, Any] = {n: self.given(n) for n in names if n in self.problem.buffers}
        for option in MODES:
            if option in self.problem.options:
                training = bool(self.problem.options[option])
                flag = first(MODES[option], names)
                if flag is not None:
                    told[flag] = training
                elif "mode" in names:
                    told["mode"] = "train" if training else "test"
        return layer.forward(*self.inputs, **told)

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
                build(subject, self.problem, self.strict, self.naming)
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
        for name in self.naming.parts:
            if name in self.problem.parameters:
                self._place_parts(layer, name)
        parameters, have = tuple(self.problem.parameters), None
        for name in (*self.parameters, *self.problem.buffers):
            if name in self.naming.parts:
                continue
            stated = self.naming.attributes.get(name)
            slot = parameter_slot(layer, name, parameters, stated)
            if slot is None:
                if name in self.problem.parameters:
                    raise ImplementationError(_no_place(layer, name, stated, self.values[name]))
                continue
            old = slot.get()
            if self.wrap is _as_it_is and not isinstance(old, np.ndarray):
                if isinstance(getattr(old, "data", None), np.ndarray):
                    # an object for the array and its gradient
                    slot = Slot(old, "data", f"{slot.label}.data")
                    old = slot.get()
            value = self.given(name)
            own = self.unwrap(old)
            if isinstance(own, np.ndarray) and only_ones_apart(own.shape, value.shape):
                self._own_shapes[name] = own.shape
                value = value.reshape(own.shape)
            wrapped = self.wrap(value)
            have = have or attributes(layer)
            for place in (*same_object(layer, have, old, slot), slot):
                place.set(wrapped)
                if place.owner is layer:
                    have[place.key] = wrapped
            self._slots[name] = slot

    def _place_parts(self, layer: Any, name: str) -> None:
        """Put the blocks of a parameter where the object keeps each."""
        paths = self.naming.parts[name]
        for path, block in zip(paths, np.split(self.given(name), len(paths)), strict=True):
            slot = parameter_slot(layer, path, (path,), path)
            if slot is None:
                raise ImplementationError(_no_place(layer, path, path, block))
            slot.set(self.wrap(block.T if name in self.naming.turned else block))

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
        elif isinstance(returned, tuple) and len(returned) == len(wanted) - len(
            self.naming.summed
        ) > len(inputs):
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
        return self._shared({k: self.canonical(k, self.unwrap(v)) for k, v in named.items()})

    def _shared(self, named: dict[str, Any]) -> dict[str, Any]:
        """The gradient of a sum is that of each of its terms."""
        for other, holder in self.naming.summed.items():
            if holder in named and other not in named:
                named[other] = named[holder]
        return named

    def gradient_of(self, layer: Any, name: str, prefix: str = "grad_") -> Any:
        """The gradient of a parameter that a backward left on the object, or None."""
        if name in self.naming.parts:
            return self._gradient_of_parts(layer, name)
        stated = self.naming.attributes.get(f"grad_{name}")
        slot = self._slots.get(name)
        if slot is not None and slot.key == "data" and hasattr(slot.owner, "grad"):
            return slot.owner.grad
        if stated is None and slot is not None and not isinstance(slot.owner, dict | list):
            if hasattr(slot.owner, f"{prefix}{slot.key}"):
                return getattr(slot.owner, f"{prefix}{slot.key}")
        found = gradient_slot(layer, name, tuple(self.problem.parameters), slot, stated)
        return None if found is None else found.get()

    def _gradient_of_parts(self, layer: Any, name: str) -> Any:
        """The gradients of the blocks of a parameter in one array, or None where one is missing."""
        paths = self.naming.parts[name]
        size, *rest = self.values[name].shape
        block = (size // len(paths), *rest)
        found = []
        for path in paths:
            place = parameter_slot(layer, path, (path,), path)
            slot = gradient_slot(layer, path.rpartition(".")[2], (path,), place, None)
            value = None if slot is None else self.unwrap(slot.get())
            if not isinstance(value, np.ndarray):
                return None
            found.append(value.T if name in self.naming.turned else value)
        try:
            return np.concatenate(found)
        except ValueError as error:
            shapes = ", ".join(str(array.shape) for array in found)
            raise ImplementationError(
                f"the gradients of the parts of {name} have the shapes {shapes}, not {block} each"
            ) from error

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
        return self._shared({k: self.canonical(k, self.unwrap(v)) for k, v in named.items()})

    def _in_order(self, returned: Any) -> Named:
        wanted = (*self.problem.inputs, *self.parameters)
        names = tuple(n for n in wanted if n in self.problem.differentiable)
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
        order = None if name in self.naming.parts else self.naming.turned.get(name)
        if order is not None and array.ndim == len(order):
            return array.transpose(np.argsort(order))
        if peculiar(value):
            return value  # whoever takes it has to see that it is none of NumPy's plain arrays
        return array if array.dtype != object else value


def peculiar(value: Any) -> bool:
    """Whether it is an array with an arithmetic of its own: a matrix, a masked array."""
    if type(value) is np.ndarray or not isinstance(value, np.ndarray):
        return (
            False  # before np.ma is named, which imports it: nobody waits for that who needs it not
        )
    return isinstance(value, np.matrix | np.ma.MaskedArray)


def _as_it_is(array: Array) -> Any:
    return array


def _no_place(layer: Any, name: str, stated: str | None, value: Array) -> str:
    """That a parameter has no place, what there is, and what to do."""
    known = parameter_names(name, (name,))
    return (
        f"{type(layer).__name__} has no attribute {stated or name!r} for the parameter {name!r} of "
        f"shape {value.shape}; its arrays are {', '.join(array_names(layer)) or 'none'}. Call it "
        f"{', '.join(known[:3])} or say which it is: convention={{{name!r}: '…'}}"
    )


def only_ones_apart(own: tuple[int, ...], given: tuple[int, ...]) -> bool:
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
