"""Linear."""

from __future__ import annotations

from typing import Any

from crosscheck.spec import Layer, Problem, Tensor


def _torch_linear(p: Problem) -> Any:
    import torch

    return torch.nn.Linear(p.in_features, p.out_features, bias=p.bias)


def _jax_linear(p: Problem, x: Any, weights: Any, bias: Any = None) -> Any:
    output = x @ weights
    return output if bias is None else output + bias


LAYERS = (
    Layer(
        "Linear",
        inputs={"x": "batch in_features"},
        parameters={
            "weights": "in_features out_features",
            "bias": Tensor("out_features", when="bias"),
        },
        outputs={"output": "batch out_features"},
        constructor=("in_features", "out_features"),
        options={"bias": True},
        variants=({"bias": False},),
        torch=_torch_linear,
        torch_layout={"weights": "weight: in out -> out in"},
        jax=_jax_linear,
    ),
)
