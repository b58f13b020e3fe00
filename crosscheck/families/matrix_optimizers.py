"""Optimizers that look at a matrix as a matrix: Adafactor, Muon."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from crosscheck.differences import Difference
from crosscheck.families.optimizer_twins import (
    MATRICES,
    by_rule,
    optimizer_entry,
    torch_class,
    torch_rule,
)
from crosscheck.families.optimizers import weights_after
from crosscheck.spec import Layer, Problem

#: optax's epsilon, which is added to squares, as the square of ours.
_EPS_OF_OPTAX = 1e-15


# --- Adafactor --------------------------------------------------------------------------------


def _factors(array: Any) -> tuple[Any, ...]:
    """Running means over rows and columns; of a vector over nothing."""
    if array.ndim < 2:
        return (array * 0,)
    return array[..., :1] * 0, array[..., :1, :] * 0


def _adafactor_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    import jax.numpy as jnp

    eps1 = float(jnp.finfo(g.dtype).eps) if p.eps[0] is None else p.eps[0]
    new = t**p.beta2_decay
    means = [g * g] if g.ndim < 2 else [(g * g).mean(axis, keepdims=True) for axis in (-1, -2)]
    kept = tuple(a + new * (b - a) for a, b in zip(state, means, strict=True))
    v = kept[0]
    if g.ndim > 1:
        v = v * kept[1] / jnp.maximum(kept[0].mean(-2, keepdims=True), eps1)
    u = g / jnp.sqrt(jnp.maximum(v, eps1**2))
    size = jnp.maximum(p.eps[1], jnp.sqrt((w * w).mean())) * jnp.minimum(p.lr, t**-0.5)
    return size * u / jnp.maximum(1.0, jnp.sqrt((u * u).mean()) / p.d), kept


def _longest(array: Any) -> tuple[int, int]:
    """The longest axis and the next, as NumPy sorts them."""
    order = sorted(range(array.ndim), key=lambda axis: array.shape[axis])
    return order[-1], order[-2]


def _adafactor_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    import torch

    eps1 = _EPS_OF_OPTAX if p.eps[0] is None else p.eps[0]
    new = t**p.beta2_decay
    squares = g * g + eps1**2
    axes = _longest(g) if g.ndim > 1 else ()
    means = [squares.mean(axis, keepdim=True) for axis in axes] or [squares]
    before = [torch.zeros_like(m) for m in means] if t == 1 else state
    kept = tuple((1 - new) * a + new * b for a, b in zip(before, means, strict=True))
    u = g * kept[0] ** -0.5
    if axes:
        u = g * (kept[0] / kept[0].mean(axes[1], keepdim=True)) ** -0.5 * kept[1] ** -0.5
    u = u / max(1.0, (u * u).mean().sqrt().item() / p.d)
    size = max(p.eps[1], (w * w).mean().sqrt().item())
    return p.lr * size * u, kept


def _optax_adafactor(p: Problem) -> Any:
    import optax

    if p.convention == "torch":
        return by_rule(p, _adafactor_torch_rule, _factors, decoupled=True)
    eps1 = _EPS_OF_OPTAX if p.eps[0] is None else p.eps[0]

    def exactly(step: Any, exponent: Any) -> Any:
        """The decay in the precision of the weights; optax's own is float32."""
        return 1.0 - (step + 1) ** (-exponent)

    return optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=-p.beta2_decay,
            min_dim_size_to_factor=1,
            epsilon=eps1**2,
            decay_rate_fn=exactly,
        ),
        optax.clip_by_block_rms(p.d),
        optax.scale_by_learning_rate(p.lr, flip_sign=False),
        optax.scale_by_param_block_rms(p.eps[1]),
        # maximize turns the gradient round, not the decay.
        optax.add_decayed_weights(p.weight_decay),
        optax.scale(-1),
    )


def _torch_adafactor(p: Problem, leaves: list[Any]) -> Any:
    if p.convention == "jax":
        # The decay is not multiplied by lr there.
        made = Problem(p.layer, {**p.options, "lr": p.lr}, p.sizes)
        return torch_rule(made, leaves, _decayed(_adafactor_jax_rule), _factors, decoupled=True)
    names = ("lr", "beta2_decay", "eps", "d", "weight_decay", "maximize")
    return torch_class("Adafactor", *names)(p, leaves)


def _decayed(rule: Any) -> Any:
    """A rule whose decay is λ θ: `torch_rule` adds lr λ θ, so (1 − lr) λ θ is added here."""

    def with_decay(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
        move, kept = rule(g, w, state, t, p)
        return move + (1 - p.lr) * p.weight_decay * w, kept

    return with_decay


# --- Muon -------------------------------------------------------------------------------------


def _iterate(x: Any, p: Problem) -> Any:
    """Newton–Schulz on a matrix whose norm is at most 1, in any framework."""
    a, b, c = p.ns_coefficients
    tall = x.shape[0] > x.shape[1]
    y = x.T if tall else x
    for _ in range(p.ns_steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * (gram @ gram)) @ y
    return y.T if tall else y


def _muon_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    import jax.numpy as jnp

    buffer = p.momentum * state[0] + (1 - p.momentum) * g
    x = p.momentum * buffer + (1 - p.momentum) * g if p.nesterov else buffer
    x = _iterate(x / jnp.maximum(jnp.sqrt((x * x).sum()), p.eps), p)
    n, m = g.shape
    factor = math.sqrt(max(1.0, n / m))
    if p.adjust_lr_fn == "match_rms_adamw":
        factor = 0.2 * math.sqrt(max(n, m))
    return p.lr * factor * x, (buffer,)


def _muon_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    mu = p.momentum
    buffer = mu * state[0] + (1 - mu) * g
    x = buffer / (1 - mu**t)
    if p.nesterov:
        x = mu * buffer / (1 - mu ** (t + 1)) + (1 - mu) * g / (1 - mu**t)
    x = _iterate(x / ((x * x).sum().sqrt() + p.eps), p)
    n, m = g.shape
    factor = math.sqrt(max(1.0, m / n))
    if p.adjust_lr_fn == "match_rms_adamw":
        factor = 0.2 * math.sqrt(max(n, m))
    return p.lr * factor * x, (buffer,)


def _one(array: Any) -> tuple[Any]:
    return (array * 0,)


def _optax_muon(p: Problem) -> Any:
    import optax.contrib

    if p.convention == "torch":
        return by_rule(p, _muon_torch_rule, _one, decoupled=True)
    return optax.contrib.muon(
        p.lr,
        ns_coeffs=p.ns_coefficients,
        ns_steps=p.ns_steps,
        beta=p.momentum,
        eps=p.eps,
        weight_decay=p.weight_decay,
        nesterov=p.nesterov,
        consistent_rms=0.2 if p.adjust_lr_fn == "match_rms_adamw" else None,
    )


def _torch_muon(p: Problem, leaves: list[Any]) -> Any:
    """torch.optim.Muon, kept from rounding to bfloat16 where it makes the update orthogonal."""
    if p.convention == "jax":
        return torch_rule(p, leaves, _muon_jax_rule, _one, decoupled=True)
    import torch

    class Exact(torch.Tensor):
        """A tensor that stays in its precision: what Muon computes with is made of gradients."""

        def bfloat16(self, *arguments: Any, **keywords: Any) -> Any:
            return self.clone()

    class Muon(torch.optim.Muon):
        def step(self, closure: Any = None) -> Any:
            for leaf in leaves:
                leaf.grad = leaf.grad.as_subclass(Exact)
            return super().step(closure)

    names = ("lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps")
    return Muon(leaves, adjust_lr_fn=p.adjust_lr_fn, **{name: p[name] for name in names})


def _torch_muon_itself(leaves: list[Any]) -> Any:
    import torch

    return torch.optim.Muon(leaves, lr=0.1)


def _optax_muon_itself() -> Any:
    import optax.contrib

    return optax.contrib.muon(0.1)


def _muon_rounding() -> Any:
    """torch.optim.Muon on float64 against the same in float64 throughout, by a rule in JAX."""
    options = muon.problem({"weight_decay": 0.1, "lr": 0.1})
    return weights_after(_torch_muon_itself, lambda: _SingleArray(_optax_muon(options)))()


class _SingleArray:
    """An optax transformation of a dictionary, for a single array."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def init(self, params: Any) -> Any:
        return self.inner.init({"w": params})

    def update(self, gradients: Any, state: Any, params: Any) -> Any:
        updates, state = self.inner.update({"w": gradients}, state, {"w": params})
        return updates["w"], state


def _torch_adafactor_itself(leaves: list[Any]) -> Any:
    import torch

    return torch.optim.Adafactor(leaves, lr=0.1)


def _optax_adafactor_itself() -> Any:
    import optax

    return optax.adafactor(0.1)


def _adafactor_decay() -> Any:
    """optax.adafactor in float64 against the same with the decay in float64."""
    problem = adafactor.problem({"convention": "jax", "lr": 0.1})
    import optax

    exact, own = _optax_adafactor(problem), optax.adafactor(0.1, min_dim_size_to_factor=1)
    _, one = weights_after(_torch_adafactor_itself, lambda: exact)()
    _, other = weights_after(_torch_adafactor_itself, lambda: own)()
    return one, other


adafactor: Layer = replace(
    optimizer_entry(
        "Adafactor",
        {
            "lr": 1e-2,
            "beta2_decay": -0.8,
            "eps": (None, 1e-3),
            "d": 1.0,
            "weight_decay": 0.0,
            "maximize": False,
            "convention": "torch",
        },
        (
            {"lr": 0.6, "beta2_decay": -0.5, "eps": (0.7, 0.9), "d": 1.5},
            {"weight_decay": 0.2, "lr": 0.1, "maximize": True},
            {"convention": "jax"},
            {"convention": "jax", "lr": 0.3, "eps": (0.3, 0.9), "d": 1.2, "weight_decay": 0.1},
        ),
        _torch_adafactor,
        _optax_adafactor,
        weights={"weight": "4 2", "bias": "3", "kernel": "2 3 4"},
    ),
    # With its default eps, which is the rounding unit, tiny gradients get another answer in float32.
    special={},
)
muon: Layer = optimizer_entry(
    "Muon",
    {
        "lr": 1e-3,
        "weight_decay": 0.1,
        "momentum": 0.95,
        "nesterov": True,
        "ns_coefficients": (3.4445, -4.775, 2.0315),
        "eps": 1e-7,
        "ns_steps": 5,
        "adjust_lr_fn": None,
        "convention": "torch",
    },
    (
        {"lr": 0.1, "momentum": 0.6, "nesterov": False, "weight_decay": 0.0},
        {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "eps": 0.5},
        {"lr": 0.1, "convention": "jax"},
        {"lr": 0.1, "convention": "jax", "nesterov": False, "eps": 0.5, "ns_steps": 3},
    ),
    _torch_muon,
    _optax_muon,
    weights=MATRICES,
)

LAYERS = (adafactor, muon)

LEDGER = (
    Difference(
        "adafactor-algorithm",
        "Adafactor",
        "What is factored, where eps stands, and how lr decays.",
        torch="last two axes; max(V, ε₁²); min(lr, 1/√t); the decay times lr",
        jax="the two longest axes, from 128 elements on; G² + ε; lr; the decay by itself",
        measure=weights_after(_torch_adafactor_itself, _optax_adafactor_itself),
        option="convention",
    ),
    Difference(
        "adafactor-decay-float32",
        "Adafactor",
        "The precision of the decay of the second moment.",
        torch="that of Python's floats",
        jax="float32, whatever the weights are; the other array here is optax with it in float64",
        measure=_adafactor_decay,
        mapping="decay_rate_fn= is given to optax",
    ),
    Difference(
        "muon-momentum-and-defaults",
        "Muon",
        "Bias of the momentum, the factor of the shape, and the defaults.",
        torch="not corrected; √max(1, rows/columns); decay 0.1, ε = 1e-7",
        jax="corrected; √max(1, columns/rows); decay 0, ε = 1e-8",
        measure=weights_after(_torch_muon_itself, _optax_muon_itself),
        option="convention",
    ),
    Difference(
        "muon-bfloat16",
        "Muon",
        "The precision in which the update is made orthogonal.",
        torch="bfloat16, whatever the weights are",
        jax="that of the weights (shown by torch's formula written in JAX)",
        measure=_muon_rounding,
        mapping="the torch twin keeps torch.optim.Muon from rounding",
    ),
)
