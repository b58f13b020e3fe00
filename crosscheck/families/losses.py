"""Losses on numbers: prediction and target to one number, or one per element."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import NORMAL, POSITIVE, Domain, custom
from crosscheck.families.activations import gradients_at
from crosscheck.families.points import at_kink, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, SpecialCase, Tensor

#: Besides "mean", the default.
REDUCTIONS: tuple[Mapping[str, Any], ...] = ({"reduction": "sum"}, {"reduction": "none"})
#: The prediction and the target of most losses.
ELEMENTS = "batch features"


def reduced(axes: str) -> dict[str, Tensor]:
    """The output of a loss: of the elements' axes with reduction "none", else a scalar."""
    return {"output": Tensor(lambda p: Tensor(axes).shape(p) if p.reduction == "none" else ())}


def jax_reduce(p: Problem, elements: Any) -> Any:
    """The reduction of a problem applied to JAX elements."""
    return {"mean": elements.mean, "sum": elements.sum, "none": lambda: elements}[p.reduction]()


def _pairwise(
    name: str,
    jax: Callable[..., Any],
    options: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]] = (),
    special: Mapping[str, SpecialCase] | None = None,
    prediction: Callable[[Mapping[str, Any]], Domain] = lambda options: NORMAL,
    target: Domain = NORMAL,
) -> Layer:
    """A loss of elements: prediction and target of one shape.

    All options but ``convention`` are the torch module's too.
    """
    shared = [option for option in options if option != "convention"]
    return Layer(
        name,
        inputs=lambda o: {
            "prediction": Tensor(ELEMENTS, prediction(o)),
            "target": Tensor(ELEMENTS, target, differentiable=False),
        },
        outputs=reduced(ELEMENTS),
        options={"reduction": "mean", **options},
        variants=(*REDUCTIONS, *variants),
        torch=torch_module(name, **same("reduction", *shared)),
        jax=jax,
        group="losses",
        special={"extreme": extreme("prediction"), **(special or {})},
    )


def _mse(p: Problem, prediction: Any, target: Any) -> Any:
    return jax_reduce(p, (prediction - target) ** 2)


def _l1(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    return jax_reduce(p, jnp.abs(prediction - target))


def _huber(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    d = prediction - target
    size = jnp.abs(d)
    return jax_reduce(p, jnp.where(size <= p.delta, d * d / 2, p.delta * (size - p.delta / 2)))


def _smooth_l1(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    d = prediction - target
    size = jnp.abs(d)
    if p.beta == 0:
        return jax_reduce(p, size)
    return jax_reduce(p, jnp.where(size < p.beta, d * d / (2 * p.beta), size - p.beta / 2))


def _poisson(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    if p.log_input:
        elements = jnp.exp(prediction) - target * prediction
    else:
        elements = prediction - target * jnp.log(prediction + p.eps)
    if p.full:
        many = jnp.where(target > 1, target, 1)
        stirling = many * jnp.log(many) - many + jnp.log(2 * jnp.pi * many) / 2
        elements = elements + jnp.where(target > 1, stirling, 0)
    return jax_reduce(p, elements)


def _gaussian(p: Problem, prediction: Any, target: Any, var: Any) -> Any:
    import jax.numpy as jnp

    v = jnp.maximum(var, p.eps)
    elements = (jnp.log(v) + (prediction - target) ** 2 / v) / 2
    return jax_reduce(p, elements + (jnp.log(2 * jnp.pi) / 2 if p.full else 0))


def _counts(rng: np.random.Generator, shape: tuple[int, ...], p: Problem) -> Array:
    return rng.poisson(3.0, shape).astype(np.float64)


def _equal(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Some predictions equal to their target: the kink of the absolute value."""
    same_value = rng.random(values["target"].shape) < 0.5
    return {**values, "prediction": np.where(same_value, values["target"], values["prediction"])}


def _apart_by(option: str) -> SpecialCase:
    """Predictions 0 or exactly an option's value away from the target: where two pieces meet."""

    def change(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
        target = rng.integers(-3, 4, values["target"].shape).astype(np.float64)
        distance = p[option] * rng.integers(-1, 2, target.shape)
        return {**values, "target": target, "prediction": target + distance}

    return at_kink(change)


def _collapsed(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Variances of 0, and below eps: where the clamp holds them."""
    var = values["var"]
    return {**values, "var": np.where(rng.random(var.shape) < 0.5, 0.0, p.eps / 4)}


LAYERS = (
    _pairwise("MSELoss", _mse, {}),
    _pairwise(
        "L1Loss",
        _l1,
        {"convention": "torch"},
        ({"convention": "jax"},),
        {"equal": at_kink(_equal)},
    ),
    _pairwise(
        "HuberLoss", _huber, {"delta": 1.0}, ({"delta": 0.4},), {"joints": _apart_by("delta")}
    ),
    _pairwise(
        "SmoothL1Loss",
        _smooth_l1,
        {"beta": 1.0},
        ({"beta": 0.4}, {"beta": 0.0}),
        {"joints": _apart_by("beta")},
    ),
    _pairwise(
        "PoissonNLLLoss",
        _poisson,
        {"log_input": True, "full": False, "eps": 1e-8},
        ({"log_input": False}, {"full": True}, {"log_input": False, "eps": 0.25}),
        {"extreme": extreme("prediction", scale=20)},
        prediction=lambda o: NORMAL if o["log_input"] else POSITIVE,
        target=custom("counts", _counts),
    ),
    Layer(
        "GaussianNLLLoss",
        inputs=lambda o: {
            "prediction": ELEMENTS,
            "target": Tensor(ELEMENTS, differentiable=False),
            "var": Tensor("batch 1" if o["shared_variance"] else ELEMENTS, POSITIVE),
        },
        outputs=reduced(ELEMENTS),
        options={
            "full": False,
            "eps": 1e-6,
            "reduction": "mean",
            "convention": "torch",
            "shared_variance": False,
        },
        variants=(
            *REDUCTIONS,
            {"full": True},
            {"eps": 0.75},
            {"shared_variance": True},
            {"convention": "jax"},
            {"convention": "jax", "eps": 0.75},
        ),
        torch=torch_module("GaussianNLLLoss", **same("full", "eps", "reduction")),
        jax=_gaussian,
        group="losses",
        special={"extreme": extreme("prediction"), "collapsed": at_kink(_collapsed)},
    ),
)


def _below_eps() -> tuple[Array, Array]:
    """The gradient of a variance of ½ with an eps of 1, at a distance of 2."""
    return gradients_at(
        lambda t, v: t.nn.functional.gaussian_nll_loss(
            t.zeros_like(v), t.full_like(v, 2.0), v, eps=1.0
        ),
        lambda j, v: (lambda w: (j.numpy.log(w) + 4 / w) / 2)(j.numpy.maximum(v, 1.0)),
        0.5,
    )()


def _squares() -> tuple[Array, Array]:
    import torch

    one = torch.ones((), dtype=torch.float64)
    ours = torch.nn.functional.mse_loss(2 * one, one).numpy()
    return ours, np.asarray(0.5 * (2.0 - 1.0) ** 2)  # optax.l2_loss


def _far_out() -> tuple[Array, Array]:
    """A difference of 2 with β = δ = ½."""
    import torch

    two = torch.full((), 2.0, dtype=torch.float64)
    smooth = torch.nn.functional.smooth_l1_loss(two, torch.zeros_like(two), beta=0.5)
    return smooth.numpy(), np.asarray(0.5 * (2 - 0.5 / 2))  # optax.huber_loss


LEDGER = (
    Difference(
        "l1-at-zero",
        "L1Loss",
        "The derivative of the absolute value at 0.",
        torch="0",
        jax="1",
        measure=gradients_at(
            lambda t, x: t.nn.functional.l1_loss(x, t.zeros_like(x)), lambda j, x: j.numpy.abs(x), 0
        ),
        option="convention",
        kinds=("equal",),
        quantities=("grad_prediction",),
    ),
    Difference(
        "l2-half",
        "MSELoss",
        "The factor of the squared error.",
        torch="(x - y)²",
        jax="optax.l2_loss: ½ (x - y)²; optax.squared_error agrees",
        measure=_squares,
        mapping="the JAX twin is the square",
    ),
    Difference(
        "smooth-l1-and-huber",
        "SmoothL1Loss",
        "Which of the two the one parameter makes.",
        torch="SmoothL1Loss(beta=β): slope 1 far out; HuberLoss(delta=δ): slope δ",
        jax="optax has huber_loss(delta=δ) alone, β times the smooth one at δ = β",
        measure=_far_out,
        mapping="the JAX twin of SmoothL1Loss is the Huber loss divided by β",
    ),
    Difference(
        "gaussian-variance-below-eps",
        "GaussianNLLLoss",
        "The gradient of a variance that is clamped to eps.",
        torch="passes, as if eps were the variance given",
        jax="0: the clamped value does not depend on it",
        measure=_below_eps,
        option="convention",
        kinds=(ANY,),
        quantities=("grad_var",),
    ),
)
