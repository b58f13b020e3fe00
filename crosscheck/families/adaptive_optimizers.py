"""Optimizers that divide by a running size of the gradient: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

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


def _adagrad_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """eps outside the root, and a rate that decays: both are torch's alone."""
    import jax.numpy as jnp

    total = state[0] + g * g
    lr = p.lr / (1 + (t - 1) * p.lr_decay)
    return lr * g / (jnp.sqrt(total) + p.eps), (total,)


def _adagrad_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    import torch

    total = state[0] + g * g
    root = torch.where(total > 0, torch.rsqrt(total + p.eps), torch.zeros_like(total))
    return p.lr * root * g, (total,)


def _adagrad_start(p: Problem) -> Any:
    return lambda array: (array * 0 + p.initial_accumulator_value,)


def _optax_adagrad(p: Problem) -> Any:
    import optax

    if p.convention == "torch":
        return by_rule(p, _adagrad_torch_rule, _adagrad_start(p))
    return optax.chain(
        optax.add_decayed_weights(p.weight_decay),
        optax.adagrad(p.lr, p.initial_accumulator_value, p.eps),
    )


def _torch_adagrad(p: Problem, leaves: list[Any]) -> Any:
    if p.convention == "jax":
        return torch_rule(p, leaves, _adagrad_jax_rule, _adagrad_start(p))
    names = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "maximize")
    return torch_class("Adagrad", *names)(p, leaves)


def _optax_adadelta(p: Problem) -> Any:
    import optax

    return optax.adadelta(p.lr, p.rho, p.eps, weight_decay=p.weight_decay)


def _rmsprop_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """eps under the root; torch has it outside."""
    import torch

    square, mean, buffer = state
    square = p.alpha * square + (1 - p.alpha) * g * g
    mean = p.alpha * mean + (1 - p.alpha) * g
    size = square - mean * mean if p.centered else square
    move = g * torch.rsqrt(size + p.eps)
    buffer = p.momentum * buffer + move
    return p.lr * (buffer if p.momentum else move), (square, mean, buffer)


def _torch_rmsprop(p: Problem, leaves: list[Any]) -> Any:
    if p.convention == "jax":
        return torch_rule(p, leaves, _rmsprop_jax_rule, lambda a: (a * 0, a * 0, a * 0))
    names = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize")
    return torch_class("RMSprop", *names)(p, leaves)


def _optax_rmsprop(p: Problem) -> Any:
    import optax

    return optax.chain(
        optax.add_decayed_weights(p.weight_decay),
        optax.rmsprop(
            p.lr,
            decay=p.alpha,
            eps=p.eps,
            eps_in_sqrt=p.convention == "jax",
            centered=p.centered,
            momentum=p.momentum or None,
        ),
    )


def _default(name: str, **options: Any) -> tuple[Any, Any]:
    """For the ledger: torch's and optax's optimizer of one learning rate, else their defaults."""

    def torch_make(leaves: list[Any]) -> Any:
        import torch

        return getattr(torch.optim, name)(leaves, lr=0.1, **options)

    def jax_make() -> Any:
        import optax

        return getattr(optax, name.lower())(0.1)

    return torch_make, jax_make


LAYERS = (
    optimizer_entry(
        "Adagrad",
        {
            "lr": 1e-2,
            "lr_decay": 0.0,
            "weight_decay": 0.0,
            "initial_accumulator_value": 0.0,
            "eps": 1e-10,
            "maximize": False,
            "convention": "torch",
        },
        (
            {"lr": 0.3, "lr_decay": 0.2, "eps": 1e-3},
            {"weight_decay": 0.2, "initial_accumulator_value": 0.1, "maximize": True},
            {"convention": "jax", "initial_accumulator_value": 0.1, "eps": 1e-7},
            {"convention": "jax", "weight_decay": 0.2, "eps": 1e-2},
        ),
        _torch_adagrad,
        _optax_adagrad,
    ),
    optimizer_entry(
        "Adadelta",
        {"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0, "maximize": False},
        (
            {"lr": 0.5, "rho": 0.7, "eps": 1e-2},
            {"weight_decay": 0.2, "maximize": True},
        ),
        torch_class("Adadelta", "lr", "rho", "eps", "weight_decay", "maximize"),
        _optax_adadelta,
    ),
    optimizer_entry(
        "RMSprop",
        {
            "lr": 1e-2,
            "alpha": 0.99,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "momentum": 0.0,
            "centered": False,
            "maximize": False,
            "convention": "torch",
        },
        (
            {"lr": 0.1, "alpha": 0.8, "eps": 1e-3},
            {"momentum": 0.9, "weight_decay": 0.2},
            {"centered": True, "momentum": 0.5, "alpha": 0.9, "maximize": True},
            {"convention": "jax"},
            {"convention": "jax", "centered": True, "momentum": 0.5, "eps": 1e-2},
        ),
        _torch_rmsprop,
        _optax_rmsprop,
    ),
)


LEDGER = (
    Difference(
        "adagrad-defaults-and-eps",
        "Adagrad",
        "Where eps stands, and where the sum of squares begins.",
        torch="g/(√s + ε), ε = 1e-10, s from 0",
        jax="g/√(s + ε), ε = 1e-7, s from 0.1",
        measure=weights_after(*_default("Adagrad", eps=1e-7, initial_accumulator_value=0.1)),
        option="convention",
    ),
    Difference(
        "rmsprop-eps",
        "RMSprop",
        "Where eps stands, and the default of the decay.",
        torch="g/(√v + ε), α = 0.99",
        jax="g/√(v + ε), decay = 0.9; eps_in_sqrt=False is torch's",
        measure=weights_after(*_default("RMSprop", alpha=0.9)),
        option="convention",
    ),
)
