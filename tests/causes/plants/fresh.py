"""Mistakes of the list written anew: in other layers, with other constants, as people write them.

They were written after the rules, without looking at them, and run once before anything was mended:
`python benchmarks/causes.py --fresh` counts them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from plants.plant import Plant, one_hot, wrong_forward, wrong_gradient, wrong_methods

SIZED = ("multiplied-by-size",)
PER = ("divided-by-size",)


def gradient(number, mistake, layer, name, change, *causes, options=({},), **kinds):
    quantity = {"x:1": "x2"}.get(name, name)
    return Plant(
        number, mistake, layer, wrong_gradient(layer, name, change), (f"grad_{quantity}",), causes,
        options, **kinds,
    )  # fmt: skip


def forward(number, mistake, layer, change, *causes, options=({},), **kinds):
    made = wrong_forward(layer, change)
    return Plant(number, mistake, layer, made, ("output",), causes, options, **kinds)


def methods(number, mistake, layer, quantities, *causes, options=({},), kinds=None, **changed):
    more = {} if kinds is None else {"kinds": kinds}
    made = wrong_methods(layer, **changed)
    return Plant(number, mistake, layer, made, quantities, causes, options, **more)


def scale() -> Iterator[Plant]:
    yield gradient(
        1, "three times", "PoissonNLLLoss", "prediction", lambda g, *a: 3 * g, "constant-factor"
    )
    yield gradient(1, "half", "CosineEmbeddingLoss", "x1", lambda g, *a: 0.5 * g, "constant-factor")
    yield gradient(1, "two thirds", "Softsign", "x", lambda g, *a: 2 * g / 3, "constant-factor")
    yield gradient(1, "double", "GRUCell", "weight_hh", lambda g, *a: g + g, "constant-factor")
    for layer, inputs in (("BCELoss", "prediction"), ("KLDivLoss", "prediction"),
                          ("PoissonNLLLoss", "prediction"), ("GaussianNLLLoss", "prediction"),
                          ("HingeEmbeddingLoss", "prediction")):  # fmt: skip
        yield gradient(2, "mean left out", layer, inputs, lambda g, s, p, *a: g * p.size, *SIZED)
    yield gradient(
        2, "mean left out", "TripletMarginLoss", "anchor", lambda g, s, a, *r: g * len(a), *SIZED
    )
    yield gradient(
        3, "over samples only", "KLDivLoss", "prediction",
        lambda g, s, p, *a: g * p.size / len(p), *SIZED,
    )  # fmt: skip
    yield gradient(
        5, "times samples", "L1Loss", "prediction", lambda g, s, p, *a: g * p.shape[0], *SIZED,
        options=({"reduction": "sum"},),
    )  # fmt: skip
    for layer, name in (("Bilinear", "weights"), ("PReLU", "weights"), ("ConvTranspose1d", "weights"),
                        ("RNNCell", "weight_ih"), ("RMSNorm", "weights")):  # fmt: skip
        # All of a layer's parameters: a convention that was not declared.
        more = ("scale",) if layer in ("PReLU", "RMSNorm") else ()
        yield gradient(
            6, "mean in the layer", layer, name, lambda g, s, x, *a: g / len(x), *PER, *more
        )
    for layer in ("Bilinear", "ConvTranspose2d", "LayerNorm", "GroupNorm"):
        yield gradient(
            9, "mean of the bias", layer, "bias", lambda g, s, x, *a: g / x.shape[0], *PER
        )
    for layer, name in (("Conv1d", "weights"), ("Bilinear", "weights"), ("RNNCell", "weight_hh")):
        yield gradient(
            11, "lambda without sign", layer, name, lambda g, *a: g + 0.03, "constant-offset"
        )
    yield gradient(
        12,
        "decay",
        "ConvTranspose1d",
        "weights",
        lambda g, s, *a: g + 0.005 * s.weights,
        "weight-decay",
    )
    yield gradient(
        13,
        "minus decay",
        "Conv3d",
        "weights",
        lambda g, s, *a: g - 0.02 * s.weights,
        "weight-decay",
    )
    yield gradient(
        12, "decay", "LSTMCell", "weight_ih", lambda g, s, *a: g + 0.1 * s.weight_ih, "weight-decay"
    )
    for layer in ("KLDivLoss", "PoissonNLLLoss"):
        yield gradient(20, "minus", layer, "prediction", lambda g, *a: -g, "sign-flipped")
    yield gradient(20, "minus", "LayerNorm", "bias", lambda g, *a: -g, "sign-flipped")
    yield gradient(53, "clipped", "LayerNorm", "x", lambda g, *a: np.clip(g, -0.1, 0.1), "clipped")
    yield gradient(
        53, "clipped by norm", "RNNCell", "weight_ih",
        lambda g, *a: g * min(1, 0.5 / np.linalg.norm(g)), "clipped",
    )  # fmt: skip
    yield gradient(
        41, "times channels", "ConvTranspose1d", "bias", lambda g, s, x, *a: g * x.shape[1], *SIZED
    )


def operands() -> Iterator[Plant]:
    yield gradient(15, "transposed", "RNNCell", "weight_ih", lambda g, *a: g.T.copy(), "transposed")
    yield gradient(
        15,
        "inputs swapped",
        "Bilinear",
        "weights",
        lambda g, *a: g.transpose(0, 2, 1).copy(),
        "transposed",
    )
    yield gradient(15, "transposed", "Embedding", "weights", lambda g, *a: g.T.copy(), "transposed")
    yield gradient(
        17, "input for output", "LogSoftmax", "x",
        lambda g, s, x, u: u - np.exp(x) * u.sum(axis=s.dim, keepdims=True), "wrong-variable",
    )  # fmt: skip
    yield gradient(
        17, "input for output", "ELU", "x", lambda g, s, x, u: np.where(x > 0, u, u * (x + 1)),
        "wrong-variable",
    )  # fmt: skip
    yield gradient(
        17, "input for output", "Softmin", "x",
        lambda g, s, x, u: -x * (u - (u * x).sum(axis=s.dim, keepdims=True)), "wrong-variable",
    )  # fmt: skip
    for layer in ("Hardswish", "Tanhshrink"):
        yield gradient(
            18, "at the output", layer, "x", lambda g, s, x, u: u * s.derivative(s.forward(x)),
            "derivative-at-output",
        )  # fmt: skip
    yield forward(
        19,
        "sign lost",
        "Softmin",
        lambda y, s, x: s.__class__.__mro__[1].forward(s, -x),
        "sign-of-input",
    )
    yield forward(19, "sign lost", "Softsign", lambda y, s, x: s.__class__.__mro__[1].forward(s, -x),
                  "sign-of-input", "sign-flipped")  # fmt: skip
    yield gradient(
        22, "logits", "CrossEntropyLoss", "prediction",
        lambda g, s, x, t, u: u * (x - one_hot(t, x.shape[1])), "softmax-left-out",
        options=({"reduction": "sum"},),
    )  # fmt: skip
    yield gradient(
        22, "logits", "BCEWithLogitsLoss", "prediction", lambda g, s, x, t, u: u * (x - t),
        "softmax-left-out", options=({"reduction": "sum"},),
    )  # fmt: skip
    for layer in ("LogSoftmax", "Softmin", "Softsign", "AvgPool1d", "ZeroPad1d"):
        yield gradient(
            54, "upstream ignored", layer, "x",
            lambda g, s, x, u: s.__class__.__mro__[1].backward(s, x, np.ones_like(u)),
            "upstream-ignored", "zero",
        )  # fmt: skip
    for layer in ("LogSoftmax", "Softmin", "Mish"):
        yield gradient(44, "fused", layer, "x", lambda g, s, x, u: u.copy(), "returns-upstream")
    yield gradient(
        43, "element by element", "LogSoftmax", "x",
        lambda g, s, x, u: u * (1 - np.exp(s.forward(x))), "diagonal-jacobian",
    )  # fmt: skip
    yield gradient(
        43, "element by element", "Softmin", "x",
        lambda g, s, x, u: -u * s.forward(x) * (1 - s.forward(x)), "diagonal-jacobian",
    )  # fmt: skip
    for layer in ("Bilinear", "ConvTranspose3d"):
        yield forward(
            40, "bias left out", layer,
            lambda y, s, *a: y - s.bias.reshape(-1, *(1,) * (y.ndim - 2)), "parameter-left-out",
        )  # fmt: skip
    yield forward(
        40, "bias twice", "Bilinear", lambda y, s, *a: y + s.bias, "parameter-several-times"
    )
    yield methods(
        27, "outputs exchanged", "LSTMCell", ("new_h", "new_c"), "another-quantity", "carry-order",
        forward=lambda s, p, *a: p.forward(*a)[::-1],
    )  # fmt: skip


def shapes() -> Iterator[Plant]:
    yield gradient(23, "not summed", "PReLU", "weights", lambda g, s, x, u: u * np.minimum(x, 0),
                   "not-summed-over-batch", "partly-summed")  # fmt: skip
    for layer in ("ConvTranspose1d", "BatchNorm2d", "GroupNorm"):
        yield gradient(
            23, "copied", layer, "bias", lambda g, s, x, u: u.copy(), "not-summed-over-batch"
        )
    yield gradient(23, "batch only", "InstanceNorm2d", "bias", lambda g, s, x, u: u.sum(axis=0),
                   "partly-summed", options=({"affine": True},))  # fmt: skip
    yield gradient(
        23, "copied", "LayerNorm", "bias", lambda g, s, x, u: u.copy(), "not-summed-over-batch"
    )
    yield gradient(
        23, "einsum without a sum", "Bilinear", "weights",
        lambda g, s, x1, x2, u: np.einsum("no,ni,nj->noij", u, x1, x2), "not-summed-over-batch",
    )  # fmt: skip
    for layer in ("Bilinear", "LayerNorm"):
        yield gradient(24, "row", layer, "bias", lambda g, *a: g.reshape(1, -1), "extra-axis")
    yield gradient(
        24, "kept", "GroupNorm", "weights", lambda g, *a: g.reshape(1, -1, 1), "extra-axis"
    )
    yield gradient(24, "column", "RNNCell", "bias_hh", lambda g, *a: g[:, None], "extra-axis")
    for layer in ("Softmin", "LogSoftmax"):
        yield forward(
            28, "whole array", layer,
            lambda y, s, x: s.__class__.__mro__[1](dim=-1).forward(x.reshape(1, -1)).reshape(x.shape),
            "whole-array",
        )  # fmt: skip
    yield gradient(29, "reshaped", "ConvTranspose1d", "x",
                   lambda g, *a: g.swapaxes(1, 2).copy().reshape(g.shape), "reshape-for-transpose")  # fmt: skip
    yield gradient(29, "reshaped", "Unfold", "x",
                   lambda g, *a: g.swapaxes(1, 2).copy().reshape(g.shape), "reshape-for-transpose")  # fmt: skip
    yield gradient(29, "reshaped", "PixelShuffle", "x",
                   lambda g, *a: g.transpose(0, 2, 3, 1).copy().reshape(g.shape), "reshape-for-transpose")  # fmt: skip
    for layer in ("MaxPool1d", "BatchNorm1d", "Softplus"):
        yield gradient(
            32, "squeezed", layer, "x", lambda g, *a: g.squeeze(), "squeezed",
            kinds=("distinct", "batch=1", "channels=1", "features=1"),
        )  # fmt: skip
    yield gradient(27, "other axis", "Softmin", "x",
                   lambda g, s, x, u: -s.forward(x) * (u - (u * s.forward(x)).sum(axis=0, keepdims=True)),
                   "wrong-axis")  # fmt: skip


def windows() -> Iterator[Plant]:
    def last_maximum(self, parent, x, upstream):
        turned = tuple(range(2, x.ndim))
        return np.flip(parent.backward(np.flip(x, turned), np.flip(upstream, turned)), turned)

    yield methods(39, "last of equals", "MaxPool1d", ("grad_x",), "ties", backward=last_maximum,
                  kinds=("distinct", "batch=1", "ties"), options=({"stride": 1},))  # fmt: skip
    yield gradient(33, "minus pad", "Unfold", "x", lambda g, s, *a: g[:, :, 1:-1, 0:-0], "empty-slice",
                   options=({},))  # fmt: skip
    for layer in ("ConvTranspose1d", "ConvTranspose2d"):
        yield gradient(42, "kernel flipped", layer, "weights",
                       lambda g, *a: np.flip(g, tuple(range(2, g.ndim))).copy(), "reversed")  # fmt: skip

    def unfold_assigned(self, parent, x, upstream):
        grad = np.zeros_like(x)
        (a, b), (rows, columns) = self.kernel_size, (x.shape[2], x.shape[3])
        patches = upstream.reshape(len(x), x.shape[1], a, b, rows - a + 1, columns - b + 1)
        for i in range(rows - a + 1):
            for j in range(columns - b + 1):
                grad[:, :, i : i + a, j : j + b] = patches[..., i, j]
        return grad

    yield methods(38, "assigned", "Unfold", ("grad_x",), "overwritten", backward=unfold_assigned)

    def pooled(self, parent, x, upstream):
        grad = np.zeros_like(x)
        k, s = self.kernel_size[0], self.stride[0]
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                for i in range(upstream.shape[2]):
                    at = i * s + int(np.argmax(x[n, c, i * s : i * s + k]))
                    grad[n, c, at] = upstream[n, c, i]
        return grad

    yield methods(38, "argmax assigned", "MaxPool1d", ("grad_x",), "overwritten", backward=pooled,
                  options=({"stride": 1},))  # fmt: skip

    def bag(self, parent, x, *rest):
        returned = parent.backward(x, *rest)
        self.grad_weights = np.zeros_like(self.weights)
        for j in range(x.shape[1]):
            self.grad_weights[x[:, j]] = rest[-1] / x.shape[1]
        return returned

    # Every occurrence of a row overwrites, across bags and inside one: no rule plays that through.
    yield methods(
        38, "bag assigned", "EmbeddingBag", ("grad_weights",), "overwritten", backward=bag
    )


def statistics() -> Iterator[Plant]:
    yield gradient(
        46, "root mean square constant", "RMSNorm", "x",
        lambda g, s, x, u: u * s.weights / np.sqrt((x * x).mean(-1, keepdims=True) + np.finfo(x.dtype).eps),
        "statistics-constant",
    )  # fmt: skip

    def instance(g, s, x, u):
        axes = tuple(range(2, x.ndim))
        return u / np.sqrt(x.var(axis=axes, keepdims=True) + s.eps)

    yield gradient(46, "constants", "InstanceNorm1d", "x", instance, "statistics-constant")
    yield gradient(46, "constants", "InstanceNorm3d", "x", instance, "statistics-constant")

    def no_mean(g, s, x, u):
        z = x - x.mean(-1, keepdims=True)
        sigma = np.sqrt((z * z).mean(-1, keepdims=True) + s.eps)
        w = u * s.weights
        return (w - z / sigma * (w * z / sigma).mean(-1, keepdims=True)) / sigma

    yield gradient(46, "mean constant", "LayerNorm", "x", no_mean, "statistics-constant")


def state() -> Iterator[Plant]:
    def doubles(self, parent, *arguments):
        arguments[-1][...] *= 0.5
        return parent.backward(*arguments[:-1], arguments[-1] * 2)

    for layer in ("GELU", "AvgPool1d", "Bilinear"):
        yield methods(49, "upstream written", layer, ("contract: upstream unchanged",),
                      "mutates-upstream", backward=doubles)  # fmt: skip

    def in_place(self, parent, x):
        found = parent.forward(x)
        x *= 2
        return found

    for layer in ("Softsign", "ZeroPad1d"):
        yield methods(50, "input written", layer, ("contract: inputs unchanged", "grad_x"),
                      "mutates-input", forward=in_place)  # fmt: skip

    def adds(self, parent, *arguments):
        before = getattr(self, "grad_bias", 0)
        found = parent.backward(*arguments)
        self.grad_bias = before + self.grad_bias if np.ndim(before) else self.grad_bias
        return found

    for layer in ("Bilinear", "LayerNorm", "ConvTranspose1d"):
        yield methods(51, "added up", layer, ("contract: second call gives the same",),
                      "accumulates", "state-kept", backward=adds)  # fmt: skip

    def shouts(self, parent, *arguments):
        print("shape", arguments[0].shape)
        return parent.forward(*arguments)

    for layer in ("RNNCell", "Bilinear"):
        yield methods(61, "print", layer, ("contract: prints nothing",), "prints", forward=shouts)
    yield gradient(
        55, "float16", "Softsign", "x", lambda g, *a: g.astype(np.float16), "float32-buffer"
    )
    yield gradient(
        55, "whole numbers", "Bilinear", "bias", lambda g, *a: g.astype(np.int64), "integer-buffer"
    )
    yield methods(
        60, "random", "Softsign", ("grad_x", "contract: second call gives the same"), "random",
        backward=lambda s, p, *a: p.backward(*a) * np.random.default_rng().random(a[0].shape),
    )  # fmt: skip
    yield methods(
        62, "np.product", "Softsign", ("output",), "removed-numpy-api",
        forward=lambda s, p, x: p.forward(x) * np.product(x.shape),
    )  # fmt: skip
    yield methods(57, "log of exp", "Softplus", ("output", "grad_x"), "overflow",
                  forward=lambda s, p, x: np.log(1 + np.exp(x)), kinds=("distinct", "batch=1", "extreme"))  # fmt: skip
    yield methods(57, "no maximum", "LogSoftmax", ("output", "grad_x"), "overflow",
                  forward=lambda s, p, x: x - np.log(np.exp(x).sum(axis=s.dim, keepdims=True)),
                  kinds=("distinct", "batch=1", "extreme", "far off"))  # fmt: skip


def plants() -> list[Plant]:
    found = [*scale(), *operands(), *shapes(), *windows(), *statistics(), *state()]
    return [replace(plant, fresh=True, mistake=f"fresh {plant.mistake}") for plant in found]
