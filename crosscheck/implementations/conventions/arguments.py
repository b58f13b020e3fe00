"""Which argument of somebody's function is what, by its name: ``dout``, ``cache``, ``W``, ``conv_param``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosscheck.implementations.conventions.call import Call
from crosscheck.implementations.conventions.names import (
    CACHES,
    DICTIONARIES,
    INPUTS,
    MODES,
    PREDICTIONS,
    SETTINGS,
    TARGETS,
    UPSTREAM,
    every_name,
    option_names,
    parameter_names,
)
from crosscheck.implementations.conventions.signatures import argument_names, signature


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


class Settings(dict[str, Any]):
    """The options and buffers of a call in one dictionary, each under all of its names."""

    def __init__(self, call: Call) -> None:
        super().__init__(every_name(dict(call.problem.options)))
        for name in MODES:
            if name in call.problem.options:
                self["mode"] = "train" if call.problem.options[name] else "test"
        for name in call.problem.buffers:
            self[name] = np.array(call.given(name))


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
        """The arguments of a function in order, or None if a name is not understood.

        Names that say nothing are taken to be the inputs that are left, in order, if there are as many.
        """
        names = argument_names(function)
        found: list[Any] = []
        unknown: list[int] = []
        used: set[str] = set()
        for name in names:
            role = self._role(name, [*self.call.problem.inputs], used)
            if role is None:
                if _has_default(function, name):
                    break
                unknown.append(len(found))
            found.append(role)
        left = [n for n in self.call.problem.inputs if n not in used]
        if unknown and (self.upstream or len(unknown) != len(left)):
            return None
        for place, name in zip(unknown, left, strict=False):
            found[place] = self.call.given(name)
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
        for parameter in self.call.parameters:
            if parameter not in used and name in parameter_names(
                parameter, tuple(problem.parameters)
            ):
                if name not in DICTIONARIES or self._alone(name):
                    used.add(parameter)
                    return self.call.given(parameter)
        if name in DICTIONARIES and problem.parameters:
            return Parameters(self.call, self.more.get("_words", ()))
        if name.endswith(SETTINGS):
            return Settings(self.call)
        for option, value in problem.options.items():
            if name in option_names(option, problem.options):
                return value
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


def _has_default(function: Callable[..., Any], name: str) -> bool:
    parameter = signature(function).parameters[name]
    return parameter.default is not parameter.empty
