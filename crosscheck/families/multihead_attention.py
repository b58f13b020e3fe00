"""Multi-head attention."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import NORMAL, Domain, custom, scaled
from crosscheck.families.attention import ALL, POINTS, ROWS, jax_attention, jax_weights, kept, past
from crosscheck.families.twins import chosen
from crosscheck.spec import Array, Layer, Options, Problem, Shape, Tensor


def _ignored(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    return ~kept(rng, shape, problem)


def _all_of_the_first(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    """The first sample is all padding."""
    ignore = _ignored(rng, shape, problem)
    ignore[0] = True
    return ignore


def _none(rng: np.random.Generator, shape: Shape, problem: Problem) -> Array:
    return np.zeros(shape, dtype=np.bool_)


#: True = ignore, the opposite of `crosscheck.families.attention.kept`.
IGNORED = custom("mask, True = ignore", _ignored, differentiable=False)
NONE_IGNORED = custom("mask, all False", _none, differentiable=False)
ALL_IGNORED = custom("mask, all of one sample", _all_of_the_first, differentiable=False)
#: Weights of variance 1 would make scores so large that the softmax is nearly one-hot.
WEIGHTS = scaled(0.4)

_EMBED = "heads*head_dim"
#: Option → domains of key_padding_mask and attn_mask.
_MASKS: dict[str, tuple[Domain, Domain]] = {
    "padding": (IGNORED, NONE_IGNORED),
    "attention": (NONE_IGNORED, IGNORED),
    "both": (IGNORED, IGNORED),
    "additive": (NORMAL, NORMAL),
    "all padding": (ALL_IGNORED, NONE_IGNORED),
}


def _embed(p: Problem) -> int:
    return int(p.heads * p.head_dim)


def _inputs(o: Options) -> Mapping[str, Tensor | str]:
    def rows(length: str, features: int | None) -> str:
        axes = f"batch {length}" if o["batch_first"] else f"{length} batch"
        return f"{axes} {features or _EMBED}"

    inputs: dict[str, Tensor | str] = {
        "query": rows("length", None),
        "key": rows("source", o["kdim"]),
        "value": rows("source", o["vdim"]),
    }
    if o["mask"] is not None:
        padding, attention = chosen(o, "mask", _MASKS)
        axes = "batch*heads length source" if o["mask_per_head"] else "length source"
        inputs["key_padding_mask"] = Tensor("batch source", padding, differentiable=False)
        inputs["attn_mask"] = Tensor(axes, attention, differentiable=False)
    return inputs


def _parameters(o: Options) -> Mapping[str, Tensor | str]:
    if o["kdim"] is None and o["vdim"] is None:
        maps = {"in_proj_weight": Tensor(f"3*{_EMBED} {_EMBED}", WEIGHTS)}
    else:
        maps = {
            f"{which}_proj_weight": Tensor(f"{_EMBED} {columns or _EMBED}", WEIGHTS)
            for which, columns in (("q", None), ("k", o["kdim"]), ("v", o["vdim"]))
        }
    return {
        **maps,
        "in_proj_bias": Tensor(f"3*{_EMBED}", when="bias"),
        "out_proj_weight": Tensor(f"{_EMBED} {_EMBED}", WEIGHTS),
        "out_proj_bias": Tensor(_EMBED, when="bias"),
    }


def _outputs(o: Options) -> Mapping[str, Tensor | str]:
    rows = "batch length" if o["batch_first"] else "length batch"
    heads = "" if o["average_attn_weights"] else "heads "
    return {
        "output": f"{rows} {_EMBED}",
        **({"weights": f"batch {heads}length source"} if o["need_weights"] else {}),
    }


def _fits(p: Problem) -> str | None:
    if p.mask == "all padding" and p.need_weights:
        return "PyTorch gives NaN for a sample that is all padding"  # see LEDGER
    if not p.average_attn_weights and not p.need_weights:
        return "there are no weights to average"
    if p.mask is None and p.mask_per_head:
        return "there is no mask"
    if {p.kdim, p.vdim} != {None} and {p.kdim, p.vdim} <= {None, _embed(p)}:
        return "kdim and vdim are embed_dim: the weights of all three are one array"
    return None


def _torch(p: Problem) -> Any:
    import torch

    class Attention(torch.nn.MultiheadAttention):
        """Called with arrays only: what torch takes as keywords are options here."""

        def forward(self, *inputs: Any) -> Any:
            query, key, value, padding, attention = (*inputs, None, None)[:5]
            if p.is_causal:
                future = ~torch.from_numpy(past(p))
                if attention is None:
                    attention = future
                elif attention.dtype == torch.bool:
                    attention = attention | future
                else:
                    attention = attention.masked_fill(future, -math.inf)
            output, weights = super().forward(
                query,
                key,
                value,
                key_padding_mask=padding,
                need_weights=p.need_weights,
                attn_mask=attention,
                average_attn_weights=p.average_attn_weights,
            )
            return (output, weights) if p.need_weights else output

    dims = {"kdim": p.kdim, "vdim": p.vdim}
    return Attention(_embed(p), p.heads, bias=p.bias, batch_first=p.batch_first, **dims)


def jax_multihead(
    heads: int,
    inputs: tuple[Any, Any, Any],
    maps: tuple[Any, Any, Any],
    biases: tuple[Any, Any, Any] | None,
    out: tuple[Any, Any],
    keep: Any = None,
    added: Any = None,
) -> tuple[Any, Any]:
    """Attention in heads of rows (batch, length, features): its output and its weights.

    Args:
        heads: how many.
        inputs: query, key and value.
        maps, biases: of query, key and value; maps as (out, in).
        out: weight and bias (or None) of the last map.
        keep, added: masks that broadcast to (batch, heads, length, source).
    """
    import jax.numpy as jnp

    shifts = (0, 0, 0) if biases is None else biases
    query, key, value = (
        jnp.moveaxis((x @ w.T + b).reshape(*x.shape[:2], heads, -1), 2, 1)
        for x, w, b in zip(inputs, maps, shifts, strict=True)
    )
    weights = jax_weights(query, key, 1 / math.sqrt(query.shape[-1]), keep, added)
    joined = jnp.moveaxis(weights @ value, 1, 2).reshape(*inputs[0].shape[:2], -1)
    weight, bias = out
    return joined @ weight.T + (0 if bias is None else bias), weights


def jax_masks(p: Problem, padding: Any, attention: Any) -> dict[str, Any]:
    """torch's masks, True = ignore or floats, and the causal one, for `jax_multihead`."""
    if attention is not None and attention.ndim == 3:
        attention = attention.reshape(p.batch, p.heads, *attention.shape[1:])
    masks = [None if padding is None else padding[:, None, None], attention]
    added = [m for m in masks if m is not None and m.dtype != bool]
    keep = [~m for m in masks if m is not None and m.dtype == bool]
    if p.is_causal:
        keep.append(past(p))
    return {
        "keep": reduce(operator.and_, keep) if keep else None,
        "added": reduce(operator.add, added) if added else None,
    }


def _jax(
    p: Problem,
    query: Any,
    key: Any,
    value: Any,
    key_padding_mask: Any = None,
    attn_mask: Any = None,
    **parameters: Any,
) -> Any:
    import jax.numpy as jnp

    if "in_proj_weight" in parameters:
        maps = jnp.split(parameters["in_proj_weight"], 3)
    else:
        maps = [parameters[f"{which}_proj_weight"] for which in "qkv"]
    inputs = [x if p.batch_first else jnp.swapaxes(x, 0, 1) for x in (query, key, value)]
    output, weights = jax_multihead(
        p.heads,
        tuple(inputs),
        tuple(maps),
        tuple(jnp.split(parameters["in_proj_bias"], 3)) if p.bias else None,
        (parameters["out_proj_weight"], parameters.get("out_proj_bias")),
        **jax_masks(p, key_padding_mask, attn_mask),
    )
    output = output if p.batch_first else jnp.swapaxes(output, 0, 1)
    if not p.need_weights:
        return output
    return output, weights.mean(axis=1) if p.average_attn_weights else weights


LAYERS = (
    Layer(
        "MultiheadAttention",
        inputs=_inputs,
        parameters=_parameters,
        outputs=_outputs,
        constructor=(_embed, "heads"),
        forms=("need_weights",),
        blocks={"in_proj_weight": "qkv", "in_proj_bias": "qkv"},
        options={
            "bias": True,
            "kdim": None,
            "vdim": None,
            "batch_first": False,
            "is_causal": False,
            "need_weights": True,
            "average_attn_weights": True,
            "mask": None,
            "mask_per_head": False,
            "convention": "torch",
        },
        variants=(
            {"bias": False},
            {"kdim": 5},
            {"vdim": 7},
            {"kdim": 7, "vdim": 5},
            {"batch_first": True},
            {"is_causal": True},
            {"need_weights": False},
            {"average_attn_weights": False},
            *({"mask": mask} for mask in ("padding", "attention", "both", "additive")),
            {"mask": "both", "mask_per_head": True},
            {"mask": "additive", "mask_per_head": True},
            {"mask": "all padding", "need_weights": False},
            {"mask": "all padding", "need_weights": False, "convention": "jax"},
        ),
        sizes={
            "batch": (2, 4),
            "length": (3, 6),
            "source": (3, 7),
            "heads": (2, 3),
            "head_dim": (2, 4),
        },
        valid=_fits,
        torch=_torch,
        torch_layout={"out_proj_weight": "out_proj.weight", "out_proj_bias": "out_proj.bias"},
        jax=_jax,
        special=POINTS,
    ),
)


def _torch_attention(ignore: Array, need_weights: bool = False) -> Array:
    """What MultiheadAttention makes of `ROWS`, with one head and all maps the identity."""
    import torch

    dim = ROWS.shape[-1]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        layer = torch.nn.MultiheadAttention(dim, 1, bias=False, dtype=torch.float64)
        layer.in_proj_weight.copy_(torch.eye(dim).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(dim))
        rows, mask = torch.tensor(ROWS), torch.tensor(ignore)
        output, _ = layer(rows, rows, rows, attn_mask=mask, need_weights=need_weights)
        return np.asarray(output)


_FUTURE = np.triu(ALL, 1)

LEDGER = (
    Difference(
        "multihead-attention-masks",
        "MultiheadAttention",
        "What True says in a boolean mask.",
        torch="ignore; but in scaled_dot_product_attention: keep",
        jax="keep; flax and equinox too",
        measure=lambda: (_torch_attention(_FUTURE), jax_attention(mask=_FUTURE)),
        mapping="the JAX twin inverts the mask",
    ),
    Difference(
        "multihead-attention-to-nothing",
        "MultiheadAttention",
        "What the heads give a query whose keys are all ignored, with need_weights=False.",
        torch="0",
        jax="the mean of all values; flax and equinox too",
        measure=lambda: (_torch_attention(ALL), jax_attention(mask=~ALL)),
        option="convention",
        kinds=(ANY,),
        quantities=(
            "output",
            *(f"grad_{name}" for name in ("query", "key", "value")),
            *(f"grad_{side}_proj_{what}" for side in ("in", "out") for what in ("weight", "bias")),
            *(f"grad_{which}_proj_weight" for which in "qkv"),
        ),
    ),
    Difference(
        "multihead-attention-to-nothing-with-weights",
        "MultiheadAttention",
        "The same, with need_weights=True, the default.",
        torch="NaN, in the gradients of all parameters too",
        jax="the mean of all values; flax and equinox too",
        measure=lambda: (_torch_attention(ALL, need_weights=True), jax_attention(mask=~ALL)),
        mapping="no case is drawn there; reference_nn answers as with need_weights=False",
    ),
)
