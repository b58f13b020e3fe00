"""Mistakes of state, mutation, dtype and numerics: 49 to 62."""

from __future__ import annotations

from functools import wraps

import numpy as np

from plants.operands import SMOOTH
from plants.plant import Plant, known, wrong_forward, wrong_gradient, wrong_methods
from plants.scale import WEIGHTED

SOME = known("Sigmoid", "Linear", "Conv2d", "Softmax", "GELU", "Conv1d", "AvgPool2d", "LogSoftmax",
             "MSELoss", "LayerNorm")  # fmt: skip
ALL_MEMORY = ("plain", "strided", "readonly")
CONTRACT = "contract: "
#: A changed input makes the gradients wrong too.
GRADIENTS = ("grad_x", "grad_prediction", "grad_weights")


def _mutates_upstream(self, parent, *arguments):
    returned = parent.backward(*arguments)
    arguments[-1][...] *= 2
    return returned


def _mutates_input(self, parent, *arguments):
    returned = parent.forward(*arguments)
    arguments[0][arguments[0] < 0] = 0
    return returned


def _accumulates(self, parent, *arguments):
    before = {k: v for k, v in vars(self).items() if k.startswith("grad_") and v is not None}
    returned = parent.backward(*arguments)
    for name, array in before.items():
        setattr(self, name, getattr(self, name) + array)
    return returned


def _remembering(layer):
    import reference_nn as nn

    base = getattr(nn, layer)

    class Wrong(base):
        def forward(self, *inputs):
            self.remembered = inputs
            return super().forward(*inputs)

        @wraps(base.backward)
        def backward(self, *arguments):
            return super().backward(*self.remembered, *arguments[len(self.remembered) :])

    Wrong.__name__ = f"My{layer}"
    return Wrong


def _printing(self, parent, *arguments):
    print("shape", arguments[0].shape)
    return parent.backward(*arguments)


def _removed(name, use):
    def method(self, parent, *arguments):
        use(np)
        return parent.backward(*arguments)

    method.__name__ = name
    return method


def _by_memory(self, parent, x):
    """Reads the memory behind x as if it were contiguous."""
    if x.flags.c_contiguous:
        return parent.forward(x)
    base = x
    while base.base is not None:
        base = base.base
    return parent.forward(base.ravel()[: x.size].reshape(x.shape).copy())


def _clipped_norm(g, *arguments):
    norm = np.linalg.norm(g)
    return g if norm <= 0.5 else g * (0.5 / norm)


def plants():
    for layer in SOME:
        upstream, kinds = "upstream unchanged", ("distinct",)
        yield Plant(
            49, "upstream mutated", layer, wrong_methods(layer, backward=_mutates_upstream),
            (CONTRACT + upstream, "output"), ("mutates-upstream",), ({},), kinds, ALL_MEMORY,
        )  # fmt: skip
        yield Plant(
            50, "input mutated", layer, wrong_methods(layer, forward=_mutates_input),
            (CONTRACT + "inputs unchanged", "output", *GRADIENTS), ("mutates-input",), ({},), kinds, ALL_MEMORY,
        )  # fmt: skip
        if layer != "AvgPool2d":  # its gradient does not depend on its input
            yield Plant(
            52, "stale cache", layer, _remembering(layer),
            (CONTRACT + "backward belongs to its inputs",), ("stale-cache",), ({},), kinds,
        )  # fmt: skip
        quantity = "prediction" if layer == "MSELoss" else "x"
        yield Plant(
            55, "float32 buffer", layer,
            wrong_gradient(layer, quantity, lambda g, *a: g.astype(np.float32)),
            (f"grad_{quantity}",), ("float32-buffer",), ({},), kinds,
        )  # fmt: skip
        yield Plant(
            55, "float32 inside", layer,
            wrong_gradient(layer, quantity, lambda g, *a: g.astype(np.float32).astype(g.dtype)),
            (f"grad_{quantity}",), ("float32-inside",), ({},), kinds,
        )  # fmt: skip
        yield Plant(
            55, "integer buffer", layer,
            wrong_gradient(layer, quantity, lambda g, *a: (4 * g / 4).astype(np.int64)),
            (f"grad_{quantity}",), ("integer-buffer",), ({},), kinds,
        )  # fmt: skip
        yield Plant(
            60, "random in forward", layer,
            wrong_forward(layer, lambda y, *a: y * (np.random.default_rng().random(y.shape) > 0.4)),
            ("output", CONTRACT + "second call gives the same"), ("random",),
        )  # fmt: skip
        yield Plant(
            60, "random in backward", layer,
            wrong_gradient(
                layer, quantity, lambda g, *a: g * (np.random.default_rng().random(g.shape) > 0.4)
            ),
            (f"grad_{quantity}", CONTRACT + "second call gives the same"), ("random",),
        )  # fmt: skip
        yield Plant(
            61, "print left", layer, wrong_methods(layer, backward=_printing),
            (CONTRACT + "prints nothing",), ("prints",), ({},), kinds,
        )  # fmt: skip
    for layer in WEIGHTED:
        yield Plant(
            51, "accumulates", layer, wrong_methods(layer, backward=_accumulates),
            (CONTRACT + "second call gives the same",), ("accumulates",), ({},), ("distinct",),
        )  # fmt: skip
    for layer in ("Linear", "Conv1d", "Softmax", "GELU", "AvgPool2d", "LogSoftmax", "Conv3d"):
        yield Plant(
            53, "clipped", layer, wrong_gradient(layer, "x", lambda g, *a: np.clip(g, -0.1, 0.1)),
            ("grad_x",), ("clipped",),
        )  # fmt: skip
        yield Plant(
            53, "norm clipped", layer, wrong_gradient(layer, "x", _clipped_norm), ("grad_x",),
            ("clipped",),
        )  # fmt: skip
    for layer in (*known(*SMOOTH), "ReLU", "LogSoftmax", "AvgPool2d", "MaxPool2d", "Conv1d"):
        yield Plant(
            54, "upstream ignored", layer,
            wrong_methods(
                layer, backward=lambda s, p, x, u: p.backward(x, np.ones_like(u))
            ),
            ("grad_x",) if layer not in WEIGHTED else ("grad_x", "grad_weights", "grad_bias"),
            ("upstream-ignored",),
        )  # fmt: skip
    for layer in ("MSELoss", "L1Loss", "CrossEntropyLoss", "BCELoss"):
        yield Plant(
            54, "upstream ignored", layer,
            wrong_methods(layer, backward=lambda s, p, x, t, u: p.backward(x, t, 1.0)),
            ("grad_prediction",), ("upstream-ignored",),
        )  # fmt: skip
    for layer, change in (
        ("ReLU", lambda g, s, x, u: u * (x >= 0)),
        ("Hardtanh", lambda g, s, x, u: u * ((x >= -1) & (x <= 1))),
        ("ReLU6", lambda g, s, x, u: u * ((x >= 0) & (x <= 6))),
        ("Hardswish", lambda g, s, x, u: np.where(x == 3, 1.5 * u, g)),
        ("Softshrink", lambda g, s, x, u: u * (np.abs(x) >= 0.5)),
    ):
        yield Plant(
            56, "other side of the kink", layer, wrong_gradient(layer, "x", change), ("grad_x",),
            ("kink-convention", "option-convention"), ({},), ("distinct", "kinks"),
        )  # fmt: skip
    for layer, forward in (
        ("Sigmoid", lambda s, p, x: np.exp(x) / (1 + np.exp(x))),
        ("Softmax", lambda s, p, x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)),
        ("LogSoftmax", lambda s, p, x: x - np.log(np.exp(x).sum(axis=-1, keepdims=True))),
        ("Tanh", lambda s, p, x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))),
        ("Softplus", lambda s, p, x: np.log(1 + np.exp(x))),
        ("LogSigmoid", lambda s, p, x: -np.log(1 + np.exp(-x))),
    ):
        yield Plant(
            57, "overflow", layer, wrong_methods(layer, forward=forward), ("output",),
            ("overflow",), ({},), ("distinct", "extreme"),
        )  # fmt: skip
    for layer in ("Linear", "Sigmoid", "Tanhshrink", "MSELoss", "GELU"):
        quantity = "prediction" if layer == "MSELoss" else "x"
        yield Plant(
            58, "matrix", layer, wrong_gradient(layer, quantity, lambda g, *a: np.asmatrix(g)),
            (CONTRACT + "returns plain arrays",), ("np-matrix",), ({},), ("distinct",),
        )  # fmt: skip
    for layer in ("Sigmoid", "Linear", "GELU", "AvgPool1d", "Conv1d"):
        yield Plant(
            59, "memory order assumed", layer, wrong_methods(layer, forward=_by_memory),
            ("output",), ("memory-layout",), ({},), ("distinct",), ALL_MEMORY,
        )  # fmt: skip
    for layer, name, use in (
        ("Linear", "float", lambda np: np.zeros(3, dtype=np.float)),
        ("Conv2d", "pad", lambda np: np.lib.pad(np.zeros(3), 1)),
        ("MSELoss", "product", lambda np: np.product([1, 2])),
        ("GELU", "bool", lambda np: np.zeros(3, dtype=np.bool8)),
        ("LogSoftmax", "float_", lambda np: np.float_(1)),
        ("AvgPool1d", "Inf", lambda np: np.Inf),
        ("Conv1d", "int", lambda np: np.zeros(3, dtype=np.int)),
    ):
        yield Plant(
            62, f"numpy {name} removed", layer, wrong_methods(layer, backward=_removed(name, use)),
            ("output",), ("removed-numpy-api",), ({},), ("distinct",),
        )  # fmt: skip
