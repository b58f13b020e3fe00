"""Layers as other frameworks compute them: every known difference that can be written down."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from plants.plant import wrong_methods
from ports_by_axis import BY_AXIS
from ports_by_option import BY_OPTION, exchanged, reversed_divergence

import reference_nn as nn
from reference_nn.normalization import standardize_gradient


@dataclass(frozen=True)
class Port:
    """A layer that follows another convention, consistently in forward and backward."""

    name: str
    layer: str
    make: type
    slug: str
    says: str
    options: dict[str, Any]
    kinds: tuple[str, ...] = ("distinct", "random0", "batch=1")


def _with(layer, **fixed):
    """The layer with some options fixed, whatever it is constructed with."""
    base = getattr(nn, layer)

    class Port_(base):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **{**options, **fixed})

    Port_.__name__ = f"My{layer}"
    Port_.__signature__ = inspect.signature(base)
    return Port_


def _mapped(layer, there, back, names):
    """The layer reading its parameters through a map; gradients go back through its adjoint."""
    base = getattr(nn, layer)

    class Port_(base):
        def _chosen(self):
            return [n for n in self.parameters() if n.startswith(names)]

        def _under(self, run):
            kept = {n: getattr(self, n) for n in self._chosen()}
            for n, array in kept.items():
                setattr(self, n, there(array))
            try:
                return run()
            finally:
                for n, array in kept.items():
                    setattr(self, n, array)

        def forward(self, *inputs):
            return self._under(lambda: base.forward(self, *inputs))

        @wraps(base.backward)
        def backward(self, *arguments):
            returned = self._under(lambda: base.backward(self, *arguments))
            for n in self._chosen():
                setattr(self, f"grad_{n}", back(getattr(self, f"grad_{n}")))
            return returned

    Port_.__name__ = f"My{layer}"
    return Port_


def _order(theirs, ours):
    """Maps for rows that stand in the order `theirs`."""
    take = [theirs.index(gate) for gate in ours]

    def there(array):
        split = array.reshape(len(ours), -1, *array.shape[1:])
        return split[take].reshape(array.shape)

    def back(array):
        split = array.reshape(len(ours), -1, *array.shape[1:])
        return split[np.argsort(take)].reshape(array.shape)

    return there, back


def _flip(array):
    return np.flip(array, tuple(range(2, array.ndim))).copy()


def _rows(*factors):
    def scale(array):
        split = array.reshape(len(factors), -1)
        return (split * np.array(factors)[:, None]).reshape(array.shape)

    return scale


def _gates(layer, theirs, ours):
    return _mapped(layer, *_order(theirs, ours), ("weight_", "bias_"))


def _times(layer, factor):
    """A loss times a factor, forward and backward."""
    return wrong_methods(
        layer,
        forward=lambda s, p, *a: p.forward(*a) * factor(s, *a),
        backward=lambda s, p, *a: p.backward(*a) * factor(s, *a[:-1]),
    )


def _forget_bias(layer):
    return _mapped(
        layer,
        lambda b: b + np.repeat([0.0, 1.0, 0.0, 0.0], len(b) // 4),
        lambda g: g,
        ("bias_ih",),
    )


def _unbiased_norm(layer):
    def parts(self, x):
        axes = (0, *range(2, x.ndim)) if layer.startswith("Batch") else (-1,)
        n = math.prod(x.shape[a] for a in axes)
        k = n / (n - 1)
        return axes, k

    def forward(self, parent, x):
        axes, k = parts(self, x)
        centred = x - x.mean(axis=axes, keepdims=True)
        normal = centred / np.sqrt(x.var(axis=axes, keepdims=True) * k + self.eps)
        if layer.startswith("Batch"):
            parent.forward(x)
        return self._affine(normal)

    def backward(self, parent, x, upstream):
        axes, k = parts(self, x)
        centred = x - x.mean(axis=axes, keepdims=True)
        deviation = np.sqrt(x.var(axis=axes, keepdims=True) + self.eps / k)
        grad = self._affine_gradient(centred / deviation / math.sqrt(k), upstream)
        return standardize_gradient(centred / deviation, deviation, grad / math.sqrt(k), axes)

    return wrong_methods(layer, forward=forward, backward=backward)


class EpsOutside(nn.LayerNorm):
    """(x − μ)/(√v + ε)."""

    def _parts(self, x):
        centred = x - x.mean(-1, keepdims=True)
        root = np.sqrt((centred**2).mean(-1, keepdims=True))
        return centred, root

    def forward(self, x):
        centred, root = self._parts(x)
        return self._affine(centred / (root + self.eps))

    def backward(self, x, upstream):
        centred, root = self._parts(x)
        below = root + self.eps
        g = self._affine_gradient(centred / below, upstream)
        g_centred = g / below
        g_root = -(g * centred / below**2).sum(-1, keepdims=True)
        g_centred = g_centred + g_root * centred / (root * x.shape[-1])
        return g_centred - g_centred.mean(-1, keepdims=True)


class SigmoidGELU(nn.GELU):
    """x σ(1.702 x)."""

    def forward(self, x):
        return x * nn.Sigmoid().forward(1.702 * x)

    def derivative(self, x):
        s = nn.Sigmoid().forward(1.702 * x)
        return s + 1.702 * x * s * (1 - s)


class CarryFirst(nn.LSTMCell):
    """Takes and gives (c, h)."""

    def forward(self, x, c, h):
        new_h, new_c = super().forward(x, h, c)
        return new_c, new_h

    def backward(self, x, c, h, grad_c, grad_h):
        grad_x, g_h, g_c = super().backward(x, h, c, grad_h, grad_c)
        return grad_x, g_c, g_h


class ResetBefore(nn.GRUCell):
    """n = tanh(W x + b + W (r ⊙ h) + b)."""

    def _parts(self, x, h):
        size = self.hidden_size
        a = x @ self.weight_ih.T + self.bias_ih
        u = h @ self.weight_hh[: 2 * size].T + self.bias_hh[: 2 * size]
        r = 1 / (1 + np.exp(-(a[:, :size] + u[:, :size])))
        z = 1 / (1 + np.exp(-(a[:, size : 2 * size] + u[:, size:])))
        w = self.weight_hh[2 * size :]
        n = np.tanh(a[:, 2 * size :] + (r * h) @ w.T + self.bias_hh[2 * size :])
        return r, z, n, w

    def forward(self, x, h):
        _, z, n, _ = self._parts(x, h)
        return (1 - z) * n + z * h

    def backward(self, x, h, grad):
        size = self.hidden_size
        r, z, n, w = self._parts(x, h)
        a_n = grad * (1 - z) * (1 - n * n)
        a_z = grad * (h - n) * z * (1 - z)
        reset = a_n @ w
        a_r = reset * h * r * (1 - r)
        a = np.concatenate([a_r, a_z, a_n], axis=1)
        self.grad_weight_ih, self.grad_bias_ih = a.T @ x, a.sum(0)
        self.grad_weight_hh = np.concatenate([a_r.T @ h, a_z.T @ h, a_n.T @ (r * h)])
        self.grad_bias_hh = a.sum(0)
        rz = np.concatenate([a_r, a_z], axis=1) @ self.weight_hh[: 2 * size]
        return a @ self.weight_ih, rz + reset * r + grad * z


class SamePadding(nn.Conv1d):
    """Padding as JAX's SAME: (0, 1) where PyTorch pads (1, 1)."""

    def _ends(self, x):
        size, s, k = x.shape[2], self.stride[0], self.weights.shape[2]
        total = max((-(-size // s) - 1) * s + k - size, 0)
        return ((total // 2, total - total // 2),)

    def forward(self, x):
        kept, self.padding = self.padding, self._ends(x)
        try:
            return super().forward(x)
        finally:
            self.padding = kept

    def backward(self, x, upstream):
        kept, self.padding = self.padding, self._ends(x)
        try:
            return super().backward(x, upstream)
        finally:
            self.padding = kept


def _heads_inside(array, heads, dim):
    split = array.reshape(-1, dim, heads, *array.shape[1:])
    return split.swapaxes(1, 2).reshape(array.shape)


def _mask_turned(layer):
    def turned(arrays):
        return [~a if a.dtype == bool else a for a in arrays]

    return wrong_methods(
        layer,
        forward=lambda s, p, *a: p.forward(*turned(a)),
        backward=lambda s, p, *a: p.backward(*turned(a)),
    )


def _not_inverted(layer):
    return wrong_methods(
        layer,
        forward=lambda s, p, x: p.forward(x) * (1 - s.p),
        backward=lambda s, p, x, u: p.backward(x, u) * (1 - s.p),
    )


def _momentum(layer):
    base = getattr(nn, layer)

    class Port_(base):
        def __init__(self, *sizes, momentum=0.1, **options):
            super().__init__(*sizes, momentum=1 - momentum, **options)

        __signature__ = inspect.signature(base)

    Port_.__name__ = f"My{layer}"
    return Port_


def _mean_over_samples(layer):
    """The sum over the samples divided by their number, whatever their weights."""

    def other(self):
        return type(self).__mro__[1](reduction="sum", weight=self.weight,
                                     ignore_index=self.ignore_index)  # fmt: skip

    return wrong_methods(
        layer,
        forward=lambda s, p, x, t: other(s).forward(x, t) / len(x),
        backward=lambda s, p, x, t, u: other(s).backward(x, t, u) / len(x),
    )


def every() -> list[Port]:
    """All of them."""
    lstm, gru = "ifgo", "rzn"
    found = [
        Port("onnx gates", "LSTM", _gates("LSTM", "iofg", lstm), "gate-order", "ONNX", {}),
        Port("tf1 gates", "LSTMCell", _gates("LSTMCell", "igfo", lstm), "gate-order", "i, g, f, o", {}),
        Port("keras gates", "GRU", _gates("GRU", "zrn", gru), "gate-order", "Keras", {}),
        Port("onnx gates", "GRUCell", _gates("GRUCell", "zrn", gru), "gate-order", "z, r, n", {}),
        Port("forget bias", "LSTMCell", _forget_bias("LSTMCell"), "forget-bias", "1 added", {}),
        Port("flax bias", "RNNCell",
             _mapped("RNNCell", lambda b: 0 * b, lambda g: 0 * g, ("bias_hh",)),
             "one-bias", "no bias_hh", {}),
        Port("flax bias", "LSTMCell",
             _mapped("LSTMCell", lambda b: 0 * b, lambda g: 0 * g, ("bias_ih",)),
             "one-bias", "no bias_ih", {}),
        Port("flax bias", "GRUCell",
             _mapped("GRUCell", _rows(0, 0, 1), _rows(0, 0, 1), ("bias_hh",)),
             "one-bias", "only for n", {}),
        Port("cho's z", "GRU",
             _mapped("GRU", lambda a: a * np.repeat([1, -1, 1], len(a) // 3).reshape(-1, *(1,) * (a.ndim - 1)),
                     lambda a: a * np.repeat([1, -1, 1], len(a) // 3).reshape(-1, *(1,) * (a.ndim - 1)),
                     ("weight_", "bias_")),
             "gru-update-gate", "update gate", {}),
        Port("reset before", "GRUCell", ResetBefore, "gru-reset-before", "before", {}),
        Port("flax carry", "LSTMCell", CarryFirst, "carry-order", "(c, h)", {}),
        Port("flipped", "Conv2d", _mapped("Conv2d", _flip, _flip, ("weights",)), "kernel-flipped", "flipped", {}),
        Port("flipped", "ConvTranspose1d", _mapped("ConvTranspose1d", _flip, _flip, ("weights",)),
             "kernel-flipped", "flax", {}),
        Port("same", "Conv1d", SamePadding, "same-padding", "SAME", {"stride": 2, "padding": 1},
             ("distinct", "random0", "random1", "random2", "batch=1", "square")),
        Port("k q v", "MultiheadAttention",
             _mapped("MultiheadAttention", *_order("kqv", "qkv"), ("in_proj",)),
             "projection-order", "k, q, v", {}),
        Port("polarity", "ScaledDotProductAttention", _mask_turned("ScaledDotProductAttention"),
             "mask-polarity", "opposite", {"mask": "boolean"}),
        Port("unscaled", "ScaledDotProductAttention",
             _with("ScaledDotProductAttention", scale=1.0), "option-scale", "scale=1.0", {}),
        Port("momentum", "BatchNorm2d", _momentum("BatchNorm2d"), "momentum-complement", "1 − 0.1", {}),
        Port("biased tracking", "BatchNorm1d", _with("BatchNorm1d", convention="jax"),
             "running-variance-biased", "biased", {}),
        Port("eps", "LayerNorm", _with("LayerNorm", eps=1e-6), "option-eps", "1e-06", {}),
        Port("eps", "BatchNorm2d", _with("BatchNorm2d", eps=1e-3), "option-eps", "Keras", {}),
        Port("eps", "GroupNorm", _with("GroupNorm", eps=1e-6), "option-eps", "flax", {}),
        Port("eps", "RMSNorm", _with("RMSNorm", eps=1e-6), "option-eps", "1e-06", {}),
        Port("eps", "InstanceNorm2d", _with("InstanceNorm2d", eps=1e-6), "option-eps", "1e-06", {}),
        Port("eps outside", "LayerNorm", EpsOutside, "eps-outside-root", "outside the root", {}),
        Port("unbiased", "LayerNorm", _unbiased_norm("LayerNorm"), "variance-unbiased", "n − 1", {}),
        Port("unbiased", "BatchNorm1d", _unbiased_norm("BatchNorm1d"), "variance-unbiased", "n − 1",
             {"track_running_stats": False}, ("distinct", "random0")),
        Port("tanh", "GELU", _with("GELU", approximate="tanh"), "option-approximate", "jax.nn.gelu", {}),
        Port("exact", "GELU", _with("GELU", approximate="none"), "option-approximate", "'none'",
             {"approximate": "tanh"}),
        Port("sigmoid", "GELU", SigmoidGELU, "gelu-sigmoid", "1.702", {}),
        Port("no threshold", "Softplus", _with("Softplus", threshold=math.inf), "option-threshold",
             "inf", {}, ("distinct", "above threshold")),
        Port("slope", "LeakyReLU", _with("LeakyReLU", negative_slope=0.2), "option-negative_slope",
             "TensorFlow", {}),
        Port("half", "MSELoss", _times("MSELoss", lambda s, *a: 0.5), "loss-half", "optax", {}),
        Port("half", "MSELoss", _times("MSELoss", lambda s, *a: 0.5), "loss-half", "½",
             {"reduction": "sum"}),
        Port("huber", "SmoothL1Loss", _times("SmoothL1Loss", lambda s, *a: s.beta),
             "smooth-l1-or-huber", "beta times", {"beta": 0.4}),
        Port("smooth", "HuberLoss", _times("HuberLoss", lambda s, *a: 1 / s.delta),
             "smooth-l1-or-huber", "divided by delta", {"delta": 0.4}),
        Port("batchmean", "KLDivLoss", _with("KLDivLoss", reduction="batchmean"),
             "option-reduction", "batchmean", {}),
        Port("over samples", "CrossEntropyLoss", _mean_over_samples("CrossEntropyLoss"),
             "mean-over-samples", "samples", {"ignore_index": 1}),
        Port("over samples", "NLLLoss", _mean_over_samples("NLLLoss"),
             "mean-over-samples", "samples", {"weighted": True}),
        Port("eps", "TripletMarginLoss", _with("TripletMarginLoss", eps=0.125), "option-eps",
             "0.125", {}),
        Port("stride 1", "MaxPool2d", _with("MaxPool2d", stride=1), "option-stride", "flax", {}),
        Port("stride 1", "AvgPool1d", _with("AvgPool1d", stride=1), "option-stride", "stride=1", {}),
        Port("without padding", "AvgPool2d", _with("AvgPool2d", count_include_pad=False),
             "option-count_include_pad", "count_include_pad=False", {"padding": 1}),
        Port("corners", "Upsample", _with("Upsample", align_corners=True), "option-align_corners",
             "align_corners=True", {"mode": "bilinear", "align_corners": False}),
        Port("nearest", "Upsample", _with("Upsample", mode="nearest-exact"), "option-mode",
             "nearest-exact", {"mode": "nearest", "scale_factor": 1.5}),
        Port("not inverted", "Dropout", _not_inverted("Dropout"), "dropout-not-inverted",
             "1/(1 − p)", {"p": 0.2}),
        Port("ceil", "MaxPool1d", _with("MaxPool1d", ceil_mode=True), "option-ceil_mode",
             "ceil_mode=True", {"stride": 2}, ("distinct", "random0", "random1", "random2")),
    ]  # fmt: skip
    found += [Port(f"axes {i}", layer, make, "axis-order", says, {})
              for i, (layer, make, says) in enumerate(BY_AXIS)]  # fmt: skip
    found += [
        Port(" ".join(f"{k} {v}" for k, v in fixed.items()), layer, _with(layer, **fixed), slug,
             says, options, kinds)
        for layer, fixed, slug, says, options, kinds in BY_OPTION
    ]  # fmt: skip
    found += [
        Port("arguments", "KLDivLoss", _divergence(lambda t: t), "arguments-exchanged",
             "prediction and target", {"log_target": True}),
        Port("arguments", "TripletMarginLoss", _arguments("TripletMarginLoss", 1, 2),
             "arguments-exchanged", "positive and negative", {}),
        Port("reversed", "KLDivLoss", _divergence(np.log), "kl-reversed", "the other way round", {}),
    ]  # fmt: skip
    return found


def _arguments(layer, one, other):
    swap = exchanged(one, other)

    def backward(self, parent, *arguments):
        *inputs, upstream = arguments
        found = parent.backward(*swap(inputs), upstream)
        return tuple(swap(found)) if isinstance(found, tuple) and len(found) > 1 else found

    return wrong_methods(layer, forward=lambda s, p, *a: p.forward(*swap(a)), backward=backward)


def _divergence(log):
    """KL of prediction and target the other way round."""
    return wrong_methods(
        "KLDivLoss",
        forward=lambda s, p, x, t: reversed_divergence(x, log(t)),
        backward=lambda s, p, x, t, u: reversed_divergence(x, log(t), u),
    )
