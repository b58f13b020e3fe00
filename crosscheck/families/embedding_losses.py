"""Losses on distances and similarities."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import signs
from crosscheck.families.losses import REDUCTIONS, jax_reduce, reduced
from crosscheck.families.points import extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, Tensor


def _hinge_embedding(p: Problem, prediction: Any, target: Any) -> Any:
    import jax

    return jax_reduce(
        p, jax.numpy.where(target > 0, prediction, jax.nn.relu(p.margin - prediction))
    )


def _ranking(p: Problem, x1: Any, x2: Any, target: Any) -> Any:
    import jax

    return jax_reduce(p, jax.nn.relu(p.margin - target * (x1 - x2)))


def _cosine(p: Problem, x1: Any, x2: Any, target: Any) -> Any:
    import jax
    import jax.numpy as jnp

    lengths = jnp.sqrt(((x1 * x1).sum(-1) + 1e-12) * ((x2 * x2).sum(-1) + 1e-12))
    cosine = (x1 * x2).sum(-1) / lengths
    return jax_reduce(p, jnp.where(target > 0, 1 - cosine, jax.nn.relu(cosine - p.margin)))


def _triplet(p: Problem, anchor: Any, positive: Any, negative: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def distance(u: Any, v: Any) -> Any:
        return (jnp.abs(u - v + 1e-6) ** p.p).sum(-1) ** (1 / p.p)

    far = distance(anchor, negative)
    if p.swap:
        far = jnp.minimum(far, distance(positive, negative))
    return jax_reduce(p, jax.nn.relu(distance(anchor, positive) - far + p.margin))


_VECTORS = "batch features"

LAYERS = (
    Layer(
        "HingeEmbeddingLoss",
        inputs={"prediction": _VECTORS, "target": Tensor(_VECTORS, domain=signs())},
        outputs=reduced(_VECTORS),
        options={"margin": 1.0, "reduction": "mean"},
        variants=(*REDUCTIONS, {"margin": 0.3}),
        torch=torch_module("HingeEmbeddingLoss", **same("margin", "reduction")),
        jax=_hinge_embedding,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    Layer(
        "MarginRankingLoss",
        inputs={"x1": "batch", "x2": "batch", "target": Tensor("batch", domain=signs())},
        outputs=reduced("batch"),
        options={"margin": 0.0, "reduction": "mean"},
        variants=(*REDUCTIONS, {"margin": 0.7}),
        sizes={"batch": (4, 9)},
        torch=torch_module("MarginRankingLoss", **same("margin", "reduction")),
        jax=_ranking,
        group="losses",
        special={"extreme": extreme("x1")},
    ),
    Layer(
        "CosineEmbeddingLoss",
        inputs={"x1": _VECTORS, "x2": _VECTORS, "target": Tensor("batch", domain=signs())},
        outputs=reduced("batch"),
        options={"margin": 0.0, "reduction": "mean"},
        variants=(*REDUCTIONS, {"margin": 0.2}),
        sizes={"batch": (4, 7), "features": (2, 6)},
        torch=torch_module("CosineEmbeddingLoss", **same("margin", "reduction")),
        jax=_cosine,
        group="losses",
        special={"extreme": extreme("x1")},
    ),
    Layer(
        "TripletMarginLoss",
        inputs={"anchor": _VECTORS, "positive": _VECTORS, "negative": _VECTORS},
        outputs=reduced("batch"),
        options={"margin": 1.0, "p": 2.0, "swap": False, "reduction": "mean"},
        variants=(*REDUCTIONS, {"margin": 3.0}, {"p": 3.0}, {"swap": True}),
        sizes={"batch": (4, 7)},
        torch=torch_module("TripletMarginLoss", **same("margin", "p", "swap", "reduction")),
        jax=_triplet,
        group="losses",
        special={"extreme": extreme("anchor")},
    ),
)


def _triplet_eps() -> tuple[Array, Array]:
    import torch

    u = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    v = torch.tensor([[0.1, 0.4]], dtype=torch.float64)
    inside = np.sqrt(((u - v) ** 2).sum().numpy() + 1e-6)  # optax: under the root
    return torch.nn.functional.pairwise_distance(u, v).numpy()[0], np.asarray(inside)


LEDGER = (
    Difference(
        "triplet-eps",
        "TripletMarginLoss",
        "Where eps goes in the distance.",
        torch="added to every difference",
        jax="optax adds it under the root",
        measure=_triplet_eps,
        mapping="the JAX twin adds it as PyTorch does",
    ),
)
