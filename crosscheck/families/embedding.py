"""Embedding and EmbeddingBag: rows looked up by index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import custom, indices
from crosscheck.families.points import extreme, ties
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Options, Problem, Shape, Tensor

_WEIGHTS = {"weights": "num_embeddings embedding_dim"}
_SIZES = {"num_embeddings": (3, 6), "embedding_dim": (2, 5)}


def _with_gradient(weights: Any, share: Any) -> Any:
    """The weights as they are, each row's gradient times its share: no derivative, but PyTorch's."""
    import jax

    still = jax.lax.stop_gradient(weights)
    return still + (weights - still) * share[:, None]


def _trained(p: Problem, x: Any, weights: Any) -> Any:
    """The weights with the gradient that padding_idx and scale_grad_by_freq leave of theirs."""
    import jax.numpy as jnp

    share = jnp.ones(p.num_embeddings, weights.dtype)
    if p.scale_grad_by_freq:
        share = share / jnp.maximum(jnp.bincount(x.reshape(-1), length=p.num_embeddings), 1)
    if p.padding_idx is not None:
        share = share.at[p.padding_idx].set(0)
    return _with_gradient(weights, share)


def _row_of_padding(p: Problem) -> str | None:
    if p.padding_idx is not None and not -p.num_embeddings <= p.padding_idx < p.num_embeddings:
        return f"padding_idx={p.padding_idx} is no row of {p.num_embeddings}"
    return None


def _jax_embedding(p: Problem, x: Any, weights: Any) -> Any:
    import jax.numpy as jnp

    return jnp.take(_trained(p, x, weights), x, axis=0)


# --- bags -------------------------------------------------------------------------------------


def _offsets(rng: np.random.Generator, shape: Shape, p: Problem) -> Array:
    """Where bags of any length start, empty ones among them; the first at 0."""
    inside = np.sort(rng.integers(0, p.indices + 1, size=p.bags - 1))
    end = [p.indices] if p.include_last_offset else []
    return np.array([0, *inside, *end], dtype=np.int64)


def _bag_inputs(o: Options) -> Mapping[str, Tensor | str]:
    index = indices("num_embeddings")
    if not o["ragged"]:
        return {"x": Tensor("bags indices", index)}
    starts = Tensor("bags+include_last_offset", custom("offsets", _offsets, differentiable=False))
    weights = {"per_sample_weights": "indices"} if o["weighted"] else {}
    return {"x": Tensor("indices", index), "offsets": starts, **weights}


def _jax_bag(
    p: Problem, x: Any, weights: Any, offsets: Any = None, per_sample_weights: Any = None
) -> Any:
    """Rows summed, averaged or compared by segments."""
    import jax
    import jax.numpy as jnp

    if offsets is None:
        bag, x = jnp.repeat(jnp.arange(p.bags), p.indices), x.reshape(-1)
    else:
        starts = offsets[: p.bags]
        bag = jnp.searchsorted(starts, jnp.arange(p.indices), side="right") - 1
    if p.scale_grad_by_freq:
        share = 1 / jnp.maximum(jnp.bincount(x, length=p.num_embeddings), 1)
        weights = _with_gradient(weights, share.astype(weights.dtype))
    rows = jnp.take(weights, x, axis=0)
    kept = jnp.ones(len(x), bool) if p.padding_idx is None else x != p.padding_idx
    count = jax.ops.segment_sum(kept.astype(rows.dtype), bag, p.bags)[:, None]
    if p.mode == "max":
        inside = jnp.where(kept[:, None], rows, -jnp.inf)
        return jnp.where(count > 0, jax.ops.segment_max(inside, bag, p.bags), 0)
    factor = kept.astype(rows.dtype)
    if per_sample_weights is not None:
        factor = factor * per_sample_weights
    total = jax.ops.segment_sum(rows * factor[:, None], bag, p.bags)
    return total / jnp.maximum(count, 1) if p.mode == "mean" else total


def _bag_fits(p: Problem) -> str | None:
    if p.mode not in ("sum", "mean", "max"):
        return f"mode={p.mode!r} is not one of 'sum', 'mean', 'max'"
    if p.weighted and (p.mode != "sum" or not p.ragged):
        return "weights of a call need mode='sum' and come after the offsets"
    if p.include_last_offset and not p.ragged:
        return "include_last_offset needs offsets"
    if p.scale_grad_by_freq and p.mode == "max":
        return "no mode 'max' with scale_grad_by_freq"
    return _row_of_padding(p)


LAYERS = (
    Layer(
        "Embedding",
        inputs={"x": Tensor("batch length", indices("num_embeddings"))},
        parameters=_WEIGHTS,
        outputs={"output": "batch length embedding_dim"},
        constructor=("num_embeddings", "embedding_dim"),
        options={"padding_idx": None, "scale_grad_by_freq": False},
        variants=({"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True}),
        sizes=_SIZES,
        valid=_row_of_padding,
        torch=torch_module(
            "Embedding",
            "num_embeddings",
            "embedding_dim",
            **same("padding_idx", "scale_grad_by_freq"),
        ),
        torch_layout={"weights": "weight"},
        jax=_jax_embedding,
        special={"extreme": extreme("weights")},
    ),
    Layer(
        "EmbeddingBag",
        inputs=_bag_inputs,
        parameters=_WEIGHTS,
        outputs={"output": "bags embedding_dim"},
        constructor=("num_embeddings", "embedding_dim"),
        options={
            "scale_grad_by_freq": False,
            "mode": "mean",
            "include_last_offset": False,
            "padding_idx": None,
            "convention": "torch",
            "ragged": False,
            "weighted": False,
        },
        variants=(
            {"mode": "sum"},
            {"mode": "max"},
            {"padding_idx": 1},
            {"ragged": True},
            {"ragged": True, "mode": "max"},
            {"ragged": True, "include_last_offset": True, "padding_idx": 0},
            {"ragged": True, "mode": "sum", "weighted": True},
            {"mode": "sum", "scale_grad_by_freq": True},
        ),
        sizes={**_SIZES, "bags": (2, 4), "indices": (4, 7)},
        valid=_bag_fits,
        torch=torch_module(
            "EmbeddingBag",
            "num_embeddings",
            "embedding_dim",
            **same("scale_grad_by_freq", "mode", "include_last_offset", "padding_idx"),
        ),
        torch_layout={"weights": "weight"},
        jax=_jax_bag,
        special={"extreme": extreme("weights"), "ties": ties("weights")},
    ),
)


# --- where the frameworks differ --------------------------------------------------------------

#: Three rows of one number, looked up at these places.
_ROWS = np.array([[1.0], [2.0], [4.0]])


def _torch_gradient(x: Array, **options: Any) -> Array:
    """The gradient of the rows by PyTorch's embedding, the upstream gradient all ones."""
    import torch

    rows = torch.tensor(_ROWS, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor(x), rows, **options).sum().backward()
    assert rows.grad is not None
    return np.asarray(rows.grad)


def _jax_gradient(x: Array) -> Array:
    """The same by jnp.take, which is what flax and equinox do."""
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    with jax.enable_x64(True):
        pull = jax.vjp(lambda rows: jax.numpy.take(rows, x, axis=0), _ROWS)[1]
        return np.asarray(pull(np.ones((*x.shape, 1)))[0])


def _gradient_options() -> tuple[Array, Array]:
    """Row 0 is padding and row 1 looked up twice."""
    x = np.array([0, 1, 1])
    return _torch_gradient(x, padding_idx=0, scale_grad_by_freq=True), _jax_gradient(x)


def _outside(index: int, take: bool) -> tuple[Array, Array]:
    """What an index that is no row gives, NaN where it is refused."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    try:
        ours = torch.nn.functional.embedding(torch.tensor([index]), torch.tensor(_ROWS)).numpy()
    except IndexError:
        ours = np.full((1, 1), np.nan)
    with jax.enable_x64(True):
        rows, x = jax.numpy.asarray(_ROWS), np.array([index])
        return ours, np.asarray(jax.numpy.take(rows, x, axis=0) if take else rows[x])


def _max_norm() -> tuple[Array, Array]:
    """Rows of a length above 1."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.array([1, 2])
    ours = torch.nn.functional.embedding(torch.tensor(x), torch.tensor(_ROWS), max_norm=1.0)
    with jax.enable_x64(True):
        return ours.numpy(), np.asarray(jax.numpy.take(_ROWS, x, axis=0))


def _by_frequency_in_bags() -> tuple[Array, Array]:
    """Rows 0 and 2, looked up twice and three times in bags of 2, each mean taken by itself."""
    import torch

    x = np.array([2, 2, 2, 1, 0, 0])
    rows = torch.tensor(_ROWS, requires_grad=True)
    options: dict[str, Any] = {"mode": "sum", "scale_grad_by_freq": True}
    bags = torch.nn.functional.embedding_bag(torch.tensor(x), rows, torch.tensor([0, 2]), **options)
    bags.sum().backward()
    assert rows.grad is not None
    return rows.grad.numpy(), _jax_gradient(x) / np.bincount(x)[:, None]


def _equal_rows() -> tuple[Array, Array]:
    """The gradient of the maximum of two rows that are the same."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    rows, x = np.ones((2, 1)), np.array([[0, 1]])
    leaf = torch.tensor(rows, requires_grad=True)
    torch.nn.functional.embedding_bag(torch.tensor(x), leaf, mode="max").sum().backward()
    assert leaf.grad is not None
    with jax.enable_x64(True):
        pull = jax.vjp(lambda rows: jax.numpy.take(rows, x, axis=0).max(axis=1), rows)[1]
        return leaf.grad.numpy(), np.asarray(pull(np.ones((1, 1)))[0])


LEDGER = (
    Difference(
        "embedding-gradient-options",
        "Embedding",
        "The gradient with padding_idx or scale_grad_by_freq: not that of the forward.",
        torch="0 for the row padding_idx; the mean over a row's places instead of the sum",
        jax="flax, equinox: neither option; padding is a row as any other, and sums are sums",
        measure=_gradient_options,
        mapping="the JAX twin changes the gradient alike; the numeric derivative cannot",
        kinds=(ANY,),
        quantities=("grad_weights",),
        derivative=False,
    ),
    Difference(
        "embedding-index-outside",
        "Embedding",
        "An index that is too large.",
        torch="refused",
        jax="x[i]: the last row; jnp.take, flax: NaN",
        measure=lambda: _outside(7, take=False),
        mapping="no such case is drawn; reference_nn refuses it",
    ),
    Difference(
        "embedding-negative-index",
        "Embedding",
        "A negative index.",
        torch="refused",
        jax="jnp.take, flax: counted from the end",
        measure=lambda: _outside(-1, take=True),
        mapping="no such case is drawn; reference_nn refuses it",
    ),
    Difference(
        "embedding-max-norm",
        "Embedding",
        "Rows longer than max_norm.",
        torch="shortened, in the weights themselves, when they are looked up",
        jax="flax, equinox: there is no max_norm",
        measure=_max_norm,
        mapping="reference_nn refuses max_norm: its forward changes no parameter",
    ),
    Difference(
        "embedding-bag-by-frequency",
        "EmbeddingBag",
        "The gradient with scale_grad_by_freq, which is divided by how often an index occurs.",
        torch="the k-th row in use by how often the k-th index of all, sorted, occurs",
        jax="each row by how often it occurs itself; no library has the option",
        measure=_by_frequency_in_bags,
        follows="jax",
        kinds=(ANY,),
        quantities=("grad_weights",),
        derivative=False,
    ),
    Difference(
        "embedding-bag-equal-maxima",
        "EmbeddingBag",
        "Who gets the gradient of a maximum that several rows share.",
        torch="the first",
        jax="jnp.max, jax.ops.segment_max: each an equal part",
        measure=_equal_rows,
        option="convention",
        kinds=("ties",),
        quantities=("grad_weights",),
    ),
)
