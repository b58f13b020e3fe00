"""Constructing somebody's class for a problem: which sizes and options it is given, and how."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from inspect import Parameter
from typing import Any

from crosscheck.evaluation import NotOffered, OneNumber
from crosscheck.implementations.conventions.names import MODES, PAIRS, first, option_names
from crosscheck.implementations.conventions.naming import Naming
from crosscheck.implementations.conventions.signatures import (
    accepts,
    argument_names,
    signature,
    words_of,
)
from crosscheck.spec import Problem

_NOTHING = Naming()


def build(
    subject: type, problem: Problem, strict: bool = False, naming: Naming | None = None
) -> Any:
    """Construct a class: sizes by position, options by keyword where it takes them.

    Args:
        subject: the class.
        problem: layer, options and sizes.
        strict: see `Call`.
        naming: what is known of its constructor.

    Raises:
        NotOffered: an option away from its default is no parameter of the constructor (`strict`);
            or it takes one number where this problem has several.
    """
    positional, keywords = construction(subject, problem, strict, naming)
    layer = subject(*positional, **keywords)
    for name in set(problem.options).intersection(MODES).difference(keywords):
        place = next((n for n in MODES[name] if isinstance(getattr(layer, n, None), bool)), None)
        if place is not None:  # not built with it, but switched
            setattr(layer, place, problem.options[name])
    return layer


def construction(
    subject: type, problem: Problem, strict: bool = False, naming: Naming | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments with which `build` constructs a class; raises as it does."""
    try:
        positional, keywords = _remembered(subject, problem, strict, naming or _NOTHING)
    except TypeError:  # a class that cannot be hashed
        positional, keywords = _construction(subject, problem, strict, naming or _NOTHING)
    return [*positional], {**keywords}


def _construction(
    subject: type, problem: Problem, strict: bool, naming: Naming
) -> tuple[list[Any], dict[str, Any]]:
    if naming.constructor is not None:
        positional = [
            problem[item] if isinstance(item, str) else item for item in naming.constructor
        ]
    else:
        positional = [
            item(problem) if callable(item) else problem[item] for item in problem.layer.constructor
        ]
    parameters: Mapping[str, Parameter] = {}
    try:
        parameters = signature(subject).parameters
    except (TypeError, ValueError):
        pass
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    taken = list(parameters)[: len(positional)]
    free = [name for name in parameters if name not in taken]
    keywords = {}
    for name, value in problem.options.items():
        known = first(option_names(name, problem.options), free)
        pair = next((p for p in PAIRS.get(name, ()) if set(p) <= set(free)), None)
        if known is not None or open_ended:
            keywords[known or name] = value
        elif pair is not None:
            keywords |= dict(zip(pair, value, strict=True))
        elif strict and value != problem.layer.options[name]:
            if name not in problem.layer.forms and not _switched(subject, name):
                raise NotOffered(f"{subject.__name__} has no option {name!r}")
    if not accepts(subject, len(positional)) and not keywords and positional and not parameters:
        positional = []
    if naming.scalars:
        who = subject.__name__
        positional = [_one_number(value, who) for value in positional]
        keywords = {name: _one_number(value, who) for name, value in keywords.items()}
    return positional, keywords


@lru_cache(maxsize=128)
def _remembered(
    subject: type, problem: Problem, strict: bool, naming: Naming
) -> tuple[list[Any], dict[str, Any]]:
    """The same, once: if the arguments are numbers and texts. Objects belong to one construction."""
    positional, keywords = _construction(subject, problem, strict, naming)
    for value in (*positional, *keywords.values()):
        hash(value)  # raises TypeError for a list
        if not isinstance(value, int | float | str | tuple | None):
            raise TypeError
    return positional, keywords


def _switched(subject: type, option: str) -> bool:
    """Whether training or evaluation is switched by an attribute, or told to each forward."""
    names = MODES.get(option, ())
    return first(names, words_of(subject.__init__)) is not None or (  # type: ignore[misc]
        first((*names, "mode"), argument_names(getattr(subject, "forward", subject))) is not None
    )


def _one_number(value: Any, who: str) -> Any:
    """``3`` for ``(3, 3)``; anything but a tuple of numbers as it is."""
    if not isinstance(value, tuple) or not value or not all(isinstance(n, int) for n in value):
        return value
    if len(set(value)) > 1:
        raise OneNumber(f"{who} takes one number for all axes of space")
    return value[0]
