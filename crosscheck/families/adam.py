"""Adam and its kin: AdamW, Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from crosscheck.differences import Difference
from crosscheck.families.optimizer_twins import (
    by_rule,
    optimizer_entry,
    torch_class,
    torch_rule,
)
from crosscheck.families.optimizers import weights_after
from crosscheck.spec import Problem


def _moments(g: Any, state: Any, p: Problem) -> tuple[Any, Any]:
    """The means of gradient and square, in any framework."""
    one, two = p.betas
    return one * state[0] + (1 - one) * g, two * state[1] + (1 - two) * g * g


def _three(array: Any) -> tuple[Any, Any, Any]:
    return array * 0, array * 0, array * 0


# --- Adam, AdamW ------------------------------------------------------------------------------


def _amsgrad_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """The largest v, then its bias corrected."""
    import jax.numpy as jnp

    m, v = _moments(g, state, p)
    most = jnp.maximum(state[2], v)
    root = jnp.sqrt(most / (1 - p.betas[1] ** t)) + p.eps
    return p.lr * m / (1 - p.betas[0] ** t) / root, (m, v, most)


def _amsgrad_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """The largest of the corrected v."""
    import torch

    m, v = _moments(g, state, p)
    most = torch.maximum(state[2], v / (1 - p.betas[1] ** t))
    return p.lr * m / (1 - p.betas[0] ** t) / (most.sqrt() + p.eps), (m, v, most)


def _optax_adam(name: str) -> Callable[[Problem], Any]:
    def make(p: Problem) -> Any:
        import optax

        decoupled = name == "AdamW" or p.decoupled_weight_decay
        if p.amsgrad and p.convention == "torch":
            return by_rule(p, _amsgrad_torch_rule, _three, decoupled)
        if p.amsgrad:
            core = optax.amsgrad(p.lr, *p.betas, p.eps)
        elif decoupled and not p.maximize:
            return optax.adamw(p.lr, *p.betas, p.eps, weight_decay=p.weight_decay)
        else:
            core = optax.adam(p.lr, *p.betas, p.eps)
        if decoupled:
            return optax.chain(core, optax.add_decayed_weights(-p.lr * p.weight_decay))
        return optax.chain(optax.add_decayed_weights(p.weight_decay), core)

    return make


def _torch_adam(name: str) -> Callable[[Problem, list[Any]], Any]:
    def make(p: Problem, leaves: list[Any]) -> Any:
        if p.amsgrad and p.convention == "jax":
            decoupled = name == "AdamW" or p.decoupled_weight_decay
            return torch_rule(p, leaves, _amsgrad_jax_rule, _three, decoupled)
        names = [option for option in p.options if option != "convention"]
        return torch_class(name, *names)(p, leaves)

    return make


# --- Adamax -----------------------------------------------------------------------------------


def _optax_adamax(p: Problem) -> Any:
    import optax

    decay = optax.add_decayed_weights(p.weight_decay)
    return optax.chain(decay, optax.adamax(p.lr, *p.betas, p.eps))


# --- NAdam ------------------------------------------------------------------------------------


def _nadam_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """The momentum warms up, which optax's does not."""
    import jax.numpy as jnp

    m, v = _moments(g, state, p)

    def mu(step: Any) -> Any:
        return p.betas[0] * (1 - 0.5 * 0.96 ** (step * p.momentum_decay))

    product = state[2] * mu(t)
    ahead = m * mu(t + 1) / (1 - product * mu(t + 1)) + g * (1 - mu(t)) / (1 - product)
    return p.lr * ahead / (jnp.sqrt(v / (1 - p.betas[1] ** t)) + p.eps), (m, v, product)


def _optax_nadam(p: Problem) -> Any:
    import optax

    decoupled = p.decoupled_weight_decay
    if p.convention == "torch":
        return by_rule(p, _nadam_torch_rule, lambda a: (a * 0, a * 0, a * 0 + 1), decoupled)
    return _with_decay(p, optax.nadam(p.lr, *p.betas, p.eps))


def _with_decay(p: Problem, core: Any) -> Any:
    import optax

    if p.decoupled_weight_decay:
        return optax.chain(core, optax.add_decayed_weights(-p.lr * p.weight_decay))
    return optax.chain(optax.add_decayed_weights(p.weight_decay), core)


def _torch_nadam(p: Problem, leaves: list[Any]) -> Any:
    import torch

    made = torch.optim.NAdam(
        leaves,
        lr=p.lr,
        betas=p.betas,
        eps=p.eps,
        weight_decay=p.weight_decay,
        # No warming up is a decay that has ended before the first step.
        momentum_decay=p.momentum_decay if p.convention == "torch" else math.inf,
        decoupled_weight_decay=p.decoupled_weight_decay,
        maximize=p.maximize,
    )
    for leaf in leaves:
        made.state[leaf] = {
            "step": torch.tensor(0.0),
            "mu_product": torch.ones((), dtype=torch.float64),  # torch's own is float32
            "exp_avg": torch.zeros_like(leaf),
            "exp_avg_sq": torch.zeros_like(leaf),
        }
    return made


# --- RAdam ------------------------------------------------------------------------------------


def _rectified(t: Any, p: Problem) -> tuple[Any, Any]:
    """ρ_t and the square of the factor r, which is no number while ρ_t ≤ 4."""
    most = 2 / (1 - p.betas[1]) - 1
    rho = most - 2 * t * p.betas[1] ** t / (1 - p.betas[1] ** t)
    return rho, (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)


def _radam_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """eps beside the root of the uncorrected mean."""
    import jax.numpy as jnp

    m, v = _moments(g, state, p)
    mean = m / (1 - p.betas[0] ** t)
    rho, square = _rectified(t, p)
    scale = jnp.sqrt(jnp.where(rho > 5, square, 1.0) * (1 - p.betas[1] ** t))
    return p.lr * jnp.where(rho > 5, mean * scale / (jnp.sqrt(v) + p.eps), mean), (m, v)


def _radam_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """eps beside the root of the corrected mean."""
    m, v = _moments(g, state, p)
    mean = m / (1 - p.betas[0] ** t)
    rho, square = _rectified(t, p)
    if rho < 5:
        return p.lr * mean, (m, v)
    root = (v / (1 - p.betas[1] ** t)).sqrt() + p.eps
    return p.lr * math.sqrt(square) * mean / root, (m, v)


def _optax_radam(p: Problem) -> Any:
    import optax

    if p.convention == "torch":
        return by_rule(p, _radam_torch_rule, decoupled=p.decoupled_weight_decay)
    return _with_decay(p, optax.radam(p.lr, *p.betas, p.eps))


def _torch_radam(p: Problem, leaves: list[Any]) -> Any:
    if p.convention == "jax":
        return torch_rule(p, leaves, _radam_jax_rule, decoupled=p.decoupled_weight_decay)
    names = ("lr", "betas", "eps", "weight_decay", "decoupled_weight_decay", "maximize")
    return torch_class("RAdam", *names)(p, leaves)


_ADAM = {
    "lr": 1e-3,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "maximize": False,
    "convention": "torch",
}
_ADAM_VARIANTS: tuple[dict[str, Any], ...] = (
    {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3},
    {"weight_decay": 0.2, "maximize": True},
    {"amsgrad": True, "betas": (0.5, 0.6), "lr": 0.1, "weight_decay": 0.1},
    {"amsgrad": True, "betas": (0.5, 0.6), "lr": 0.1, "weight_decay": 0.1, "convention": "jax"},
)
_DECAYS: tuple[dict[str, Any], ...] = (
    {"betas": (0.5, 0.9), "lr": 0.1, "eps": 1e-3, "weight_decay": 0.1},
    {"weight_decay": 0.2, "decoupled_weight_decay": True, "maximize": True},
    {"betas": (0.5, 0.9), "lr": 0.1, "weight_decay": 0.1, "convention": "jax"},
)

LAYERS = (
    optimizer_entry(
        "Adam",
        {**_ADAM, "decoupled_weight_decay": False},
        (*_ADAM_VARIANTS, {"weight_decay": 0.2, "decoupled_weight_decay": True}),
        _torch_adam("Adam"),
        _optax_adam("Adam"),
    ),
    optimizer_entry(
        "AdamW",
        {**_ADAM, "weight_decay": 1e-2},
        _ADAM_VARIANTS,
        _torch_adam("AdamW"),
        _optax_adam("AdamW"),
    ),
    optimizer_entry(
        "Adamax",
        {
            "lr": 2e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "maximize": False,
        },
        (
            {"lr": 0.1, "betas": (0.6, 0.7), "eps": 1e-2},
            {"weight_decay": 0.2, "maximize": True},
        ),
        torch_class("Adamax", "lr", "betas", "eps", "weight_decay", "maximize"),
        _optax_adamax,
    ),
    optimizer_entry(
        "NAdam",
        {
            "lr": 2e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "momentum_decay": 4e-3,
            "decoupled_weight_decay": False,
            "maximize": False,
            "convention": "torch",
        },
        ({"momentum_decay": 0.5}, *_DECAYS),
        _torch_nadam,
        _optax_nadam,
    ),
    optimizer_entry(
        "RAdam",
        {
            "lr": 1e-3,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "weight_decay": 0.0,
            "decoupled_weight_decay": False,
            "maximize": False,
            "convention": "torch",
        },
        _DECAYS,
        _torch_radam,
        _optax_radam,
    ),
)


def _pair(torch_name: str, jax_name: str, jax: Any = None, **torch_options: Any) -> Any:
    """For the ledger: both frameworks' optimizer with lr 0.1."""

    def torch_make(leaves: list[Any]) -> Any:
        import torch

        return getattr(torch.optim, torch_name)(leaves, lr=0.1, **torch_options)

    def jax_make() -> Any:
        import optax

        return getattr(optax, jax_name)(0.1, **(jax or {}))

    return weights_after(torch_make, jax_make, steps=8)


LEDGER = (
    Difference(
        "adam-amsgrad",
        "Adam",
        "Which second moment AMSGrad takes the largest of.",
        torch="the largest v, whose bias is then corrected",
        jax="the largest corrected v (optax.amsgrad)",
        measure=_pair("Adam", "amsgrad", {"b1": 0.5, "b2": 0.6}, amsgrad=True, betas=(0.5, 0.6)),
        option="convention",
    ),
    Difference(
        "adam-eps-root",
        "Adam",
        "The place of eps in Adam.",
        torch="√v̂ + ε",
        jax="√(v̂ + eps_root) + ε, eps_root = 0 by default; set to 1e-8 here",
        measure=_pair("Adam", "adam", {"eps_root": 1e-8, "eps": 0.0}),
        mapping="eps_root stays 0, and both add ε to the root",
    ),
    Difference(
        "adamw-weight-decay-default",
        "AdamW",
        "The default of the decoupled weight decay.",
        torch="0.01",
        jax="0.0001",
        measure=_pair("AdamW", "adamw"),
        mapping="weight_decay= is passed to both",
    ),
    Difference(
        "nadam-momentum-warms-up",
        "NAdam",
        "The momentum of NAdam.",
        torch="μ_t = β₁ (1 − ½ 0.96^(t·momentum_decay))",
        jax="β₁ at every step (optax.nadam)",
        measure=_pair("NAdam", "nadam"),
        option="convention",
    ),
    Difference(
        "nadam-product-float32",
        "NAdam",
        "The precision of the product of momenta, with the momentum warmed up in both.",
        torch="float32, whatever the weights are (torch.get_default_dtype())",
        jax="that of the weights",
        measure=_pair("NAdam", "nadam", momentum_decay=math.inf),
        mapping="the torch twin starts with a product of float64",
    ),
    Difference(
        "radam-eps",
        "RAdam",
        "The place of eps in RAdam.",
        torch="√(1 − β₂ᵗ)/(√v + ε)",
        jax="1/(√(v/(1 − β₂ᵗ)) + ε)",
        measure=_pair("RAdam", "radam"),
        option="convention",
    ),
)
