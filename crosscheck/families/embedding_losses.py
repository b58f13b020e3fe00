"""Losses on distances and similarities, most of them hinges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import signs
from crosscheck.families.activations import gradients_at
from crosscheck.families.losses import ELEMENTS, REDUCTIONS, jax_reduce, reduced
from crosscheck.families.points import at_kink, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, Tensor

_CONVENTION = {"convention": "jax"}


def _hinge_embedding(p: Problem, prediction: Any, target: Any) -> Any:
    import jax

    apart = jax.nn.relu(p.margin - prediction)
    return jax_reduce(p, jax.numpy.where(target > 0, prediction, apart))


def _ranking(p: Problem, x1: Any, x2: Any, target: Any) -> Any:
    import jax

    return jax_reduce(p, jax.nn.relu(p.margin - target * (x1 - x2)))


def _cosine(p: Problem, x1: Any, x2: Any, target: Any) -> Any:
    import jax
    import jax.numpy as jnp

    lengths = jnp.sqrt(((x1 * x1).sum(-1) + 1e-12) * ((x2 * x2).sum(-1) + 1e-12))
    cosine = (x1 * x2).sum(-1) / lengths
    return jax_reduce(p, jnp.where(target > 0, 1 - cosine, jax.nn.relu(cosine - p.margin)))


def _several(p: Problem) -> str | None:
    single = p.features == 1
    return "a vector of one number becomes its sign: the gradient is 0" if single else None


def _triplet(p: Problem, anchor: Any, positive: Any, negative: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def distance(u: Any, v: Any) -> Any:
        return (jnp.abs(u - v + p.eps) ** p.p).sum(-1) ** (1 / p.p)

    far = distance(anchor, negative)
    if p.swap:
        far = jnp.minimum(far, distance(positive, negative))
    return jax_reduce(p, jax.nn.relu(distance(anchor, positive) - far + p.margin))


def _at_margin(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Some predictions exactly at the margin."""
    x = values["prediction"]
    return {**values, "prediction": np.where(rng.random(x.shape) < 0.5, p.margin, x)}


def _tied(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Some pairs of equal scores: with a margin of 0 the kink."""
    x1, x2 = values["x1"], values["x2"]
    return {**values, "x2": np.where(rng.random(x1.shape) < 0.5, x1, x2)}


def _orthogonal(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """A cosine of exactly 0 in every pair: with a margin of 0 the kink."""
    first = np.arange(p.features) == 0
    x1, x2 = np.where(first, values["x1"], 0), np.where(first, 0, values["x2"])
    return {**values, "x1": x1, "x2": x2}


def _zero_vectors(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """A zero vector in every second pair: smooth thanks to eps, but only within 1e-6."""
    zero = np.arange(p.batch)[:, None] % 2 == 0
    target = np.ones_like(values["target"])
    return {**values, "x1": np.where(zero, 0, values["x1"]), "target": target}


def _same_vectors(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """The positive is the anchor in every second triplet: a distance of eps alone."""
    equal = np.arange(p.batch)[:, None] % 2 == 0
    return {**values, "positive": np.where(equal, values["anchor"], values["positive"])}


LAYERS = (
    Layer(
        "HingeEmbeddingLoss",
        inputs={"prediction": ELEMENTS, "target": Tensor(ELEMENTS, signs())},
        outputs=reduced(ELEMENTS),
        options={"margin": 1.0, "reduction": "mean", "convention": "torch"},
        variants=(*REDUCTIONS, {"margin": 0.3}, _CONVENTION),
        torch=torch_module("HingeEmbeddingLoss", **same("margin", "reduction")),
        jax=_hinge_embedding,
        group="losses",
        special={"extreme": extreme("prediction"), "at margin": at_kink(_at_margin)},
    ),
    Layer(
        "MarginRankingLoss",
        inputs={"x1": "batch", "x2": "batch", "target": Tensor("batch", signs())},
        outputs=reduced("batch"),
        options={"margin": 0.0, "reduction": "mean", "convention": "torch"},
        variants=(*REDUCTIONS, {"margin": 0.7}, _CONVENTION),
        sizes={"batch": (4, 9)},
        torch=torch_module("MarginRankingLoss", **same("margin", "reduction")),
        jax=_ranking,
        group="losses",
        special={"extreme": extreme("x1"), "tied": at_kink(_tied)},
    ),
    Layer(
        "CosineEmbeddingLoss",
        inputs={"x1": ELEMENTS, "x2": ELEMENTS, "target": Tensor("batch", signs())},
        outputs=reduced("batch"),
        options={"margin": 0.0, "reduction": "mean", "convention": "torch"},
        variants=(*REDUCTIONS, {"margin": 0.2}, _CONVENTION),
        sizes={"batch": (4, 7), "features": (2, 6)},
        valid=_several,
        torch=torch_module("CosineEmbeddingLoss", **same("margin", "reduction")),
        jax=_cosine,
        group="losses",
        special={
            "extreme": extreme("x1"),
            "orthogonal": at_kink(_orthogonal),
            "zero vectors": at_kink(_zero_vectors),
        },
    ),
    Layer(
        "TripletMarginLoss",
        inputs={"anchor": ELEMENTS, "positive": ELEMENTS, "negative": ELEMENTS},
        outputs=reduced("batch"),
        options={
            "margin": 1.0,
            "p": 2.0,
            "eps": 1e-6,
            "swap": False,
            "reduction": "mean",
            "convention": "torch",
        },
        variants=(
            *REDUCTIONS,
            {"margin": 3.0},
            {"p": 3.0},
            {"p": 1.0},
            {"eps": 0.125},
            {"swap": True},
            _CONVENTION,
        ),
        sizes={"batch": (4, 7)},
        torch=torch_module("TripletMarginLoss", **same("margin", "p", "eps", "swap", "reduction")),
        jax=_triplet,
        group="losses",
        special={"extreme": extreme("anchor"), "same vectors": at_kink(_same_vectors)},
    ),
)


def _places_of_eps() -> tuple[Array, Array]:
    import torch

    u = torch.tensor([[0.3, -0.2]], dtype=torch.float64)
    v = torch.tensor([[0.1, 0.4]], dtype=torch.float64)
    inside = np.sqrt(((u - v) ** 2).sum().numpy() + 1e-6)  # optax: under the root
    return torch.nn.functional.pairwise_distance(u, v).numpy()[0], np.asarray(inside)


def _odd_powers() -> tuple[Array, Array]:
    """The triplet loss with p = 3 of distances with a negative difference."""
    import torch

    a, p, n = ([[0.5, 0.75]], [[0.0, 1.0]], [[0.0, 0.0]])
    vectors = [torch.tensor(v, dtype=torch.float64) for v in (a, p, n)]
    ours = torch.nn.functional.triplet_margin_loss(*vectors, p=3.0, eps=0.0).numpy()
    near, far = (np.sum((np.subtract(a, v)) ** 3) ** (1 / 3) for v in (p, n))
    return ours, np.asarray(max(near - far + 1, 0.0))  # optax: differences, not their size


def _digits_of_eps() -> tuple[Array, Array]:
    """The gradient of a zero vector's first element: 1/√eps."""
    return gradients_at(
        lambda t, x: (
            -t.nn.functional.cosine_embedding_loss(
                t.stack([x, t.zeros_like(x)]), t.tensor([1.0, 0.0], dtype=x.dtype), t.ones_like(x)
            )
        ),
        lambda j, x: x / j.numpy.sqrt((x * x + 1e-12) * (1 + 1e-12)),
        0.0,
    )()


def _two_hinges() -> tuple[Array, Array]:
    import torch

    x = torch.full((), 0.25, dtype=torch.float64)
    ours = torch.nn.functional.hinge_embedding_loss(x, torch.ones_like(x)).numpy()
    return ours, np.asarray(max(0, 1 - 0.25))  # optax.hinge_loss


def _kink(
    slug: str,
    layer: str,
    where: str,
    names: tuple[str, ...],
    loss: Callable[[Any, Any], Any],
    kinds: tuple[str, ...] = (),
) -> Difference:
    """The entry of a loss whose max(0, ·) is met at 0; `loss` is max(0, −x) by torch, at 0."""
    return Difference(
        slug,
        layer,
        f"The derivative of max(0, x) at 0: {where}.",
        torch="1 (clamp): the margin still pushes",
        jax="0 (relu); optax's maximum takes ½",
        measure=gradients_at(loss, lambda j, x: j.nn.relu(-x), 0.0),
        option="convention",
        kinds=kinds,
        quantities=tuple(f"grad_{name}" for name in names),
    )


LEDGER = (
    _kink(
        "hinge-embedding-at-margin",
        "HingeEmbeddingLoss",
        "a distance of exactly the margin",
        ("prediction",),
        lambda t, x: t.nn.functional.hinge_embedding_loss(x, -t.ones_like(x), margin=0.0),
        kinds=("at margin",),
    ),
    _kink(
        "ranking-of-a-tie",
        "MarginRankingLoss",
        "equal scores, with the default margin of 0",
        ("x1", "x2"),
        lambda t, x: t.nn.functional.margin_ranking_loss(x, t.zeros_like(x), t.ones_like(x)),
        kinds=("tied",),
    ),
    _kink(
        "cosine-embedding-at-margin",
        "CosineEmbeddingLoss",
        "orthogonal vectors, with the default margin of 0",
        ("x1", "x2"),
        lambda t, x: t.nn.functional.cosine_embedding_loss(
            t.stack([x, t.ones_like(x)]), t.tensor([-1.0, 0.0], dtype=x.dtype), -t.ones_like(x)
        ),
        kinds=("orthogonal",),
    ),
    _kink(
        "triplet-at-margin",
        "TripletMarginLoss",
        "the negative farther off than the positive by exactly the margin",
        ("anchor", "positive", "negative"),
        lambda t, x: t.nn.functional.triplet_margin_loss(
            t.zeros_like(x)[None], t.ones_like(x)[None], (x + 2)[None], eps=0.0
        ),
    ),
    Difference(
        "cosine-eps-in-float32",
        "CosineEmbeddingLoss",
        "The digits of eps, 1e-12, which a zero vector's gradient shows.",
        torch="a float32 constant in float64 too: 9.99999996e-13",
        jax="1e-12; optax has no eps by default, and clips the squared lengths",
        measure=_digits_of_eps,
        follows="jax",
        mapping="apart by 2e-9 of the gradient of a zero vector, and nowhere else",
        kinds=("zero vectors",),
        quantities=("grad_x1",),
    ),
    Difference(
        "triplet-eps",
        "TripletMarginLoss",
        "Where eps goes in the distance.",
        torch="added to every difference",
        jax="optax adds it under the root",
        measure=_places_of_eps,
        mapping="the JAX twin adds it as PyTorch does",
    ),
    Difference(
        "triplet-odd-p",
        "TripletMarginLoss",
        "The distance with an odd exponent.",
        torch="powers of the size of the differences",
        jax="optax: powers of the differences, which cancel, and may have no root",
        measure=_odd_powers,
        mapping="the JAX twin takes the size",
    ),
    Difference(
        "hinge-embedding-is-no-hinge-loss",
        "HingeEmbeddingLoss",
        "What the nearest name in optax computes.",
        torch="x for target 1, max(0, margin - x) for target -1: x is a distance",
        jax="optax.hinge_loss: max(0, 1 - target · x): x is a score",
        measure=_two_hinges,
        mapping="the JAX twin is PyTorch's formula",
    ),
)
