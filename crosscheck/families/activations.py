"""Activations: no parameters (PReLU has one), one input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import uniform
from crosscheck.families.points import exactly, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, SpecialCase, Tensor


def _elementwise(
    name: str,
    jax: Callable[..., Any] | str,
    options: Mapping[str, Any] | None = None,
    variants: Sequence[Mapping[str, Any]] = (),
    kinks: Sequence[float] = (),
    torch_options: Sequence[str] | None = None,
    special: Mapping[str, SpecialCase] | None = None,
) -> Layer:
    """An activation of single elements; `jax` is a function or the name of one in jax.nn."""
    options = options or {}
    points: dict[str, SpecialCase] = {"extreme": extreme("x"), **(special or {})}
    if kinks:
        points["kinks"] = exactly("x", kinks)
    return Layer(
        name,
        inputs={"x": "batch features"},
        outputs={"output": "batch features"},
        options=options,
        variants=variants,
        torch=torch_module(name, **same(*(options if torch_options is None else torch_options))),
        jax=_jax_nn(jax) if isinstance(jax, str) else jax,
        group="activations",
        special=points,
    )


def _jax_nn(name: str) -> Callable[..., Any]:
    def call(p: Problem, x: Any) -> Any:
        import jax

        return getattr(jax.nn, name)(x)

    return call


def _leaky_relu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.leaky_relu(x, p.negative_slope)


def _elu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.elu(x, p.alpha)


def _celu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.celu(x, p.alpha)


def _gelu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.gelu(x, approximate=p.approximate == "tanh")


def _mish(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.mish(x)


def _tanh(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.tanh(x)


def _tanhshrink(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return x - jnp.tanh(x)


def _hardtanh(p: Problem, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if (p.min_val, p.max_val) == (-1.0, 1.0):
        return jax.nn.hard_tanh(x)
    return jnp.where(x > p.max_val, p.max_val, jnp.where(x < p.min_val, p.min_val, x))


def _softplus(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.softplus(p.beta * x) / p.beta


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
    import jax.numpy as jnp

    slope = weights if p.num_parameters == 1 else weights[None, :, None]
    return jnp.where(x > 0, x, slope * x)


def _above_threshold(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """Where PyTorch's softplus is linear already and JAX's is not."""
    return {**values, "x": rng.uniform(20.5, 22, values["x"].shape)}


def _slice(name: str, jax: Callable[..., Any]) -> Layer:
    """An activation of slices along `dim`."""
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
        special={"extreme": extreme("x")},
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
    _elementwise("ReLU", "relu", kinks=(0,)),
    _elementwise("ReLU6", "relu6", kinks=(0, 6)),
    _elementwise(
        "LeakyReLU",
        _leaky_relu,
        {"negative_slope": 0.01, "convention": "torch"},
        ({"negative_slope": 0.3}, {"convention": "jax"}),
        kinks=(0,),
        torch_options=("negative_slope",),
    ),
    _elementwise("ELU", _elu, {"alpha": 1.0}, ({"alpha": 0.7},), kinks=(0,)),
    _elementwise("CELU", _celu, {"alpha": 1.0}, ({"alpha": 1.6},)),
    _elementwise("SELU", "selu", kinks=(0,)),
    _elementwise("GELU", _gelu, {"approximate": "none"}, ({"approximate": "tanh"},)),
    _elementwise("SiLU", "silu"),
    _elementwise("Mish", _mish),
    _elementwise("Sigmoid", "sigmoid"),
    _elementwise("Tanh", _tanh),
    _elementwise("Hardsigmoid", "hard_sigmoid", kinks=(-3, 3)),
    _elementwise("Hardswish", "hard_swish", kinks=(-3, 3)),
    _elementwise(
        "Hardtanh",
        _hardtanh,
        {"min_val": -1.0, "max_val": 1.0, "convention": "torch"},
        ({"min_val": -0.4, "max_val": 0.9}, {"convention": "jax"}),
        kinks=(-1, 1),
        torch_options=("min_val", "max_val"),
    ),
    _elementwise(
        "Softplus",
        _softplus,
        {"beta": 1.0, "threshold": 20.0},
        ({"beta": 2.5}, {"threshold": 30.0}),
        special={"above threshold": _above_threshold},
    ),
    _elementwise("Softsign", "soft_sign"),
    _elementwise("LogSigmoid", "log_sigmoid"),
    _slice("Softmax", _softmax),
    _slice("LogSoftmax", _log_softmax),
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
    _elementwise("Hardshrink", _hardshrink, {"lambd": 0.5}, ({"lambd": 0.2},), kinks=(-0.5, 0.5)),
    _elementwise("Softshrink", _softshrink, {"lambd": 0.5}, ({"lambd": 0.2},), kinks=(-0.5, 0.5)),
    _elementwise("Tanhshrink", _tanhshrink),
    _elementwise(
        "Threshold",
        _threshold,
        {"threshold": 0.25, "value": -1.5},
        ({"threshold": -0.5}, {"value": 2.0}),
        kinks=(0.25,),
    ),
    _slice("Softmin", _softmin),
    Layer(
        "PReLU",
        inputs={"x": "batch channels length"},
        parameters={"weights": Tensor("num_parameters", domain=uniform(0.05, 0.6))},
        outputs={"output": "batch channels length"},
        constructor=("num_parameters",),
        sizes={"num_parameters": (1, 7)},
        valid=lambda p: (
            None if p.num_parameters in (1, p.channels) else "one slope, or one per channel"
        ),
        torch=torch_module("PReLU", "num_parameters"),
        torch_layout={"weights": "weight"},
        jax=_prelu,
        group="activations",
        special={"extreme": extreme("x"), "kinks": exactly("x", (0,))},
    ),
)


def _gradients_at(
    torch_function: Callable[[Any, Any], Any], jax_function: Callable[[Any, Any], Any], x: float
) -> Callable[[], tuple[Array, Array]]:
    """Both frameworks' derivative of a function at a point."""

    def measure() -> tuple[Array, Array]:
        import torch

        from crosscheck.implementations.jax_function import import_jax

        jax = import_jax()
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        torch_function(torch, leaf).backward()
        with jax.enable_x64(True):
            gradient = jax.grad(lambda v: jax_function(jax, v))(np.float64(x))
            return np.asarray(leaf.grad.numpy()), np.asarray(gradient)

    return measure


def _softplus_values() -> tuple[Array, Array]:
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = 20.5
    with jax.enable_x64(True):
        other = np.asarray(jax.nn.softplus(np.float64(x)))
    return torch.nn.functional.softplus(torch.tensor(x, dtype=torch.float64)).numpy(), other


def _gelu_values() -> tuple[Array, Array]:
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    with jax.enable_x64(True):
        other = np.asarray(jax.nn.gelu(np.float64(1.0)))
    return torch.nn.functional.gelu(torch.tensor(1.0, dtype=torch.float64)).numpy(), other


LEDGER = (
    Difference(
        "leaky-relu-at-zero",
        "LeakyReLU",
        "The derivative of leaky_relu at 0.",
        torch="negative_slope",
        jax="1",
        measure=_gradients_at(
            lambda t, x: t.nn.functional.leaky_relu(x), lambda j, x: j.nn.leaky_relu(x), 0.0
        ),
        option="convention",
        kinds=("kinks",),
        quantities=("grad_x",),
    ),
    Difference(
        "hardtanh-at-its-bounds",
        "Hardtanh",
        "The derivative of hardtanh at its bounds.",
        torch="0",
        jax="1",
        measure=_gradients_at(
            lambda t, x: t.nn.functional.hardtanh(x), lambda j, x: j.nn.hard_tanh(x), 1.0
        ),
        option="convention",
        kinds=("kinks",),
        quantities=("grad_x",),
    ),
    Difference(
        "softplus-threshold",
        "Softplus",
        "softplus above its threshold.",
        torch="x itself where beta·x > threshold (20)",
        jax="log(1 + exp(x)) everywhere",
        measure=_softplus_values,
        mapping="threshold=math.inf is JAX's function",
        kinds=("above threshold",),
        quantities=("output", "grad_x"),
    ),
    Difference(
        "celu-alpha-in-float32",
        "CELU",
        "The derivative of celu with alpha other than 1, in float64.",
        torch="1/alpha rounded to float32: 1e-8 off",
        jax="exact to float64",
        measure=_gradients_at(
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
        measure=_gradients_at(
            lambda t, x: t.nn.functional.hardsigmoid(x), lambda j, x: j.nn.hard_sigmoid(x), 0.5
        ),
        follows="jax",
        kinds=(ANY,),
        quantities=("grad_x",),
    ),
    Difference(
        "gelu-default",
        "GELU",
        "The default of gelu.",
        torch="exact, by erf",
        jax="the tanh approximation",
        measure=_gelu_values,
        mapping="approximate= is passed to both",
    ),
)
