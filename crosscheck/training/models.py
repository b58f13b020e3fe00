"""Four small models of the digits, each written three times: reference_nn, PyTorch, JAX.

The names and the layout of reference_nn's parameters are the canonical ones; `Model.layouts` maps
them to torch's, and the JAX functions take them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import reference_nn as nn
from crosscheck.spec import Array, Shape

CLASSES = 10


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: as in ``crosscheck train NAME``.
        title: what it is, in a few words.
        shape: of one input; the pixels are reshaped to it.
        reference: from a random generator to a layer of reference_nn that gives logits.
        torch: makes the ``torch.nn.Module``. Imports torch inside.
        jax: from the weights by name and the input to the logits. Imports jax inside.
        layouts: canonical name → torch's name and layout, as in `Layer.torch_layout`.
        lr: the learning rate of SGD with momentum 0.9 by default.
    """

    name: str
    title: str
    shape: Shape
    reference: Callable[[np.random.Generator], nn.Sequential]
    torch: Callable[[], Any]
    jax: Callable[[Mapping[str, Any], Any], Any]
    layouts: Mapping[str, str] = field(default_factory=dict)
    lr: float = 0.05


def _linear(index: int) -> dict[str, str]:
    return {
        f"{index}.weights": f"{index}.weight: in out -> out in",
        f"{index}.bias": f"{index}.bias",
    }


def _affine(w: Mapping[str, Any], name: str, x: Any) -> Any:
    return x @ w[f"{name}.weights"] + w[f"{name}.bias"]


# --- multilayer perceptron --------------------------------------------------------------------


def _mlp(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32, rng=rng), nn.ReLU(), nn.Linear(32, CLASSES, rng=rng))


def _torch_mlp() -> Any:
    import torch

    return torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES)
    )


def _jax_mlp(w: Mapping[str, Any], x: Any) -> Any:
    import jax

    return _affine(w, "2", jax.nn.relu(_affine(w, "0", x)))


# --- convolutional network --------------------------------------------------------------------


def _cnn(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3, rng=rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, CLASSES, rng=rng),
    )


def _torch_cnn() -> Any:
    import torch

    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 12, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(48, CLASSES),
    )


def _jax_cnn(w: Mapping[str, Any], x: Any) -> Any:
    import jax

    def convolve(name: str, x: Any, padding: str) -> Any:
        y = jax.lax.conv_general_dilated(x, w[f"{name}.weights"], (1, 1), padding)
        return jax.nn.relu(y + w[f"{name}.bias"][:, None, None])

    x = convolve("0", x, "SAME")
    window = (1, 1, 2, 2)
    x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, window, "VALID")
    x = convolve("3", x, "VALID")
    return _affine(w, "6", x.reshape(len(x), -1))


# --- LSTM over the rows -----------------------------------------------------------------------


class LastOutput(nn.Layer):
    """The output of a recurrent layer after the last step: (batch, length, in) → (batch, hidden).

    Only the last step has an upstream gradient; the layer carries it back through time.
    """

    def __init__(self, inner: nn.LSTM) -> None:
        self.inner = inner

    def parameters(self) -> dict[str, Array]:
        """The recurrent layer's."""
        return self.inner.parameters()

    def get_params(self) -> tuple[list[Array], list[Array]]:
        """The recurrent layer's."""
        return self.inner.get_params()

    def forward(self, x: Array) -> Array:
        """The last step of the output."""
        return self.inner.forward(x)[0][:, -1]

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        upstream = np.zeros((*x.shape[:2], grad_output.shape[-1]), grad_output.dtype)
        upstream[:, -1] = grad_output
        return self.inner.backward(x, None, None, upstream)[0]


def _lstm(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        LastOutput(nn.LSTM(8, 24, batch_first=True, rng=rng)), nn.Linear(24, CLASSES, rng=rng)
    )


def _torch_lstm() -> Any:
    import torch

    class Recurrent(torch.nn.LSTM):
        def forward(self, x: Any, hx: Any = None) -> Any:
            return super().forward(x)[0][:, -1]

    return torch.nn.Sequential(Recurrent(8, 24, batch_first=True), torch.nn.Linear(24, CLASSES))


def _jax_lstm(w: Mapping[str, Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(state: Any, row: Any) -> Any:
        h, c = state
        gates = row @ w["0.weight_ih_l0"].T + w["0.bias_ih_l0"]
        gates = gates + h @ w["0.weight_hh_l0"].T + w["0.bias_hh_l0"]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    start = jnp.zeros((len(x), 24), x.dtype)
    (h, _), _ = jax.lax.scan(step, (start, start), jnp.swapaxes(x, 0, 1))
    return _affine(w, "1", h)


# --- transformer encoder block ----------------------------------------------------------------


class Position(nn.Layer):
    """x + p: what a row means depends on where it stands, which attention does not see.

    A sum hands its gradient to both terms; p is added to every sample, so its own is a sum over them.
    """

    parameter_names = ("weights",)

    def __init__(self, length: int, features: int, rng: np.random.Generator) -> None:
        self.weights: Array = 0.1 * rng.standard_normal((length, features))
        self.grad_weights: Array = np.zeros_like(self.weights)

    def forward(self, x: Array) -> Array:
        """(batch, length, features) → the same."""
        return np.asarray(x + self.weights)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights."""
        self.grad_weights = grad_output.sum(axis=0)
        return grad_output.copy()


class MeanOverRows(nn.Layer):
    """The mean over axis 1: every row gets its share of the gradient."""

    def forward(self, x: Array) -> Array:
        """(batch, length, features) → (batch, features)."""
        return np.asarray(x.mean(axis=1))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        share = grad_output[:, None] / grad_output.dtype.type(x.shape[1])
        return np.broadcast_to(share, x.shape).copy()


def _encoder(rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 16, rng=rng),
        Position(8, 16, rng),
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, rng=rng),
        MeanOverRows(),
        nn.Linear(16, CLASSES, rng=rng),
    )


def _torch_encoder() -> Any:
    import torch

    class Positions(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.Parameter(torch.zeros(8, 16))

        def forward(self, x: Any) -> Any:
            return x + self.weights

    class Mean(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean(1)

    block = torch.nn.TransformerEncoderLayer(
        16, 2, 32, dropout=0.0, batch_first=True, norm_first=True
    )
    first, last = torch.nn.Linear(8, 16), torch.nn.Linear(16, CLASSES)
    return torch.nn.Sequential(first, Positions(), block, Mean(), last)


def _jax_encoder(w: Mapping[str, Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def normal(name: str, x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        size = jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred / size * w[f"2.{name}.weights"] + w[f"2.{name}.bias"]

    def attend(x: Any) -> Any:
        n, length, features = x.shape
        joint = x @ w["2.self_attn.in_proj_weight"].T + w["2.self_attn.in_proj_bias"]
        q, k, v = (
            part.reshape(n, length, 2, features // 2).transpose(0, 2, 1, 3)
            for part in jnp.split(joint, 3, axis=-1)
        )
        scores = q @ k.transpose(0, 1, 3, 2) / math.sqrt(features // 2)
        heads = jax.nn.softmax(scores, axis=-1) @ v
        together = heads.transpose(0, 2, 1, 3).reshape(n, length, features)
        return together @ w["2.self_attn.out_proj_weight"].T + w["2.self_attn.out_proj_bias"]

    x = _affine(w, "0", x) + w["1.weights"]
    x = x + attend(normal("norm1", x))
    x = x + _affine(w, "2.linear2", jax.nn.relu(_affine(w, "2.linear1", normal("norm2", x))))
    return _affine(w, "4", x.mean(1))


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            "mlp",
            "multilayer perceptron, 64–32–10",
            (64,),
            _mlp,
            _torch_mlp,
            _jax_mlp,
            {**_linear(0), **_linear(2)},
        ),
        Model(
            "cnn",
            "two convolutions, a max-pool, a linear layer",
            (1, 8, 8),
            _cnn,
            _torch_cnn,
            _jax_cnn,
            {"0.weights": "0.weight", "3.weights": "3.weight", **_linear(6)},
        ),
        Model(
            "lstm",
            "LSTM of 24 over the eight rows, a linear layer",
            (8, 8),
            _lstm,
            _torch_lstm,
            _jax_lstm,
            _linear(1),
            lr=0.2,
        ),
        Model(
            "encoder",
            "transformer encoder block over the eight rows",
            (8, 8),
            _encoder,
            _torch_encoder,
            _jax_encoder,
            {
                **_linear(0),
                "2.self_attn.out_proj_weight": "2.self_attn.out_proj.weight",
                "2.self_attn.out_proj_bias": "2.self_attn.out_proj.bias",
                **{
                    f"2.{name}.weights": f"2.{name}.weight: in out -> out in"
                    for name in ("linear1", "linear2")
                },
                **{f"2.{name}.weights": f"2.{name}.weight" for name in ("norm1", "norm2")},
                **_linear(4),
            },
        ),
    )
}
