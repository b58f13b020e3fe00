"""Mistakes where several gradients belong to one element, or each to another: 10, 27, 38, 39, 57."""

from __future__ import annotations

import numpy as np

from plants.plant import Plant, wrong_gradient, wrong_methods


def _indexed(self, parent, x, *rest):
    """The gradient written by index, so that a repeated index keeps the last one."""
    upstream = rest[-1]
    parent.backward(x, *rest)
    self.grad_weights = np.zeros_like(self.weights)
    self.grad_weights[x] = upstream


def _last_sample(name, axis=0):
    """A loop over the samples with = for +=: what the last sample alone gives."""

    def backward(self, parent, *arguments):
        *inputs, upstream = arguments
        alone = np.zeros_like(upstream)
        alone[-1] = upstream[-1]
        parent.backward(*inputs, alone)
        kept = getattr(self, f"grad_{name}").copy()
        returned = parent.backward(*inputs, upstream)
        setattr(self, f"grad_{name}", kept)
        return returned

    return backward


def _adaptive(self, parent, x, upstream):
    grad = np.zeros_like(x)
    size, count = x.shape[2], upstream.shape[2]
    for i in range(count):
        start, stop = i * size // count, -(-(i + 1) * size // count)
        grad[..., start:stop] = upstream[..., i : i + 1] / (stop - start)
    return grad


def _one_copy(offset):
    def backward(self, parent, x, upstream):
        inside = (slice(offset, None, 2),) * (x.ndim - 2)
        return upstream[(..., *inside)].copy()

    return backward


def _cropped(self, parent, x, upstream):
    inside = tuple(slice(a, a + n) for (a, _), n in zip(self.padding, x.shape[2:], strict=True))
    return upstream[(..., *inside)].copy()


def _every_adaptive(self, parent, x, upstream):
    grad = np.zeros_like(x)
    size, count = x.shape[2], upstream.shape[2]
    for i in range(count):
        at = (..., slice(i * size // count, -(-(i + 1) * size // count)))
        grad[at] += (x[at] == x[at].max(axis=2, keepdims=True)) * upstream[..., i : i + 1]
    return grad


def _exchanged(one, other):
    def backward(self, parent, *arguments):
        found = list(parent.backward(*arguments))
        found[one], found[other] = found[other], found[one]
        return tuple(found)

    return backward


def _separate(letters):
    """A recurrent cell that has an array for each gate; its forward is never reached."""

    class Separate:
        def __init__(self, input_size, hidden_size):
            for gate in letters:  # under names that are not recognised by themselves
                setattr(self, f"input_{gate}", np.zeros((hidden_size, input_size)))
                setattr(self, f"hidden_{gate}", np.zeros((hidden_size, hidden_size)))
                setattr(self, f"shift_{gate}", np.zeros(hidden_size))

        def forward(self, x, *state):
            return state

        def backward(self, x, *rest):
            return (x, *rest)

    return Separate


def _fast_variance(self, parent, x):
    shape = x.shape
    if hasattr(self, "num_groups"):
        x = x.reshape(len(x), self.num_groups, -1)
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.maximum((x * x).mean(axis=-1, keepdims=True) - mean * mean, 0)
    return self._affine(((x - mean) / np.sqrt(variance + self.eps)).reshape(shape))


def plants():
    # Under the usual names they are recognised: see tests/exercises/test_elsewhere.py.
    for layer, letters in (("GRUCell", "rzn"), ("LSTMCell", "ifgo")):
        yield Plant(
            27, f"gates {letters} apart", layer, _separate(letters), ("output", "new_h"),
            ("separate-gates",),
        )  # fmt: skip
    for layer in ("LayerNorm", "GroupNorm"):
        yield Plant(
            57, "fast variance", layer, wrong_methods(layer, forward=_fast_variance),
            ("output", "grad_x", "grad_weights"), ("variance-cancels",), ({},),
            ("distinct", "batch=1", "offset"),
        )  # fmt: skip
    yield Plant(
        38, "index assigned", "Embedding", wrong_methods("Embedding", backward=_indexed),
        ("grad_weights",), ("overwritten",),
    )  # fmt: skip
    for layer, name in (("Linear", "weights"), ("Linear", "bias"), ("Bilinear", "weights"),
                        ("Conv1d", "weights"), ("LayerNorm", "bias"), ("PReLU", "weights")):  # fmt: skip
        yield Plant(
            38, f"last sample {name}", layer, wrong_methods(layer, backward=_last_sample(name)),
            (f"grad_{name}",), ("overwritten",), ({},), ("distinct", "random0", "random1"),
        )  # fmt: skip
    yield Plant(
        38, "windows assigned", "AdaptiveAvgPool1d",
        wrong_methods("AdaptiveAvgPool1d", backward=_adaptive), ("grad_x",), ("overwritten",),
    )  # fmt: skip
    for offset in (0, 1):
        yield Plant(
            38, f"copy {offset} only", "Upsample",
            wrong_methods("Upsample", backward=_one_copy(offset)), ("grad_x",), ("overwritten",),
            ({},), ("distinct", "batch=1"),
        )  # fmt: skip
    for kind in ("Reflection", "Replication", "Circular"):
        for n in (1, 2, 3):
            layer = f"{kind}Pad{n}d"
            yield Plant(
                38, "padding cut off", layer, wrong_methods(layer, backward=_cropped),
                ("grad_x",), ("padding-dropped",),
            )  # fmt: skip
    yield Plant(
        39, "every maximum", "AdaptiveMaxPool1d",
        wrong_methods("AdaptiveMaxPool1d", backward=_every_adaptive), ("grad_x",), ("ties",),
        ({},), ("distinct", "batch=1", "ties"),
    )  # fmt: skip
    for layer, place in (("ScaledDotProductAttention", 0), ("ScaledDotProductAttention", 1)):
        yield Plant(
            10, f"scale left out {place}", layer,
            wrong_gradient(layer, f"x:{place}", lambda g, s, q, *a: g * q.shape[-1] ** 0.5),
            (("grad_query", "grad_key")[place],), ("root-of-size",),
            ({},), ("distinct", "batch=1", "random0", "random1", "source=1"),
        )  # fmt: skip
    for layer in ("Linear", "Conv2d"):
        yield Plant(
            10, "root of batch", layer, wrong_gradient(layer, "weights", lambda g, s, x, *a: g / len(x) ** 0.5),
            ("grad_weights",), ("root-of-size",),
        )  # fmt: skip
    for layer, names, places in (
        ("CosineSimilarity", ("x1", "x2"), (0, 1)),
        ("LSTMCell", ("h", "c"), (1, 2)),
        ("CosineEmbeddingLoss", ("x1", "x2"), (0, 1)),
        ("TripletMarginLoss", ("positive", "negative"), (1, 2)),
    ):
        yield Plant(
            27, "gradients exchanged", layer, wrong_methods(layer, backward=_exchanged(*places)),
            tuple(f"grad_{n}" for n in names), ("another-quantity", "sign-flipped"),
        )  # fmt: skip
