"""Cosine similarity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.families.points import at_kink, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Options, Problem, Shape, Tensor

_AXES = "batch features length"


def _inputs(o: Options) -> Mapping[str, str]:
    """Two of one shape, or the second the same for all samples."""
    return {"x1": _AXES, "x2": "1 features length" if o["broadcast"] else _AXES}


def _output(p: Problem) -> Shape:
    shape = list(Tensor(_AXES).shape(p))
    del shape[p.dim]
    return tuple(shape)


def _safe_length(x: Any, dim: int, eps: float) -> Any:
    """max(|x|, ε) with the gradient of either, as optax.safe_norm: that of |x| alone is NaN at 0."""
    import jax.numpy as jnp

    square = (x * x).sum(dim, keepdims=True)
    short = square <= eps * eps
    return jnp.where(short, eps, jnp.sqrt(jnp.where(short, 1, square)))


def _jax_cosine(p: Problem, x1: Any, x2: Any) -> Any:
    import jax.numpy as jnp

    u1, u2 = (x / _safe_length(x, p.dim, p.eps) for x in jnp.broadcast_arrays(x1, x2))
    return (u1 * u2).sum(p.dim)


def _several(p: Problem) -> str | None:
    if not -3 <= p.dim < 3:
        return f"dim={p.dim} is no axis of {_AXES}"
    if p.broadcast and p.dim % 3 == 0:
        return "x2 becomes one number along dim, whose length is its own: its gradient is 0"
    single = Tensor(_AXES).shape(p)[p.dim] == 1
    return "a vector of one number becomes its sign: the gradient is 0" if single else None


def _zeros(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """The first sample's vectors are zero: |x| has no derivative there."""
    x1 = values["x1"].copy()
    x1[0] = 0
    return {**values, "x1": x1}


def _short(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Vectors much shorter than ε."""
    return {**values, "x1": values["x1"] * 1e-12}


LAYERS = (
    Layer(
        "CosineSimilarity",
        inputs=_inputs,
        outputs={"output": Tensor(_output)},
        options={"dim": 1, "eps": 1e-8, "broadcast": False, "convention": "torch"},
        variants=(
            {"dim": 0},
            {"dim": -1},
            {"eps": 0.5},
            {"broadcast": True},
            {"convention": "jax"},
        ),
        sizes={"batch": (2, 4), "features": (2, 5), "length": (2, 5)},
        valid=_several,
        torch=torch_module("CosineSimilarity", **same("dim", "eps")),
        jax=_jax_cosine,
        special={"extreme": extreme("x1"), "zero": at_kink(_zeros), "short": _short},
    ),
)


def _of_short() -> tuple[Array, Array]:
    """The gradient at a vector of length ε/2 against one that is not parallel to it."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x1, x2 = np.array([[0.5e-2, 0.0]]), np.array([[3.0, 4.0]])
    problem = LAYERS[0].problem({"eps": 1e-2})
    leaf = torch.tensor(x1, requires_grad=True)
    torch.nn.functional.cosine_similarity(leaf, torch.tensor(x2), eps=1e-2).sum().backward()
    assert leaf.grad is not None
    with jax.enable_x64(True):
        pull = jax.vjp(lambda x: _jax_cosine(problem, x, x2), x1)[1]
        return leaf.grad.numpy(), np.asarray(pull(np.ones(1))[0])


def _nothing() -> tuple[Array, Array]:
    """The gradient at a zero vector, where JAX is asked for the length as NumPy writes it."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x1, x2 = np.zeros((1, 2)), np.array([[3.0, 4.0]])
    leaf = torch.tensor(x1, requires_grad=True)
    torch.nn.functional.cosine_similarity(leaf, torch.tensor(x2)).sum().backward()
    assert leaf.grad is not None

    def cosine(x: Any) -> Any:
        lengths = [jax.numpy.maximum(jax.numpy.linalg.norm(v, axis=1), 1e-8) for v in (x, x2)]
        return (x * x2).sum(1) / (lengths[0] * lengths[1])

    with jax.enable_x64(True):
        return leaf.grad.numpy(), np.asarray(jax.vjp(cosine, x1)[1](np.ones(1))[0])


def _eps() -> tuple[Array, Array]:
    """The cosine of a vector of length 0.6 with one of length 5, by eps=0.5."""
    import torch

    x1, x2 = np.array([[0.6, 0.0]]), np.array([[3.0, 4.0]])
    ours = torch.nn.functional.cosine_similarity(torch.tensor(x1), torch.tensor(x2), eps=0.5)
    lengths = [np.sqrt(np.maximum((x * x).sum(1), 0.5)) for x in (x1, x2)]
    return ours.numpy(), (x1 * x2).sum(1) / (lengths[0] * lengths[1])  # optax.cosine_similarity


LEDGER = (
    Difference(
        "cosine-of-short-vector",
        "CosineSimilarity",
        "The gradient at a vector shorter than eps, whose length counts as eps.",
        torch="keeps the part through the length, as if eps were the length",
        jax="that of a constant length; optax too",
        measure=_of_short,
        option="convention",
        kinds=(ANY,),
        quantities=("grad_x1", "grad_x2"),
    ),
    Difference(
        "cosine-of-zero",
        "CosineSimilarity",
        "The gradient at a zero vector.",
        torch="finite: the part through the length is 0",
        jax="NaN with jnp.linalg.norm; finite with optax.safe_norm",
        measure=_nothing,
        mapping="the JAX twin takes the length as optax does",
    ),
    Difference(
        "cosine-eps-of-the-square",
        "CosineSimilarity",
        "What is not less than eps.",
        torch="the length of each vector; 1e-8 by default",
        jax="optax: the square of the length; 0 by default",
        measure=_eps,
        mapping="the JAX twin compares the square with the square of eps",
    ),
)
