"""Scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import custom
from crosscheck.families.twins import chosen
from crosscheck.spec import Array, Layer, Options, Problem, Shape, Tensor


def kept(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    """A mask: True = keep, with probability 0.7; the first key always: no query is without one."""
    keep = rng.random(shape) < 0.7
    keep[..., 0] = True
    return keep


def _none_for_the_first(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    """As `kept`, but the first query of every sample sees no key."""
    keep = kept(rng, shape, problem)
    keep[..., 0, :] = False
    return keep


def past(p: Problem) -> Array:
    """The causal mask: True where the key is not later than the query."""
    return np.tri(p.length, p.sizes.get("source", p.length), dtype=np.bool_)


def _along(p: Problem, name: str, axis: str, numbers: Array) -> Array:
    """Numbers along one named axis of an input, to be broadcast over the others."""
    axes = str(p.inputs[name].axes).split()
    return numbers.reshape([-1 if word == axis else 1 for word in axes])


def _extreme(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """In the first sample scores in the thousands, hundreds apart: every query sees one key alone.

    There queries and keys are nearly multiples of one vector, so that no two scores come close by
    chance. The other samples keep the gradients from being 0.
    """
    query, key = values["query"], values["key"]
    signs = rng.choice([-1.0, 1.0], size=max(query.shape[-1], key.shape[-1]))
    first = (np.arange(p.batch) == 0) * 1.0
    far = query + 30 * _along(p, "query", "batch", first) * signs[: query.shape[-1]]
    steps = _along(p, "key", "batch", first) * _along(p, "key", "source", np.arange(p.source))
    return {**values, "query": far, "key": key + 10 * steps * signs[: key.shape[-1]]}


def _far_off(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Scores in the hundreds: exponentials overflow in float32, though no difference is large."""
    return {**values, "key": values["key"] + 100}


#: Special points of every kind of attention.
POINTS = {"extreme": _extreme, "far off": _far_off}

_QUERY_HEADS = "(1+enable_gqa)*heads"  # in groups: two heads of queries to one of keys
_SDPA_MASKS = {
    "boolean": Tensor("batch 1 length source", custom("mask", kept, differentiable=False)),
    "additive": Tensor(f"{_QUERY_HEADS} length source"),
    "empty rows": Tensor(
        "batch 1 length source",
        custom("mask, empty rows", _none_for_the_first, differentiable=False),
    ),
}


def _sdpa_inputs(o: Options) -> Mapping[str, Tensor | str]:
    masks = {} if o["mask"] is None else {"mask": chosen(o, "mask", _SDPA_MASKS)}
    return {
        "query": f"batch {_QUERY_HEADS} length dim",
        "key": "batch heads source dim",
        "value": "batch heads source value_dim",
        **masks,
    }


def _torch_sdpa(p: Problem) -> Any:
    import torch

    def attend(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
        causal = p.is_causal
        if causal and mask is not None:  # some versions refuse to have both
            seen = torch.from_numpy(past(p))
            causal = False
            mask = mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, -math.inf)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, mask, is_causal=causal, scale=p.scale, enable_gqa=p.enable_gqa
        )

    return attend


def jax_weights(query: Any, key: Any, scale: float, keep: Any = None, added: Any = None) -> Any:
    """What jax.nn.dot_product_attention does, but for its float32: see LEDGER."""
    import jax
    import jax.numpy as jnp

    scores = jnp.einsum("...ld,...sd->...ls", query, key) * scale
    if added is not None:
        scores = scores + added
    if keep is not None:
        scores = jnp.where(keep, scores, -0.7 * jnp.finfo(scores.dtype).max)
    return jax.nn.softmax(scores, axis=-1)


def _jax_sdpa(p: Problem, query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    import jax.numpy as jnp

    if p.enable_gqa:
        key, value = (jnp.repeat(a, 2, axis=1) for a in (key, value))
    keep = past(p) if p.is_causal else None
    added = None
    if mask is not None and mask.dtype == bool:
        keep = mask if keep is None else keep & mask
    elif mask is not None:
        added = mask
    scale = 1 / math.sqrt(p.dim) if p.scale is None else p.scale
    return jax_weights(query, key, scale, keep, added) @ value


LAYERS = (
    Layer(
        "ScaledDotProductAttention",
        inputs=_sdpa_inputs,
        outputs={"output": f"batch {_QUERY_HEADS} length value_dim"},
        options={
            "is_causal": False,
            "scale": None,
            "enable_gqa": False,
            "mask": None,
            "convention": "torch",
        },
        variants=(
            {"is_causal": True},
            {"scale": 0.3},
            {"enable_gqa": True},
            {"mask": "boolean"},
            {"mask": "additive"},
            {"mask": "empty rows"},
            {"mask": "empty rows", "convention": "jax"},
            {"mask": "boolean", "is_causal": True},
        ),
        sizes={"batch": (2, 4), "heads": (2, 4), "length": (3, 6), "source": (3, 7)},
        torch=_torch_sdpa,
        jax=_jax_sdpa,
        special=POINTS,
    ),
)


#: Three rows of two elements, which are queries, keys and values; and a mask of them.
ROWS = np.array([[0.3, -0.2], [0.1, 0.4], [-0.6, 0.5]])
ALL = np.ones((3, 3), dtype=np.bool_)


def jax_attention(mask: Array | None = None, bias: Array | None = None) -> Array:
    """What jax.nn.dot_product_attention makes of `ROWS`."""
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    given = {"mask": mask, "bias": bias}
    with jax.enable_x64(True):
        masks = {name: m[None, None] for name, m in given.items() if m is not None}
        rows = ROWS[None, :, None]
        return np.asarray(jax.nn.dot_product_attention(rows, rows, rows, **masks))[0, :, 0]


def _torch_attention(mask: Array | None = None) -> Array:
    """What PyTorch's function makes of `ROWS`."""
    import torch

    rows = torch.tensor(ROWS)
    mask = None if mask is None else torch.tensor(mask)
    return np.asarray(torch.nn.functional.scaled_dot_product_attention(rows, rows, rows, mask))


def _axes() -> tuple[Array, Array]:
    """One array as (batch, heads, length, dim) and as (batch, length, heads, dim)."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.arange(8.0).reshape(1, 2, 2, 2) / 8
    ours = torch.nn.functional.scaled_dot_product_attention(*[torch.tensor(x)] * 3)
    with jax.enable_x64(True):
        return ours.numpy(), np.asarray(jax.nn.dot_product_attention(x, x, x))


_NOTHING = np.where(ALL, -np.inf, 0)

LEDGER = (
    Difference(
        "attention-to-nothing",
        "ScaledDotProductAttention",
        "The output of a query whose keys are all masked.",
        torch="0",
        jax="the mean of all values",
        measure=lambda: (_torch_attention(~ALL), jax_attention(mask=~ALL)),
        option="convention",
        kinds=(ANY,),
        quantities=("output", "grad_query", "grad_key", "grad_value"),
    ),
    Difference(
        "attention-to-nothing-by-addition",
        "ScaledDotProductAttention",
        "The same, where what masks is -Inf that is added to the scores.",
        torch="0",
        jax="NaN",
        measure=lambda: (_torch_attention(_NOTHING), jax_attention(bias=_NOTHING)),
        mapping="no case is drawn there; with convention='jax' it is the mean of all values",
    ),
    Difference(
        "attention-softmax-in-float32",
        "ScaledDotProductAttention",
        "The precision of the softmax for arrays of float64.",
        torch="float64",
        jax="jax.nn.dot_product_attention: float32, 1e-7 off",
        measure=lambda: (_torch_attention(), jax_attention()),
        mapping="the JAX twin is the same composition with jax.nn.softmax",
    ),
    Difference(
        "attention-axes",
        "ScaledDotProductAttention",
        "The order of the axes.",
        torch="batch, heads, length, dim",
        jax="jax.nn.dot_product_attention and flax: batch, length, heads, dim",
        measure=_axes,
        mapping="the JAX twin has PyTorch's",
    ),
)
