"""What people call the two methods of a layer: ``__call__`` and ``gradient``, ``loss`` and ``grad``."""

from __future__ import annotations

import inspect
from typing import Any

from crosscheck.implementations.conventions.names import first

FORWARD = (
    "forward", "forward_pass", "__call__", "call", "loss", "compute_loss", "calculate", "compute",
    "apply", "activate", "fprop", "feedforward",
)  # fmt: skip
BACKWARD = (
    "backward", "backward_pass", "backprop", "backpropagate", "back_propagate", "bprop", "gradient",
    "grad", "compute_gradient", "compute_gradients",
)  # fmt: skip


def with_usual_names(subject: Any) -> type | None:
    """A class with the same methods under the names ``forward`` and ``backward``, or None.

    None as well where it has both names already: there is nothing to rename.
    """
    if not isinstance(subject, type):
        return None
    have = [name for name in (*FORWARD, *BACKWARD) if callable(getattr(subject, name, None))]
    have = [n for n in have if n != "__call__" or "__call__" in dir(subject)]
    pair = first(FORWARD, have), first(BACKWARD, have)
    if None in pair or pair == ("forward", "backward"):
        return None
    renamed = {
        usual: inspect.getattr_static(subject, str(name))
        for usual, name in zip(("forward", "backward"), pair, strict=True)
    }
    return type(subject.__name__, (subject,), {**renamed, "__module__": subject.__module__})
