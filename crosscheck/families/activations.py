"""Smooth activations: one input, no parameters; and what every activation of single elements shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.points import at_kink, exactly, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, SpecialCase

#: Where the kinks of a layer are; a function of the problem where options move them.
Kinks = Sequence[float] | Callable[[Problem], Sequence[float]]


def elementwise(
    name: str,
    jax: Callable[..., Any] | str,
    options: Mapping[str, Any] | None = None,
    variants: Sequence[Mapping[str, Any]] = (),
    kinks: Kinks = (),
    torch_options: Sequence[str] | None = None,
    special: Mapping[str, SpecialCase] | None = None,
) -> Layer:
    """The entry of an activation of single elements.

    Args:
        name: as in torch.nn.
        jax: the twin, or the name of a function in jax.nn.
        options, variants: as in `Layer`.
        kinks: where it, its derivative or its curvature jumps: no numeric derivative is good
            there. Without any it is tried at exact zeros, where it is smooth, but a formula may
            not be.
        torch_options: the options that torch's class has; by default all.
        special: further special points.
    """
    options = options or {}
    points: dict[str, SpecialCase] = {"extreme": extreme("x"), **(special or {})}
    points |= {"kinks": kinks_of("x", kinks)} if kinks else {"zeros": _zeros}
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


def kinks_of(name: str, kinks: Kinks) -> SpecialCase:
    """Some elements of an input exactly at the kinks. Only what float32 can represent is hit."""

    def change(
        rng: np.random.Generator, problem: Problem, values: dict[str, Array]
    ) -> dict[str, Array]:
        points = kinks(problem) if callable(kinks) else kinks
        return exactly(name, points)(rng, problem, values)

    return at_kink(change)


def _zeros(
    rng: np.random.Generator, problem: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    x = values["x"]
    return {**values, "x": np.where(rng.random(x.shape) < 0.5, 0.0, x)}


def gradients_at(
    torch_function: Callable[[Any, Any], Any], jax_function: Callable[[Any, Any], Any], x: float
) -> Callable[[], tuple[Array, Array]]:
    """For a ledger entry: both frameworks' derivative of a function at a point.

    The functions take the framework and the point: ``lambda t, x: t.relu(x)``.
    """

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


def _values_at(
    torch_function: Callable[[Any, Any], Any], jax_function: Callable[[Any, Any], Any], x: float
) -> Callable[[], tuple[Array, Array]]:
    """Likewise both frameworks' value of a function at a point."""

    def measure() -> tuple[Array, Array]:
        import torch

        from crosscheck.implementations.jax_function import import_jax

        jax = import_jax()
        value = torch_function(torch, torch.tensor(x, dtype=torch.float64))
        with jax.enable_x64(True):
            return np.asarray(value.numpy()), np.asarray(jax_function(jax, np.float64(x)))

    return measure


def _jax_nn(name: str) -> Callable[..., Any]:
    def call(p: Problem, x: Any) -> Any:
        import jax

        return getattr(jax.nn, name)(x)

    return call


def _gelu(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.gelu(x, approximate=p.approximate == "tanh")


def _tanh(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.tanh(x)


def _tanhshrink(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    return x - jnp.tanh(x)


def _softplus(p: Problem, x: Any) -> Any:
    import jax

    return jax.nn.softplus(p.beta * x) / p.beta


def _above_threshold(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """Where PyTorch's softplus is linear already and JAX's is not."""
    return {**values, "x": np.asarray(rng.uniform(20.5, 22, values["x"].shape))}


LAYERS = (
    elementwise("GELU", _gelu, {"approximate": "none"}, ({"approximate": "tanh"},)),
    elementwise("SiLU", "silu"),
    elementwise("Mish", "mish"),
    elementwise("Sigmoid", "sigmoid"),
    elementwise("Tanh", _tanh),
    elementwise(
        "Softplus",
        _softplus,
        {"beta": 1.0, "threshold": 20.0},
        ({"beta": 2.5}, {"threshold": 30.0}),
        special={
            "above threshold": _above_threshold,
            "zeros": _zeros,
        },
        kinks=lambda p: (p.threshold / p.beta,),
    ),
    elementwise("Softsign", "soft_sign", kinks=(0,)),
    elementwise("LogSigmoid", "log_sigmoid"),
    elementwise("Tanhshrink", _tanhshrink),
)


LEDGER = (
    Difference(
        "gelu-default",
        "GELU",
        "The default of gelu.",
        torch="exact, by erf",
        jax="the tanh approximation",
        measure=_values_at(lambda t, x: t.nn.functional.gelu(x), lambda j, x: j.nn.gelu(x), 2.0),
        mapping="approximate= is passed to both",
    ),
    Difference(
        "softplus-threshold",
        "Softplus",
        "softplus above its threshold.",
        torch="x itself where beta·x > threshold (20)",
        jax="log(1 + exp(x)) everywhere",
        measure=_values_at(
            lambda t, x: t.nn.functional.softplus(x), lambda j, x: j.nn.softplus(x), 20.5
        ),
        mapping="threshold=math.inf is JAX's function",
        kinds=("above threshold",),
        quantities=("output", "grad_x"),
    ),
)
