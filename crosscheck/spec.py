"""What a layer computes, independent of who wrote it: named axes, arrays, options, oracles.

A `Layer` is data. Its arrays are written in axis names, as einops writes them, and the sizes
behind the names are drawn later (`crosscheck.sampling`), so that a transposition cannot hide
behind a square matrix. A `Layer` with its options and sizes chosen is a `Problem`; a problem with
arrays is a `Case` (`crosscheck.case`).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, SupportsIndex, TypeAlias

import numpy as np

from crosscheck.domains import NORMAL, Domain
from crosscheck.errors import UsageError, unknown

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Values: TypeAlias = Mapping[str, Array]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """One array of a layer: its axes, what values make sense in it, and when it exists.

    Attributes:
        axes: one word per axis, such as ``"batch in_channels/groups height"``. A word is an axis
            name, a number, or arithmetic (``+ - * // /`` and parentheses, without spaces) over
            axis names and integer options. ``""`` is a scalar. Where words do not suffice, a
            function from the `Problem` to the shape.
        domain: how values are drawn (`crosscheck.domains`); integer and boolean domains are
            never differentiated.
        differentiable: whether a gradient with respect to it (for an output: a cotangent) exists.
        when: the array exists only where this holds: the name of an option (its truth), or a
            function of the `Problem`.
        optional: a buffer that code need not give back: a count that decides nothing, a mask.
    """

    axes: str | Callable[[Problem], Shape]
    domain: Domain = NORMAL
    differentiable: bool = True
    when: str | Callable[[Problem], bool] | None = None
    optional: bool = False

    def present(self, problem: Problem) -> bool:
        """Whether the array exists under the problem's options."""
        if self.when is None:
            return True
        return bool(problem[self.when] if isinstance(self.when, str) else self.when(problem))

    def shape(self, problem: Problem) -> Shape:
        """The array's shape under the problem's sizes.

        Raises:
            UsageError: a word of `axes` is no arithmetic over known names, or is not positive.
        """
        if callable(self.axes):
            return tuple(int(n) for n in self.axes(problem))
        shape = tuple(_evaluate(word, problem) for word in self.axes.split())
        if any(n < 0 for n in shape):
            raise UsageError(f"{problem.layer.name}: {self.axes!r} has a negative size: {shape}")
        return shape


TensorLike: TypeAlias = "Tensor | str"
Tensors: TypeAlias = "Mapping[str, TensorLike] | Callable[[Options], Mapping[str, TensorLike]]"


@dataclass(frozen=True, eq=False)
class Layer:
    """What a layer computes, and the trusted implementations of it.

    Attributes:
        name: torch.nn's name where torch has the thing.
        inputs: the arrays that a call is given, in the order of the call.
        parameters: the trained arrays; their names are the attribute names of reference_nn's
            layer, in whose layout they are drawn (the canonical layout).
        buffers: what is carried from call to call (running statistics); given to every witness
            before the call and compared after it. Never differentiated.
        outputs: what a call returns, in order.
            Each of these four is a mapping from name to `Tensor` (or just its axes), or a
            function from the options to one, where an option decides what exists.
        constructor: the positional arguments of a hand-written class: axis names, or functions
            of the `Problem`. Options follow by keyword.
        options: every option with its default, torch.nn's.
        variants: the option combinations that a full run covers, besides the defaults.
        pairs: whether a full run also draws random pairs of `variants`.
        sizes: the range (lowest, highest) to draw an axis from; ``(2, 7)`` where not given.
        valid: None when the sizes and options fit together, or a sentence why they do not.
        torch: builds the PyTorch twin: a function from the `Problem` to a ``torch.nn.Module``
            (called with the inputs in order) or to a function of keyword arguments, one per
            array. Imports torch inside.
        torch_layout: for each parameter and buffer the torch name and, if the axes differ, how
            they do: ``{"weights": "weight: in out -> out in"}``. Identity where absent.
        jax: the JAX twin: ``jax(problem, **arrays)`` returns the output, a tuple of outputs, or
            a mapping that also holds the new buffers. Imports jax inside.
        reference: the name in `reference_nn`; the layer's own name by default.
        group: the heading under which it is listed.
        special: extra named cases: functions from (rng, problem, values) to changed values, for
            points of interest such as ties or extreme logits. See `crosscheck.sampling`.
        follows: where frameworks differ, the one reference_nn follows by default.
        convention: how a hand-written subject is called, where it is not called as the notebook's
            layers are (`crosscheck.implementations.conventions`): an optimizer, a schedule.
        needs: framework → packages that its twin imports besides: ``{"jax": ("optax",)}``.
        forms: the options that say no more than in which form inputs come and outputs go: how many
            axes they have, whether attention weights are returned as well. A hand-written class
            may be written for one form, without an option to say so.
        views: whether what is returned may be a view of what was given, as it is in PyTorch.
        blocks: parameter → the names of the equal blocks along its first axis, ``"ifgo"`` for the
            gates of an LSTM. A hand-written class may keep each in an array of its own.
        sums: pairs of parameters of which only the sum counts: ``("bias_ih", "bias_hh")``. A
            hand-written class may keep one array for both.
    """

    name: str
    inputs: Tensors
    parameters: Tensors = field(default_factory=dict)
    buffers: Tensors = field(default_factory=dict)
    outputs: Tensors = field(default_factory=lambda: {"output": ""})
    constructor: Sequence[str | Callable[[Problem], Any]] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    variants: Sequence[Mapping[str, Any]] = ()
    pairs: bool = True
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    valid: Callable[[Problem], str | None] | None = None
    torch: Callable[[Problem], Any] | None = None
    torch_layout: Mapping[str, str] = field(default_factory=dict)
    jax: Callable[..., Any] | None = None
    reference: str | None = None
    group: str = "layers"
    special: Mapping[str, SpecialCase] = field(default_factory=dict)
    follows: str | None = None
    convention: Callable[..., Any] | None = None
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    forms: Sequence[str] = ()
    views: bool = False
    blocks: Mapping[str, str] = field(default_factory=dict)
    sums: Sequence[tuple[str, str]] = ()

    def problem(
        self, options: Mapping[str, Any] | None = None, sizes: Mapping[str, int] | None = None
    ) -> Problem:
        """This layer with options (over its defaults) and sizes.

        Raises:
            UsageError: an option that the layer does not have; the message names the nearest.
        """
        for name in options or {}:
            if name not in self.options:
                raise unknown(f"option of {self.name}", name, self.options)
        return Problem(self, {**self.options, **(options or {})}, dict(sizes or {}))

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """A layer of the catalogue is pickled as its name: it holds functions."""
        from crosscheck.families import catalogue, named

        if self.name in catalogue and catalogue[self.name] is self:
            return named, (self.name,)
        return super().__reduce_ex__(protocol)

    def axes(self, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """The names of the axes whose sizes are to be drawn, in order of appearance."""
        problem = self.problem(options)
        names: dict[str, None] = {}
        for tensor in problem.given.values():
            if isinstance(tensor.axes, str):
                for word in tensor.axes.split():
                    names.update(dict.fromkeys(_names(word)))
        names.update(dict.fromkeys(self.sizes))
        return tuple(name for name in names if name not in self.options)


SpecialCase: TypeAlias = Callable[
    [np.random.Generator, "Problem", dict[str, Array]], dict[str, Array]
]


class Options(Mapping[str, Any]):
    """Options by attribute or by key; read-only."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no option {name!r}; there is {sorted(self._values)}") from None

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Problem:
    """A layer with its options and sizes chosen. Both are attributes: ``p.in_features``, ``p.bias``.

    Attributes:
        layer: the `Layer`.
        options: every option of the layer with its value.
        sizes: axis name → size.
    """

    def __init__(self, layer: Layer, options: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        self.layer = layer
        self.options = Options(options)
        self.sizes = dict(sizes)
        clash = set(self.options) & set(self.sizes)
        if clash:
            raise UsageError(f"{layer.name}: {sorted(clash)} cannot be both option and axis")
        self.inputs = self._present(layer.inputs)
        self.parameters = self._present(layer.parameters)
        self.buffers = self._present(layer.buffers)
        self.outputs = self._present(layer.outputs)
        self.given: dict[str, Tensor] = {**self.inputs, **self.parameters, **self.buffers}

    def _present(self, tensors: Tensors) -> dict[str, Tensor]:
        declared = tensors(self.options) if callable(tensors) else tensors
        full = {k: t if isinstance(t, Tensor) else Tensor(t) for k, t in declared.items()}
        return {name: tensor for name, tensor in full.items() if tensor.present(self)}

    def __getitem__(self, name: str) -> Any:
        if name in self.sizes:
            return self.sizes[name]
        return self.options[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("options", "sizes", "layer"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"{self.layer.name} has no axis or option {name!r}; there is "
                f"{sorted([*self.sizes, *self.options])}"
            ) from None

    @cached_property
    def differentiable(self) -> tuple[str, ...]:
        """The names of inputs and parameters that have a gradient."""
        return tuple(
            name
            for name, tensor in {**self.inputs, **self.parameters}.items()
            if tensor.differentiable and tensor.domain.differentiable
        )

    @cached_property
    def differentiable_outputs(self) -> tuple[str, ...]:
        """The names of outputs that take a cotangent."""
        return tuple(name for name, tensor in self.outputs.items() if tensor.differentiable)

    def shapes(self) -> dict[str, Shape]:
        """Name → shape of every array that is given or returned."""
        return dict(self._shapes)

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return {k: t.shape(self) for k, t in {**self.given, **self.outputs}.items()}

    def changed_options(self) -> dict[str, Any]:
        """The options that are not at their default."""
        defaults = self.layer.options
        return {k: v for k, v in self.options.items() if v != defaults[k]}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it was made of."""
        return Problem, (self.layer, dict(self.options), self.sizes)

    def label(self) -> str:
        """A short name: ``Conv2d[bias=False]``."""
        return self._label

    @cached_property
    def _label(self) -> str:
        changed = ",".join(f"{k}={_short(v)}" for k, v in self.changed_options().items())
        return f"{self.layer.name}[{changed}]" if changed else self.layer.name

    def key(self) -> tuple[Any, ...]:
        """Equal for problems that the same compiled function can serve."""
        return (
            id(self.layer),
            tuple((k, repr(v)) for k, v in sorted(self.options.items())),
            tuple(sorted(self.sizes.items())),
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={v}" for k, v in self.sizes.items())
        return f"Problem({self.label()}: {sizes})"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ",".join(_short(v) for v in value) + ")"
    return str(value)


# --- arithmetic over axis names -------------------------------------------------------------

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@cache
def _parse(word: str) -> ast.expr:
    try:
        return ast.parse(word, mode="eval").body
    except SyntaxError as error:
        raise UsageError(f"{word!r} is no size: {error.msg}") from None


@cache
def _names(word: str) -> tuple[str, ...]:
    return tuple(node.id for node in ast.walk(_parse(word)) if isinstance(node, ast.Name))


def _evaluate(word: str, problem: Problem) -> int:
    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                if name not in problem.sizes and name not in problem.options:
                    raise UsageError(f"{problem.layer.name}: no size for axis {name!r} of {word!r}")
                return int(problem[name])
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                quotient, rest = divmod(value(left), value(right))
                if rest:
                    raise UsageError(f"{problem.layer.name}: {word!r} is not a whole number")
                return quotient
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return int(_OPERATORS[type(op)](value(left), value(right)))
            case _:
                raise UsageError(f"{word!r} is no size: axis names, numbers and + - * // / only")

    return value(_parse(word))
