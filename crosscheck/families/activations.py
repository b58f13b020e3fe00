"""Activations: no parameters, one input, any shape."""

from __future__ import annotations

from typing import Any

from crosscheck.families.points import extreme
from crosscheck.spec import Layer, Problem


def _torch_sigmoid(p: Problem) -> Any:
    import torch

    return torch.nn.Sigmoid()


def _jax_sigmoid(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.sigmoid(x)


LAYERS = (
    Layer(
        "Sigmoid",
        inputs={"x": "batch features"},
        outputs={"output": "batch features"},
        torch=_torch_sigmoid,
        jax=_jax_sigmoid,
        group="activations",
        special={"extreme": extreme("x")},
    ),
)
