"""A mistake as data: what was done wrong, in which layer, and what a report has to say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

import reference_nn as nn
from crosscheck import catalogue, sampling
from crosscheck.case import Case

#: The kinds of case that a plant is checked on, unless it says otherwise: several sizes.
KINDS = ("distinct", "batch=1", "random0", "random1")

#: The layers that rules were written on. Every other layer is held out: its plants were written
#: from the list of mistakes alone, before any rule.
DEVELOPED = {
    "Linear", "Conv2d", "Sigmoid", "Tanh", "ReLU", "MSELoss", "HuberLoss", "CrossEntropyLoss",
    "MaxPool2d", "Softmax", "BatchNorm2d", "LayerNorm", "RNN", "Dropout",
}  # fmt: skip


@dataclass(frozen=True)
class Plant:
    """One mistake planted in a correct layer.

    Attributes:
        number: of the mistake, in the list that the plants follow.
        mistake: a few words.
        layer: the catalogue's name.
        make: the wrong class.
        quantities: what may be blamed: all of them, and nothing else, except that what follows
            from a wrong forward is blamed on it.
        causes: the slugs that name the mistake; the first finding has to carry one of them.
        options: the option combinations that it is checked with.
        kinds, memory: the cases that it is checked on.
        fresh: whether it was written after the rules, to see how they do.
        with_rule: whether it was written together with its rule.
    """

    number: int
    mistake: str
    layer: str
    make: type
    quantities: tuple[str, ...]
    causes: tuple[str, ...]
    options: tuple[dict[str, Any], ...] = ({},)
    kinds: tuple[str, ...] = KINDS
    memory: tuple[str, ...] = ("plain",)
    fresh: bool = False
    with_rule: bool = False

    @property
    def held_out(self) -> bool:
        """Whether it is one of the list's, in a layer that no rule was written while looking at."""
        return self.layer not in DEVELOPED and not (self.fresh or self.with_rule)

    @property
    def id(self) -> str:
        """A readable name."""
        return f"{self.number}-{self.mistake.replace(' ', '-')}-{self.layer}"

    def cases(self) -> Iterator[Case]:
        """The cases to check it on, in float64."""
        for options in self.options:
            spec = catalogue[self.layer]
            for case in sampling.cases(spec, options=options, dtypes=("float64",), extra=2):
                if case.kind in self.kinds and case.memory in self.memory:
                    yield case


def known(*layers: str) -> list[str]:
    """Those of the names that the catalogue has."""
    return [name for name in layers if name in catalogue]


def wrong_gradient(layer: str, name: str, change: Callable[..., Any]) -> type:
    """A layer of which one gradient is changed: ``change(gradient, layer, *arguments)``.

    Args:
        layer: a name in reference_nn.
        name: a parameter, or anything else for what backward returns; ``"x:1"`` is its second.
    """
    base = getattr(nn, layer)

    class Wrong(base):  # type: ignore[misc]
        @wraps(base.backward)
        def backward(self, *arguments: Any) -> Any:
            returned = super().backward(*arguments)
            attribute = f"grad_{name}"
            if hasattr(self, attribute):
                setattr(self, attribute, change(getattr(self, attribute), self, *arguments))
                return returned
            if not isinstance(returned, tuple):
                return change(returned, self, *arguments)
            place = int(name.partition(":")[2] or 0)
            parts = list(returned)
            parts[place] = change(parts[place], self, *arguments)
            return tuple(parts)

    return _named(Wrong, layer)


def wrong_forward(layer: str, change: Callable[..., Any]) -> type:
    """A layer of which the (first) output is changed: ``change(output, layer, *inputs)``."""
    base = getattr(nn, layer)

    class Wrong(base):  # type: ignore[misc]
        @wraps(base.forward)
        def forward(self, *inputs: Any) -> Any:
            returned = super().forward(*inputs)
            if isinstance(returned, tuple):
                return (change(returned[0], self, *inputs), *returned[1:])
            return change(returned, self, *inputs)

    return _named(Wrong, layer)


def wrong_methods(layer: str, **methods: Callable[..., Any]) -> type:
    """A layer with methods replaced: ``forward=lambda self, super_, x: …``."""
    base = getattr(nn, layer)

    def method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(self: Any, *arguments: Any) -> Any:
            return function(self, super(Wrong, self), *arguments)

        return wraps(getattr(base, name))(called)  # keeps the signature, by which it is called

    Wrong = type("Wrong", (base,), {name: method(name, f) for name, f in methods.items()})
    return _named(Wrong, layer)


def with_parameter(layer: Any, parent: Any, name: str, value: Any, *arguments: Any) -> Any:
    """backward's return value with another array in the place of a parameter, gradients kept."""
    parent.backward(*arguments)
    kept = {k: v for k, v in vars(layer).items() if k.startswith("grad_")}
    right = getattr(layer, name)
    setattr(layer, name, value)
    try:
        returned = parent.backward(*arguments)
    finally:
        setattr(layer, name, right)
    vars(layer).update(kept)
    return returned


def _named(made: type, layer: str) -> type:
    made.__name__ = made.__qualname__ = f"My{layer}"
    return made


def one_hot(target: Any, classes: int) -> Any:
    """(N,) → (N, classes)."""
    return np.eye(classes)[target]
