"""Softmax and its relatives, and GLU: activations along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from crosscheck.families.points import extreme
from crosscheck.families.twins import torch_module
from crosscheck.spec import Array, Layer, Problem, Tensor


def _far_off(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """All logits around 1e4: every exponential overflows, but no difference of two is large."""
    return {**values, "x": values["x"] + 1e4}


def _slice(name: str, jax: Callable[..., Any]) -> Layer:
    """The entry of an activation of slices along `dim`."""
    return Layer(
        name,
        inputs={"x": "batch channels length"},
        outputs={"output": "batch channels length"},
        options={"dim": -1},
        variants=({"dim": 0}, {"dim": 1}),
        pairs=False,
        torch=torch_module(name, "dim"),
        jax=jax,
        group="activations",
        special={"extreme": extreme("x"), "far off": _far_off},
    )


def _softmax(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.softmax(x, axis=p.dim)


def _softmin(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.softmax(-x, axis=p.dim)


def _log_softmax(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.log_softmax(x, axis=p.dim)


def _glu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.glu(x, axis=p.dim)


def _glu_shape(p: Problem) -> tuple[int, ...]:
    shape = [2 * p.batch, 2 * p.channels, 2 * p.length]
    shape[p.dim] //= 2
    return tuple(shape)


LAYERS = (
    _slice("Softmax", _softmax),
    _slice("LogSoftmax", _log_softmax),
    _slice("Softmin", _softmin),
    Layer(
        "GLU",
        inputs={"x": "2*batch 2*channels 2*length"},
        outputs={"output": Tensor(_glu_shape)},
        options={"dim": -1},
        variants=({"dim": 0}, {"dim": 1}),
        pairs=False,
        torch=torch_module("GLU", "dim"),
        jax=_glu,
        group="activations",
        sizes={"batch": (1, 4), "channels": (1, 4), "length": (1, 4)},
        special={"extreme": extreme("x")},
    ),
)
