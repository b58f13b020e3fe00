"""Which argument of somebody's function is what, by its name: ``dout``, ``cache``, ``W``, ``lr``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from crosscheck.implementations.conventions.call import Call, argument_names
from crosscheck.implementations.conventions.names import (
    CACHES,
    DICTIONARIES,
    INPUTS,
    PREDICTIONS,
    TARGETS,
    UPSTREAM,
    parameter_names,
)


class Parameters(dict[str, Any]):
    """A dictionary of parameters that also answers to the other names of each: ``W1``, ``W``."""

    def __init__(self, call: Call, words: Sequence[str] = ()) -> None:
        names = tuple(call.problem.parameters)
        self._other: dict[str, str] = {}
        super().__init__()
        for name in names:
            known = parameter_names(name, names)
            stated = call.naming.attributes.get(name)
            numbered = next((n for n in reversed(known) if n.endswith("1") and len(n) == 2), name)
            key = stated or next((n for n in known if n in words), None) or numbered
            self[key] = call.given(name)
            self._other |= dict.fromkeys(known, key)

    def __missing__(self, key: str) -> Any:
        if key not in self._other:
            raise KeyError(key)
        return self[self._other[key]]


@dataclass(frozen=True)
class Offer:
    """What there is to pass.

    Attributes:
        call: the call: inputs and parameters by their names.
        upstream: the upstream gradients.
        cache: what the forward pass returned besides its output.
        more: further values by the names of the arguments that may take them.
    """

    call: Call
    upstream: tuple[Any, ...] = ()
    cache: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def match(self, function: Callable[..., Any]) -> tuple[Any, ...] | None:
        """The arguments of a function in order, or None if a name is not understood."""
        names = argument_names(function)
        found: list[Any] = []
        inputs = list(self.call.problem.inputs)
        used: set[str] = set()
        for name in names:
            role = self._role(name, inputs, used)
            if role is None:
                if _has_default(function, name):
                    break
                return None
            found.append(role)
        return tuple(found)

    def _role(self, name: str, inputs: Sequence[str], used: set[str]) -> Any:
        problem = self.call.problem
        if name in self.more:
            return self.more[name]
        if self.upstream and name in UPSTREAM and "upstream" not in used:
            used.add("upstream")
            return self.upstream[0]
        if self.cache is not None and name in CACHES:
            return self.cache
        for parameter in problem.parameters:
            if name in parameter_names(parameter, tuple(problem.parameters)):
                if name not in DICTIONARIES or self._alone(name):
                    return self.call.given(parameter)
        if name in DICTIONARIES and problem.parameters:
            return Parameters(self.call, self.more.get("_words", ()))
        for number, known in enumerate(inputs):
            names = (
                (known, *((INPUTS, TARGETS)[number > 0])) if len(inputs) > 1 else (known, *INPUTS)
            )
            names += PREDICTIONS if number == 0 and len(inputs) > 1 else ()
            if name in names and known not in used:
                used.add(known)
                return self.call.given(known)
        return None

    def _alone(self, name: str) -> bool:
        """``weights`` is an array where ``bias`` is an argument too; else it is the dictionary."""
        return len(self.call.problem.parameters) == 1 or name == "weights"


def words_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names and strings that a function's code mentions, those of inner functions included."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return tuple(dict.fromkeys(_words(code))) if code is not None else ()


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _words(constant)


def _has_default(function: Callable[..., Any], name: str) -> bool:
    import inspect

    return inspect.signature(function).parameters[name].default is not inspect.Parameter.empty
