"""Bilinear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscheck.families.points import extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Layer, Options, Problem, Tensor


def _rows(o: Options, features: str) -> str:
    return f"batch length {features}" if o["extra_dimension"] else f"batch {features}"


def _inputs(o: Options) -> Mapping[str, str]:
    return {"x1": _rows(o, "in1_features"), "x2": _rows(o, "in2_features")}


def _jax(p: Problem, x1: Any, x2: Any, weights: Any, bias: Any = None) -> Any:
    import jax.numpy as jnp

    output = jnp.einsum("...i,oij,...j->...o", x1, weights, x2)
    return output if bias is None else output + bias


LAYERS = (
    Layer(
        "Bilinear",
        inputs=_inputs,
        parameters={
            "weights": "out_features in1_features in2_features",
            "bias": Tensor("out_features", when="bias"),
        },
        outputs=lambda o: {"output": _rows(o, "out_features")},
        constructor=("in1_features", "in2_features", "out_features"),
        options={"bias": True, "extra_dimension": False},
        forms=("extra_dimension",),
        variants=({"bias": False}, {"extra_dimension": True}),
        sizes={axis: (2, 5) for axis in ("batch", "in1_features", "in2_features", "out_features")},
        torch=torch_module(
            "Bilinear", "in1_features", "in2_features", "out_features", **same("bias")
        ),
        torch_layout={"weights": "weight"},
        jax=_jax,
        special={"extreme": extreme("x1", "x2")},
    ),
)
