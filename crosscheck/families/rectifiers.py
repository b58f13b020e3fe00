"""Activations with kinks, PReLU's learned slope among them.

Options that move a kink are given values that float32 represents, so that a point can lie on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import uniform
from crosscheck.families.activations import elementwise, gradients_at, kinks_of
from crosscheck.families.points import extreme
from crosscheck.families.twins import torch_module
from crosscheck.spec import Array, Layer, Problem, Tensor


def _leaky_relu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.leaky_relu(x, p.negative_slope)


def _elu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.elu(x, p.alpha)


def _celu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.celu(x, p.alpha)


def _hardtanh(p: Problem, x: Any) -> Any:
    """jax.nn.hard_tanh, which has the default bounds only; otherwise the same with others."""
    import jax
    import jax.numpy as jnp

    if (p.min_val, p.max_val) == (-1.0, 1.0):
        return jax.nn.hard_tanh(x)
    return jnp.where(x > p.max_val, p.max_val, jnp.where(x < p.min_val, p.min_val, x))


def _hardshrink(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where((x > p.lambd) | (x < -p.lambd), x, 0)


def _softshrink(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(x > p.lambd, x - p.lambd, jnp.where(x < -p.lambd, x + p.lambd, 0))


def _threshold(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(x > p.threshold, x, p.value)


def _prelu(p: Problem, x: Any, weights: Any) -> Any:
    """As flax and equinox write it; JAX itself has no PReLU."""
    import jax.numpy as jnp

    slope = weights if p.num_parameters == 1 else weights[None, :, None]
    return jnp.where(x >= 0, x, slope * x)


LAYERS = (
    elementwise("ReLU", "relu", kinks=(0,)),
    elementwise("ReLU6", "relu6", kinks=(0, 6)),
    elementwise(
        "LeakyReLU",
        _leaky_relu,
        {"negative_slope": 0.01, "convention": "torch"},
        ({"negative_slope": 0.3}, {"convention": "jax"}),
        kinks=(0,),
        torch_options=("negative_slope",),
    ),
    Layer(
        "PReLU",
        inputs={"x": "batch channels length"},
        parameters={"weights": Tensor("num_parameters", domain=uniform(0.05, 0.6))},
        outputs={"output": "batch channels length"},
        constructor=("num_parameters",),
        options={"convention": "torch"},
        variants=({"convention": "jax"},),
        sizes={"num_parameters": (1, 7)},
        valid=lambda p: (
            None if p.num_parameters in (1, p.channels) else "one slope, or one per channel"
        ),
        torch=torch_module("PReLU", "num_parameters"),
        torch_layout={"weights": "weight"},
        jax=_prelu,
        group="activations",
        special={"extreme": extreme("x"), "kinks": kinks_of("x", (0,))},
    ),
    elementwise("ELU", _elu, {"alpha": 1.0}, ({"alpha": 0.7},), kinks=(0,)),
    elementwise("CELU", _celu, {"alpha": 1.0}, ({"alpha": 1.6},), kinks=(0,)),
    elementwise("SELU", "selu", kinks=(0,)),
    elementwise("Hardsigmoid", "hard_sigmoid", kinks=(-3, 3)),
    elementwise("Hardswish", "hard_swish", kinks=(-3, 3)),
    elementwise(
        "Hardtanh",
        _hardtanh,
        {"min_val": -1.0, "max_val": 1.0, "convention": "torch"},
        ({"min_val": -0.5, "max_val": 0.75}, {"convention": "jax"}),
        kinks=lambda p: (p.min_val, p.max_val),
        torch_options=("min_val", "max_val"),
    ),
    elementwise(
        "Hardshrink",
        _hardshrink,
        {"lambd": 0.5},
        ({"lambd": 0.25},),
        kinks=lambda p: (-p.lambd, p.lambd),
    ),
    elementwise(
        "Softshrink",
        _softshrink,
        {"lambd": 0.5},
        ({"lambd": 0.25},),
        kinks=lambda p: (-p.lambd, p.lambd),
    ),
    elementwise(
        "Threshold",
        _threshold,
        {"threshold": 0.25, "value": -1.5},
        ({"threshold": -0.5}, {"value": 2.0}),
        kinks=lambda p: (p.threshold,),
    ),
)


def _initial_slopes() -> tuple[Array, Array]:
    import torch

    return torch.nn.PReLU(dtype=torch.float64).weight.detach().numpy(), np.asarray([0.01])


LEDGER = (
    Difference(
        "leaky-relu-at-zero",
        "LeakyReLU",
        "The derivative of leaky_relu at 0.",
        torch="negative_slope",
        jax="1",
        measure=gradients_at(
            lambda t, x: t.nn.functional.leaky_relu(x), lambda j, x: j.nn.leaky_relu(x), 0.0
        ),
        option="convention",
        kinds=("kinks",),
        quantities=("grad_x",),
    ),
    Difference(
        "prelu-at-zero",
        "PReLU",
        "The derivative of prelu at 0.",
        torch="the slope",
        jax="1 (flax and equinox: x where x >= 0)",
        measure=gradients_at(
            lambda t, x: t.nn.functional.prelu(x, t.full((1,), 0.25, dtype=x.dtype)),
            lambda j, x: j.numpy.where(x >= 0, x, 0.25 * x),
            0.0,
        ),
        option="convention",
        kinds=("kinks",),
        quantities=("grad_x",),
    ),
    Difference(
        "prelu-initial-slope",
        "PReLU",
        "The slope that PReLU starts from.",
        torch="0.25, as equinox",
        jax="flax: 0.01",
        measure=_initial_slopes,
        mapping="the slope is a parameter, the same for all witnesses",
    ),
    Difference(
        "hardtanh-at-its-bounds",
        "Hardtanh",
        "The derivative of hardtanh at its bounds.",
        torch="0",
        jax="1",
        measure=gradients_at(
            lambda t, x: t.nn.functional.hardtanh(x), lambda j, x: j.nn.hard_tanh(x), 1.0
        ),
        option="convention",
        kinds=("kinks",),
        quantities=("grad_x",),
    ),
    Difference(
        "celu-alpha-in-float32",
        "CELU",
        "The derivative of celu with alpha other than 1, in float64.",
        torch="1/alpha rounded to float32: 1e-8 off",
        jax="exact to float64",
        measure=gradients_at(
            lambda t, x: t.nn.functional.celu(x, 1.6), lambda j, x: j.nn.celu(x, 1.6), -1.0
        ),
        follows="jax",
        kinds=(ANY,),
        quantities=("grad_x",),
    ),
    Difference(
        "hardsigmoid-sixth-in-float32",
        "Hardsigmoid",
        "The derivative of hardsigmoid in float64.",
        torch="1/6 rounded to float32: 5e-9 off",
        jax="exact to float64",
        measure=gradients_at(
            lambda t, x: t.nn.functional.hardsigmoid(x), lambda j, x: j.nn.hard_sigmoid(x), 0.5
        ),
        follows="jax",
        kinds=(ANY,),
        quantities=("grad_x",),
    ),
)
