"""What the adapters of Flax and Equinox share: constructing a module, and finding its arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crosscheck.evaluation import NotOffered
from crosscheck.implementations.jax_function import JaxBound, JaxImplementation
from crosscheck.implementations.layout import Layout
from crosscheck.spec import Problem

#: What other libraries call the catalogue's parameters.
NAMES: Mapping[str, tuple[str, ...]] = {
    "weights": ("kernel", "weight", "embedding", "scale"),
    "weight": ("scale", "kernel"),
}
#: What other libraries call the catalogue's options and sizes.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "use_bias": ("bias",),
    "features": ("out_features", "out_channels", "features"),
    "in_size": ("in_features",),
    "epsilon": ("eps",),
}
#: Arguments that are the libraries' own.
_THEIRS = frozenset({"parent", "name", "rngs", "key", "self"})


class ModuleImplementation(JaxImplementation):
    """A module class or object whose call is a function of the problem and the arrays.

    Args:
        function: as `JaxImplementation` takes it.
        subject: the class or object, whose constructor says which options there are.
        strict: refuse an option that the constructor does not have.
    """

    def __init__(self, function: Callable[..., Any], subject: Any, strict: bool) -> None:
        name = getattr(subject, "__name__", type(subject).__name__)
        super().__init__(function, str(name))
        self.subject = subject
        self.strict = strict

    def bind(self, problem: Problem) -> JaxBound:
        """As `JaxImplementation`, with the options looked at first.

        Raises:
            NotOffered: an option away from its default is no argument of the constructor.
        """
        if isinstance(self.subject, type):
            _arguments(self.subject, problem, self.strict)
        return super().bind(problem)


def constructed(subject: type, problem: Problem, extra: Mapping[str, Any] | None = None) -> Any:
    """A module of a class: arguments by the names of sizes and options, else sizes by position.

    Args:
        subject: the class.
        problem: where sizes and options come from.
        extra: the library's own arguments, passed where the constructor takes them.
    """
    parameters = _parameters(subject)
    own = {k: v for k, v in (extra or {}).items() if k in parameters}
    return subject(**own, **_arguments(subject, problem, strict=False))


def _parameters(subject: type) -> Mapping[str, inspect.Parameter]:
    """The constructor's, behind a metaclass that takes anything."""
    found = inspect.signature(subject).parameters
    if all(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found.values()):
        initial = next(vars(k)["__init__"] for k in subject.__mro__ if "__init__" in vars(k))
        return dict([*inspect.signature(initial).parameters.items()][1:])
    return found


def _arguments(subject: type, problem: Problem, strict: bool) -> dict[str, Any]:
    parameters = _parameters(subject)
    keywords: dict[str, Any] = {}
    used: set[str] = set()
    for name in parameters:
        for word in (name, *ARGUMENTS.get(name, ())):
            if name not in _THEIRS and (word in problem.sizes or word in problem.options):
                keywords[name] = problem[word]
                used.add(word)
                break
    for option, value in problem.options.items():
        if strict and option not in used and value != problem.layer.options[option]:
            raise NotOffered(f"{subject.__name__} has no option {option!r}")
    needed = [
        name
        for name, p in parameters.items()
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and name not in keywords
        and name not in _THEIRS
    ]
    values = [
        item(problem) if callable(item) else problem[item] for item in problem.layer.constructor
    ]
    return {**keywords, **dict(zip(needed, values, strict=False))}


def arranged(problem: Problem, name: str, array: Any) -> Iterator[tuple[str, Any]]:
    """Names under which a parameter may be held, each with the array as it would be held there."""
    yield name, array
    declared = problem.layer.torch_layout.get(name)
    layout = Layout.parse(declared) if declared is not None else None
    if layout is not None and all(len(group) == 1 for group in (*layout.here, *layout.there)):
        here, there = ([group[0] for group in side] for side in (layout.here, layout.there))
        if not any(axis.startswith("~") for axis in (*here, *there)):
            order = tuple(here.index(axis) for axis in there)
            yield layout.name, array.transpose(order) if order else array
    for other in NAMES.get(name, ()):
        if layout is None or other != layout.name:
            yield other, array
