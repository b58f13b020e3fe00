"""Layers that move no numbers: Identity and Flatten."""

from __future__ import annotations

import math
from typing import Any

from crosscheck.families.points import extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Layer, Problem, Shape, Tensor

_AXES = "batch channels height width"


def _bounds(p: Problem) -> tuple[int, int]:
    """The first of the joined axes and the first after them."""
    return p.start_dim % 4, p.end_dim % 4 + 1


def _flat(p: Problem) -> Shape:
    shape, (start, stop) = Tensor(_AXES).shape(p), _bounds(p)
    return (*shape[:start], math.prod(shape[start:stop]), *shape[stop:])


def _axes_there(p: Problem) -> str | None:
    for name in ("start_dim", "end_dim"):
        if not -4 <= p[name] < 4:
            return f"{name}={p[name]} is no axis of {_AXES}"
    start, stop = _bounds(p)
    return None if start < stop else "start_dim lies behind end_dim"


def _jax_flatten(p: Problem, x: Any) -> Any:
    import jax

    return jax.lax.collapse(x, *_bounds(p))


def _jax_identity(p: Problem, x: Any) -> Any:
    return x


LAYERS = (
    Layer(
        "Identity",
        inputs={"x": "batch features"},
        outputs={"output": "batch features"},
        views=True,
        torch=torch_module("Identity"),
        jax=_jax_identity,
        special={"extreme": extreme("x")},
    ),
    Layer(
        "Flatten",
        inputs={"x": _AXES},
        outputs={"output": Tensor(_flat)},
        options={"start_dim": 1, "end_dim": -1},
        variants=(
            {"start_dim": 0},
            {"end_dim": 2},
            {"start_dim": -2},
            {"start_dim": 2, "end_dim": 2},
        ),
        sizes={axis: (2, 5) for axis in _AXES.split()},
        valid=_axes_there,
        views=True,
        torch=torch_module("Flatten", **same("start_dim", "end_dim")),
        jax=_jax_flatten,
        special={"extreme": extreme("x")},
    ),
)
