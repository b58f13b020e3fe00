"""Optimizers without a memory of squares: SGD, Rprop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.optimizer_twins import (
    by_rule,
    optimizer_entry,
    torch_class,
    torch_rule,
)
from crosscheck.spec import Array, Problem


def weights_after(
    torch_make: Callable[[list[Any]], Any],
    jax_make: Callable[[], Any],
    steps: int = 4,
    shape: tuple[int, ...] = (3, 4),
) -> Callable[[], tuple[Array, Array]]:
    """For a ledger entry: weights after some steps of torch.optim and optax on the same gradients."""

    def measure() -> tuple[Array, Array]:
        import torch

        from crosscheck.implementations.jax_function import import_jax

        jax = import_jax()
        import optax

        rng = np.random.default_rng(0)
        start, gradients = rng.standard_normal(shape), rng.standard_normal((steps, *shape))
        leaf = torch.nn.Parameter(torch.from_numpy(start.copy()))
        optimizer = torch_make([leaf])
        for gradient in gradients:
            leaf.grad = torch.from_numpy(gradient.copy())
            optimizer.step()
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            made = jax_make()
            weights = jax.numpy.asarray(start)
            state = made.init(weights)
            for gradient in gradients:
                updates, state = made.update(jax.numpy.asarray(gradient), state, weights)
                weights = optax.apply_updates(weights, updates)
            return leaf.detach().numpy(), np.asarray(weights)

    return measure


def _sgd_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """Momentum with dampening, which optax does not have."""
    import jax.numpy as jnp

    b = jnp.where(t == 1, g, p.momentum * state[0] + (1 - p.dampening) * g)
    return p.lr * b, (b,)


def _optax_sgd(p: Problem) -> Any:
    import optax

    if p.momentum and p.dampening:
        return by_rule(p, _sgd_rule, lambda a: (a * 0,))
    return optax.chain(
        optax.add_decayed_weights(p.weight_decay),
        optax.sgd(p.lr, momentum=p.momentum or None, nesterov=p.nesterov),
    )


def _optax_rprop(p: Problem) -> Any:
    import optax

    if p.convention == "torch":
        return by_rule(p, _rprop_torch_rule, lambda a: (a * 0, a * 0 + p.lr))
    smaller, larger = p.etas
    return optax.rprop(p.lr, smaller, larger, *p.step_sizes)


def _rprop_torch_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    import jax.numpy as jnp

    before, size = state
    turn = g * before
    factor = jnp.where(turn > 0, p.etas[1], jnp.where(turn < 0, p.etas[0], 1.0))
    size = jnp.clip(size * factor, *p.step_sizes)
    g = jnp.where(turn < 0, 0.0, g)
    return jnp.sign(g) * size, (g, size)


def _rprop_jax_rule(g: Any, w: Any, state: Any, t: Any, p: Problem) -> tuple[Any, Any]:
    """optax's, in torch: the update of the step before is applied."""
    import torch

    before, size = state
    turn = g * before
    factor = torch.full_like(g, p.etas[0])
    factor[turn > 0] = p.etas[1]
    size = torch.where(turn == 0, size, torch.clamp(size * factor, *p.step_sizes))
    nothing = torch.zeros_like(g)
    return torch.where(turn < 0, nothing, before), (
        torch.where(turn < 0, nothing, size * torch.sign(g)),
        size,
    )


def _torch_rprop(p: Problem, leaves: list[Any]) -> Any:
    if p.convention == "jax":
        return torch_rule(p, leaves, _rprop_jax_rule, lambda a: (a * 0, a * 0 + p.lr))
    return torch_class("Rprop", "lr", "etas", "step_sizes", "maximize")(p, leaves)


def _torch_sgd(**options: Any) -> Callable[[list[Any]], Any]:
    def make(leaves: list[Any]) -> Any:
        import torch

        return torch.optim.SGD(leaves, **options)

    return make


def _jax_sgd(**options: Any) -> Callable[[], Any]:
    def make() -> Any:
        import optax

        return optax.sgd(**options)

    return make


def _ledger_rprop_torch(leaves: list[Any]) -> Any:
    import torch

    return torch.optim.Rprop(leaves, lr=0.01)


def _ledger_rprop_jax() -> Any:
    import optax

    return optax.rprop(0.01)


LAYERS = (
    optimizer_entry(
        "SGD",
        {
            "lr": 1e-3,
            "momentum": 0.0,
            "dampening": 0.0,
            "weight_decay": 0.0,
            "nesterov": False,
            "maximize": False,
        },
        (
            {"lr": 0.3, "momentum": 0.9},
            {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.2},
            {"lr": 0.1, "momentum": 0.8, "dampening": 0.3},
            {"weight_decay": 0.3, "maximize": True},
        ),
        torch_class("SGD", "lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"),
        _optax_sgd,
    ),
    optimizer_entry(
        "Rprop",
        {
            "lr": 1e-2,
            "etas": (0.5, 1.2),
            "step_sizes": (1e-6, 50.0),
            "maximize": False,
            "convention": "torch",
        },
        (
            {"lr": 0.2, "etas": (0.3, 2.0), "step_sizes": (0.1, 0.5)},
            {"maximize": True},
            {"convention": "jax"},
            {"convention": "jax", "lr": 0.2, "etas": (0.3, 2.0), "step_sizes": (0.1, 0.5)},
        ),
        _torch_rprop,
        _optax_rprop,
    ),
)


LEDGER = (
    Difference(
        "sgd-dampening",
        "SGD",
        "Dampening of the momentum.",
        torch="b ← μ b + (1 − τ) g, the first gradient undampened",
        jax="b ← μ b + g: optax.sgd has no dampening",
        measure=weights_after(
            _torch_sgd(lr=0.1, momentum=0.8, dampening=0.3),
            _jax_sgd(learning_rate=0.1, momentum=0.8),
        ),
        mapping="the JAX twin has a rule of its own where dampening is not 0",
    ),
    Difference(
        "rprop-one-step-late",
        "Rprop",
        "Which step's update Rprop applies.",
        torch="the update of this step",
        jax="optax.rprop applies that of the step before, and nothing at the first",
        measure=weights_after(_ledger_rprop_torch, _ledger_rprop_jax),
        option="convention",
    ),
)
