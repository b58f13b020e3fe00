"""Dropout: the mask is drawn once, and all witnesses use it."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import custom
from crosscheck.families.points import extreme
from crosscheck.spec import Array, Layer, Problem, Shape, Tensor


def _kept(rng: np.random.Generator, shape: Shape, p: Problem) -> Array:
    return np.asarray(rng.random(shape) >= p.p)


_MASK = Tensor(
    "batch features", custom("kept", _kept, differentiable=False), when="training", optional=True
)


def _torch(p: Problem) -> Any:
    import torch

    class Dropout(torch.nn.Dropout):
        """With a mask that it does not draw."""

        def __init__(self) -> None:
            super().__init__(p.p)
            if p.training:
                self.register_buffer("mask", torch.ones(_MASK.shape(p), dtype=torch.bool))

        def forward(self, x: Any) -> Any:
            if not self.training:
                return super().forward(x)
            scale = 1 / (1 - self.p) if self.p < 1 else 0.0
            return x * (self.mask.to(x.dtype) * scale)

    return Dropout().train(p.training)


def _jax(p: Problem, x: Any, mask: Any = None) -> Any:
    """What flax.linen.Dropout and equinox.nn.Dropout do with the mask they draw."""
    import jax.numpy as jnp

    if not p.training or p.p == 0:
        return x
    return jnp.zeros_like(x) if p.p == 1 else jnp.where(mask, x / (1 - p.p), 0)


LAYERS = (
    Layer(
        "Dropout",
        inputs={"x": "batch features"},
        buffers={"mask": _MASK},
        outputs={"output": "batch features"},
        options={"p": 0.5, "training": True},
        variants=({"p": 0.2}, {"p": 0.0}, {"p": 1.0}, {"training": False}),
        valid=lambda p: None if 0 <= p.p <= 1 else f"p={p.p} is no probability",
        torch=_torch,
        jax=_jax,
        special={"extreme": extreme("x")},
    ),
)


def _infinity() -> tuple[Array, Array]:
    """Infinities of which half are dropped; the answers sorted, as the masks are not the same."""
    import torch

    x = np.full(64, np.inf)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = torch.nn.functional.dropout(torch.tensor(x), 0.5).numpy()
    kept = np.arange(64) < 32
    return np.unique(ours), np.unique(np.where(kept, x / 0.5, 0))  # flax.linen.Dropout


LEDGER = (
    Difference(
        "dropout-of-infinity",
        "Dropout",
        "What is left of an infinite element that is dropped.",
        torch="NaN, as it is multiplied by 0",
        jax="flax, equinox: 0, as it is selected",
        measure=_infinity,
        mapping="no case has infinite inputs",
    ),
)
