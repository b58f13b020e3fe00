"""Short ways to write an entry: most torch twins are the torch.nn class of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from crosscheck.errors import unknown
from crosscheck.spec import Problem

T = TypeVar("T")


def torch_module(name: str, *positional: str, **keywords: str) -> Callable[[Problem], Any]:
    """``torch.nn.<name>`` built from a problem's sizes and options.

    Args:
        name: the class in torch.nn.
        positional: axes or options passed by position.
        keywords: torch's keyword → our axis or option.
    """

    def make(p: Problem) -> Any:
        import torch

        module = getattr(torch.nn, name)
        return module(*(p[a] for a in positional), **{k: p[v] for k, v in keywords.items()})

    return make


def same(*names: str) -> dict[str, str]:
    """Keywords that are called alike on both sides."""
    return {name: name for name in names}


def chosen(options: Mapping[str, Any], name: str, choices: Mapping[Any, T]) -> T:
    """What an option's value stands for.

    Raises:
        UsageError: it is none of `choices`; the message names them.
    """
    value = options[name]
    if value not in choices:
        raise unknown(f"value of {name}", value, [str(choice) for choice in choices])
    return choices[value]
