"""Normalization within a sample: LayerNorm, GroupNorm, RMSNorm."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.points import extreme
from crosscheck.families.twins import chosen
from crosscheck.spec import Array, Layer, Options, Problem, Shape, Tensor

#: Axes of space by their number, for layers that take any number of them.
SPACES = {0: "", 1: "length", 2: "height width", 3: "depth height width"}


def _offset(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """A mean of 1e3 at a deviation of 10: E[x²] - E[x]² loses four digits, E[(x - E[x])²] two."""
    return {**values, "x": values["x"] * 10 + 1e3}


def _narrow(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """A deviation of about √ε, where it matters that ε stands under the root."""
    return {**values, "x": values["x"] * 3e-3}


#: Special points of every normalization, and of those with an ε that is the same in both dtypes.
POINTS = {"extreme": extreme("x"), "offset": _offset}
POINTS_OF_EPS = {**POINTS, "narrow": _narrow}


def jax_standardize(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """jax.nn.standardize with a variance in two passes, which it does not take by default."""
    import jax

    variance = x.var(axes, keepdims=True)
    return jax.nn.standardize(x, axes, variance=variance, epsilon=eps)


def affine(normal: Any, weights: Any, bias: Any, axes: Shape) -> Any:
    """w x̂ + b for JAX arrays; `axes` is the shape in which w and b broadcast."""
    if weights is not None:
        normal = normal * weights.reshape(axes)
    return normal if bias is None else normal + bias.reshape(axes)


# --- over the last axes -----------------------------------------------------------------------

_TRAILING = {1: "features", 2: "length features"}


def _normalized(p: Problem) -> Shape:
    return _own(p.options).shape(p)


def _own(o: Options, when: Any = None) -> Tensor:
    """The axes that are normalized, and that w and b have."""
    return Tensor(chosen(o, "normalized_axes", _TRAILING), when=when)


def _scale(o: Options) -> dict[str, Tensor]:
    return {"weights": _own(o, "elementwise_affine")}


def _scale_and_shift(o: Options) -> Mapping[str, Tensor]:
    return {**_scale(o), "bias": _own(o, lambda p: p.elementwise_affine and p.bias)}


def _last(p: Problem) -> tuple[int, ...]:
    return tuple(range(-p.normalized_axes, 0))


def _torch_layer_norm(p: Problem) -> Any:
    import torch

    options = ("eps", "elementwise_affine", "bias")
    return torch.nn.LayerNorm(_normalized(p), **{k: p[k] for k in options})


def _torch_rms_norm(p: Problem) -> Any:
    import torch

    return torch.nn.RMSNorm(_normalized(p), p.eps, p.elementwise_affine)


def _jax_layer_norm(p: Problem, x: Any, weights: Any = None, bias: Any = None) -> Any:
    return affine(jax_standardize(x, _last(p), p.eps), weights, bias, _normalized(p))


def _jax_rms_norm(p: Problem, x: Any, weights: Any = None) -> Any:
    import jax
    import jax.numpy as jnp

    eps = jnp.finfo(x.dtype).eps if p.eps is None else p.eps
    mean = jnp.square(x).mean(_last(p), keepdims=True)
    return affine(x * jax.lax.rsqrt(mean + eps), weights, None, _normalized(p))


def _scaled_away(p: Problem) -> str | None:
    single = math.prod(_normalized(p)) == 1
    return "a single number becomes its sign: its gradient is 0, up to rounding" if single else None


# --- over groups of channels ------------------------------------------------------------------


def _grouped(o: Options) -> str:
    return f"batch num_groups*group_size {chosen(o, 'space', SPACES)}"


def _torch_group_norm(p: Problem) -> Any:
    import torch

    module = torch.nn.GroupNorm(p.num_groups, p.num_groups * p.group_size, p.eps, p.affine)
    return without_bias(module, p)


def without_bias(module: Any, p: Problem) -> Any:
    """A torch module that scales and does not shift, as its newest versions can be asked for."""
    if p.affine and not p.bias:
        module.register_parameter("bias", None)
    return module


def _jax_group_norm(p: Problem, x: Any, weights: Any = None, bias: Any = None) -> Any:
    groups = x.reshape(p.batch, p.num_groups, -1)
    normal = jax_standardize(groups, (2,), p.eps).reshape(x.shape)
    return affine(normal, weights, bias, (-1, *(1,) * p.space))


def few(numbers: int) -> str | None:
    """Why so few numbers are no problem to draw, or None.

    One number becomes 0 and two become -1 and 1, whatever they are: up to ε the gradient of x is 0,
    and what is computed instead is rounding.
    """
    return None if numbers > 2 else "fewer than three numbers share a mean and variance"


def _of_group(p: Problem) -> str | None:
    return few(math.prod(Tensor(f"group_size {SPACES[p.space]}").shape(p)))


def _rows(o: Options) -> str:
    return "batch length features" if o["ndim"] == 3 else "batch features"


def _axes_to_share(p: Problem) -> str | None:
    return None if p.ndim > p.normalized_axes else "normalized_axes leaves no axis of samples"


LAYERS = (
    Layer(
        "LayerNorm",
        inputs=lambda o: {"x": _rows(o)},
        parameters=_scale_and_shift,
        outputs=lambda o: {"output": _rows(o)},
        constructor=(_normalized,),
        options={
            "eps": 1e-5,
            "elementwise_affine": True,
            "bias": True,
            "normalized_axes": 1,
            "ndim": 3,
        },
        variants=(
            {"eps": 0.1},
            {"elementwise_affine": False},
            {"bias": False},
            {"normalized_axes": 2},
            {"ndim": 2},
        ),
        sizes={"batch": (2, 5), "length": (2, 5), "features": (3, 7)},
        forms=("ndim",),
        valid=lambda p: _axes_to_share(p) or few(math.prod(_normalized(p))),
        torch=_torch_layer_norm,
        torch_layout={"weights": "weight"},
        jax=_jax_layer_norm,
        special=POINTS_OF_EPS,
    ),
    Layer(
        "GroupNorm",
        inputs=lambda o: {"x": _grouped(o)},
        parameters={
            "weights": Tensor("num_groups*group_size", when="affine"),
            "bias": Tensor("num_groups*group_size", when=lambda p: p.affine and p.bias),
        },
        outputs=lambda o: {"output": _grouped(o)},
        constructor=("num_groups", lambda p: p.num_groups * p.group_size),
        options={"eps": 1e-5, "affine": True, "bias": True, "space": 1},
        variants=({"eps": 0.1}, {"affine": False}, {"bias": False}, {"space": 0}, {"space": 2}),
        sizes={"batch": (2, 4), "num_groups": (2, 4), "group_size": (2, 5)},
        forms=("space",),
        valid=_of_group,
        torch=_torch_group_norm,
        torch_layout={"weights": "weight"},
        jax=_jax_group_norm,
        special=POINTS_OF_EPS,
    ),
    Layer(
        "RMSNorm",
        inputs=lambda o: {"x": _rows(o)},
        parameters=_scale,
        outputs=lambda o: {"output": _rows(o)},
        constructor=(_normalized,),
        options={"eps": None, "elementwise_affine": True, "normalized_axes": 1, "ndim": 3},
        variants=(
            {"eps": 0.1},
            {"elementwise_affine": False},
            {"normalized_axes": 2},
            {"ndim": 2},
        ),
        sizes={"batch": (2, 5), "length": (2, 5), "features": (3, 7)},
        forms=("ndim",),
        valid=lambda p: _axes_to_share(p) or _scaled_away(p),
        torch=_torch_rms_norm,
        torch_layout={"weights": "weight"},
        jax=_jax_rms_norm,
        special=POINTS,
    ),
)


# --- where the frameworks differ --------------------------------------------------------------


def _layer_norm_eps() -> tuple[Array, Array]:
    import torch

    return np.asarray(torch.nn.LayerNorm(1).eps), np.asarray(1e-6)  # flax.linen.LayerNorm


def _group_norm_eps() -> tuple[Array, Array]:
    import torch

    return np.asarray(torch.nn.GroupNorm(1, 1).eps), np.asarray(1e-6)  # flax.linen.GroupNorm


def _rms_norm_eps() -> tuple[Array, Array]:
    """A number as small as the root of flax's ε, in float64."""
    import torch

    x = np.array([1e-3])
    ours = torch.nn.functional.rms_norm(torch.tensor(x), (1,))
    return ours.numpy(), x / np.sqrt(x**2 + 1e-6)  # flax.linen.RMSNorm


def _groups() -> tuple[Array, Array]:
    """How many groups there are by default, 0 for no default."""
    import torch

    default = inspect.signature(torch.nn.GroupNorm).parameters["num_groups"].default
    return np.asarray(0 if default is inspect.Parameter.empty else default), np.asarray(32)


def _fast_variance() -> tuple[Array, Array]:
    """Numbers of mean 1e3 and deviation 1e-2, in float32."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = (1e3 + 1e-2 * np.array([-1.5, -0.5, 0.5, 1.5])).astype(np.float32)
    ours = torch.nn.functional.layer_norm(torch.tensor(x), (4,))
    return ours.numpy(), np.asarray(jax.nn.standardize(jax.numpy.asarray(x)))


LEDGER = (
    Difference(
        "layer-norm-eps",
        "LayerNorm",
        "The default of eps.",
        torch="1e-5; equinox too",
        jax="flax: 1e-6",
        measure=_layer_norm_eps,
        mapping="the JAX twin is given PyTorch's eps",
    ),
    Difference(
        "group-norm-eps",
        "GroupNorm",
        "The default of eps.",
        torch="1e-5; equinox too",
        jax="flax: 1e-6",
        measure=_group_norm_eps,
        mapping="the JAX twin is given PyTorch's eps",
    ),
    Difference(
        "rms-norm-eps",
        "RMSNorm",
        "The default of eps, which a sample of small numbers shows.",
        torch="None: the unit in the last place of 1, 2.2e-16 in float64, 1.2e-7 in float32",
        jax="flax: 1e-6; equinox: 1e-5",
        measure=_rms_norm_eps,
        mapping="the JAX twin has PyTorch's",
    ),
    Difference(
        "group-norm-default-groups",
        "GroupNorm",
        "The number of groups where none is given.",
        torch="none: it has to be given; equinox too",
        jax="flax: 32",
        measure=_groups,
        mapping="the number is always given",
    ),
    Difference(
        "fast-variance",
        "LayerNorm",
        "How the variance is computed, which an offset shows.",
        torch="mean((x - mean(x))²) or as good; equinox too",
        jax="mean(x²) - mean(x)² by default in jax.nn.standardize and in flax (use_fast_variance)",
        measure=_fast_variance,
        mapping="the JAX twin is given the variance in two passes, jnp.var",
    ),
)
