"""The encoder layer of the transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.multihead_attention import (
    IGNORED,
    NONE_IGNORED,
    WEIGHTS,
    jax_masks,
    jax_multihead,
)
from crosscheck.families.twins import chosen
from crosscheck.spec import Array, Layer, Options, Problem, Tensor

_MODEL = "nhead*head_dim"
#: Option → domains of src_mask and src_key_padding_mask.
_MASKS = {
    "attention": (IGNORED, NONE_IGNORED),
    "padding": (NONE_IGNORED, IGNORED),
    "both": (IGNORED, IGNORED),
}


def _model(p: Problem) -> int:
    return int(p.nhead * p.head_dim)


def _fits(p: Problem) -> str | None:
    if _model(p) < 3:
        return "two numbers are normalized to 1 and -1, whatever they are: all gradients vanish"
    return None


def _inputs(o: Options) -> Mapping[str, Tensor | str]:
    rows = "batch length" if o["batch_first"] else "length batch"
    inputs: dict[str, Tensor | str] = {"src": f"{rows} {_MODEL}"}
    if o["mask"] is not None:
        attention, padding = chosen(o, "mask", _MASKS)
        inputs["src_mask"] = Tensor("length length", attention, differentiable=False)
        inputs["src_key_padding_mask"] = Tensor("batch length", padding, differentiable=False)
    return inputs


def _torch(p: Problem) -> Any:
    import torch

    class Encoder(torch.nn.TransformerEncoderLayer):
        """Called with arrays only: the causal mask is an option here."""

        def forward(self, src: Any, src_mask: Any = None, padding: Any = None) -> Any:
            if p.is_causal:
                future = torch.ones(p.length, p.length, dtype=torch.bool).triu(1)
                src_mask = future if src_mask is None else src_mask | future
            return super().forward(src, src_mask, padding)

    names = ("activation", "layer_norm_eps", "batch_first", "norm_first", "bias")
    options = {name: p[name] for name in names}
    return Encoder(_model(p), p.nhead, p.dim_feedforward, dropout=0.0, **options)


def _jax(
    p: Problem, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, **given: Any
) -> Any:
    import jax
    import jax.numpy as jnp

    def attend(z: Any) -> Any:
        weight, bias = given["self_attn.in_proj_weight"], given.get("self_attn.in_proj_bias")
        output, _ = jax_multihead(
            p.nhead,
            (z, z, z),
            tuple(jnp.split(weight, 3)),
            None if bias is None else tuple(jnp.split(bias, 3)),
            (given["self_attn.out_proj_weight"], given.get("self_attn.out_proj_bias")),
            **masks,
        )
        return output

    def linear(name: str, z: Any) -> Any:
        return z @ given[f"{name}.weights"] + given.get(f"{name}.bias", 0)

    def feed(z: Any) -> Any:
        hidden = linear("linear1", z)
        relu = p.activation == "relu"
        active = jax.nn.relu(hidden) if relu else jax.nn.gelu(hidden, approximate=False)
        return linear("linear2", active)

    def norm(name: str, z: Any) -> Any:
        standard = jax.nn.standardize(z, axis=-1, epsilon=p.layer_norm_eps)
        return standard * given[f"{name}.weights"] + given.get(f"{name}.bias", 0)

    masks = jax_masks(p, src_key_padding_mask, src_mask)
    x = src if p.batch_first else jnp.swapaxes(src, 0, 1)
    if p.norm_first:
        u = x + attend(norm("norm1", x))
        y = u + feed(norm("norm2", u))
    else:
        u = norm("norm1", x + attend(x))
        y = norm("norm2", u + feed(u))
    return y if p.batch_first else jnp.swapaxes(y, 0, 1)


def _parameters(o: Options) -> Mapping[str, Tensor | str]:
    shapes = {
        "self_attn.in_proj_weight": f"3*{_MODEL} {_MODEL}",
        "self_attn.in_proj_bias": f"3*{_MODEL}",
        "self_attn.out_proj_weight": f"{_MODEL} {_MODEL}",
        "self_attn.out_proj_bias": _MODEL,
        "linear1.weights": f"{_MODEL} dim_feedforward",
        "linear1.bias": "dim_feedforward",
        "linear2.weights": f"dim_feedforward {_MODEL}",
        "linear2.bias": _MODEL,
        "norm1.weights": _MODEL,
        "norm1.bias": _MODEL,
        "norm2.weights": _MODEL,
        "norm2.bias": _MODEL,
    }
    return {
        name: Tensor(axes, when="bias") if name.endswith("bias") else Tensor(axes, WEIGHTS)
        for name, axes in shapes.items()
    }


def _extreme(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Scores of 100 and more in the first sample: exponentials overflow in float32.

    Everywhere, or at 1e4, the gradients would be what is left of numbers many times as large, and
    nobody's float32 has a digit of them.
    """
    src = values["src"].copy()
    first = src[0] if p.batch_first else src[:, 0]
    first *= 10
    return {**values, "src": src}


LAYERS = (
    Layer(
        "TransformerEncoderLayer",
        inputs=_inputs,
        parameters=_parameters,
        outputs=lambda o: {
            "output": f"{'batch length' if o['batch_first'] else 'length batch'} {_MODEL}"
        },
        constructor=(_model, "nhead", "dim_feedforward"),
        options={
            "activation": "relu",
            "layer_norm_eps": 1e-5,
            "batch_first": False,
            "norm_first": False,
            "bias": True,
            "is_causal": False,
            "mask": None,
        },
        variants=(
            {"activation": "gelu"},
            {"layer_norm_eps": 0.1},
            {"norm_first": True},
            {"bias": False},
            {"is_causal": True},
            {"mask": "both", "batch_first": True},
            {"mask": "padding", "is_causal": True, "norm_first": True, "activation": "gelu"},
        ),
        pairs=False,  # each takes a second to compile
        sizes={
            "batch": (2, 4),
            "length": (3, 5),
            "nhead": (2, 3),
            "head_dim": (2, 4),
            "dim_feedforward": (3, 7),
        },
        valid=_fits,
        torch=_torch,
        torch_layout={
            "self_attn.out_proj_weight": "self_attn.out_proj.weight",
            "self_attn.out_proj_bias": "self_attn.out_proj.bias",
            "linear1.weights": "linear1.weight: in out -> out in",
            "linear2.weights": "linear2.weight: in out -> out in",
            "norm1.weights": "norm1.weight",
            "norm2.weights": "norm2.weight",
        },
        jax=_jax,
        special={"extreme": _extreme},
    ),
)


_ROW = np.array([[0.3, -0.2, 0.45, 0.05]])


def _normalized() -> tuple[Array, Array]:
    """A row normalized with PyTorch's eps and with flax's, and little to divide by."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    row = _ROW / 100
    with torch.random.fork_rng(devices=[]):
        ours = torch.nn.TransformerEncoderLayer(4, 2, 4, dropout=0.0, dtype=torch.float64).norm1
    with jax.enable_x64(True):
        other = np.asarray(jax.nn.standardize(row, axis=-1, epsilon=1e-6))
    return ours(torch.tensor(row)).detach().numpy(), other


def _activated() -> tuple[Array, Array]:
    """PyTorch's activation="gelu" and jax.nn.gelu."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.TransformerEncoderLayer(4, 2, 4, activation="gelu", dtype=torch.float64)
    with jax.enable_x64(True):
        return layer.activation(torch.tensor(_ROW)).numpy(), np.asarray(jax.nn.gelu(_ROW))


LEDGER = (
    Difference(
        "transformer-norm-eps",
        "TransformerEncoderLayer",
        "What is added to the variance.",
        torch="1e-5",
        jax="flax.linen.LayerNorm: 1e-6",
        measure=_normalized,
        mapping="the JAX twin is given the option's",
    ),
    Difference(
        "transformer-gelu",
        "TransformerEncoderLayer",
        "The GELU of activation='gelu'.",
        torch="exact, with erf",
        jax="jax.nn.gelu, which is flax's: by tanh, unless approximate=False",
        measure=_activated,
        mapping="the JAX twin sets approximate=False",
    ),
)
