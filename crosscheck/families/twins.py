"""Short ways to write a torch twin: most are the torch.nn class of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crosscheck.errors import UsageError
from crosscheck.spec import Problem


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


def chosen(options: Mapping[str, Any], name: str, choices: Mapping[Any, Any]) -> Any:
    """What an option stands for.

    Raises:
        UsageError: it is none of the choices.
    """
    if options[name] not in choices:
        listed = ", ".join(map(repr, choices))
        raise UsageError(f"{name}={options[name]!r} is not one of {listed}")
    return choices[options[name]]
