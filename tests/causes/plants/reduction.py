"""Mistakes of reduction, broadcasting and shape: 23 to 32."""

from __future__ import annotations

import numpy as np

from plants.plant import Plant, known, wrong_forward, wrong_gradient, wrong_methods
from plants.scale import WEIGHTED

CONVOLUTIONS = [name for name in WEIGHTED if name.startswith("Conv")]


def _bias(number, mistake, layer, change, causes):
    return Plant(
        number, mistake, layer, wrong_gradient(layer, "bias", change), ("grad_bias",), causes
    )


def _pairs(self, parent, prediction, target):
    grown = np.broadcast_arrays(prediction[:, None], target[None])
    return parent.forward(*map(np.array, grown))


def _swapped_kernel(layer):
    import reference_nn as nn

    base = getattr(nn, layer)

    class Wrong(base):
        def __init__(self, kernel_size, **options):
            super().__init__(kernel_size[::-1], **options)

    Wrong.__name__ = f"My{layer}"
    return Wrong


def plants():
    for layer in WEIGHTED:
        yield _bias(
            23, "not summed", layer, lambda g, s, *a: a[-1].copy(), ("not-summed-over-batch",)
        )
        yield _bias(24, "row for vector", layer, lambda g, *a: g[None], ("extra-axis",))
        yield _bias(24, "column for vector", layer, lambda g, *a: g[:, None], ("extra-axis",))
        yield _bias(
            27, "wrong axis", layer, lambda g, s, *a: a[-1].sum(axis=tuple(range(1, a[-1].ndim))),
            ("wrong-axis",),
        )  # fmt: skip
    for layer in CONVOLUTIONS:
        yield _bias(
            23, "over space only", layer,
            lambda g, s, *a: a[-1].sum(axis=tuple(range(2, a[-1].ndim))),
            ("not-summed-over-batch",),
        )  # fmt: skip
        yield _bias(
            25, "over batch only", layer, lambda g, s, *a: a[-1].sum(axis=0), ("partly-summed",)
        )
    for layer in ("MSELoss", "HuberLoss", "L1Loss", "SmoothL1Loss", "BCEWithLogitsLoss"):
        for reduction in ("mean", "sum"):
            yield Plant(
                26, f"every pair {reduction}", layer, wrong_methods(layer, forward=_pairs),
                ("output",), ("every-pair",), ({"reduction": reduction},),
            )  # fmt: skip
    for layer in ("Softmax", "LogSoftmax", "Softmin"):
        yield Plant(
            27, "other axis", layer,
            wrong_methods(
                layer, forward=lambda s, p, x: type(s).__mro__[1](dim=1).forward(x)
            ),
            ("output",), ("wrong-axis", "option-dim"),
        )  # fmt: skip
    yield Plant(
        27, "backward sums other axis", "Softmax",
        wrong_gradient(
            "Softmax", "x",
            lambda g, s, x, u: (y := s.forward(x)) * (u - (u * y).sum(axis=0, keepdims=True)),
        ),
        ("grad_x",), ("wrong-axis",),
    )  # fmt: skip
    yield Plant(
        28, "whole array", "Softmax",
        wrong_methods("Softmax", forward=lambda s, p, x: np.exp(x) / np.exp(x).sum()),
        ("output",), ("whole-array",),
    )  # fmt: skip
    yield Plant(
        28, "whole array", "Softmin",
        wrong_methods("Softmin", forward=lambda s, p, x: np.exp(-x) / np.exp(-x).sum()),
        ("output",), ("whole-array",),
    )  # fmt: skip
    yield Plant(
        28, "whole array", "LogSoftmax",
        wrong_methods("LogSoftmax", forward=lambda s, p, x: x - np.log(np.exp(x).sum())),
        ("output",), ("whole-array",),
    )  # fmt: skip
    for layer in WEIGHTED:
        yield Plant(
            29, "reshape for transpose", layer,
            wrong_gradient(
                layer, "weights", lambda g, *a: g.swapaxes(0, 1).copy().reshape(g.shape)
            ),
            ("grad_weights",), ("reshape-for-transpose",),
        )  # fmt: skip
    for layer in ("Conv2d", "ConvTranspose2d", "MaxPool2d", "AvgPool2d", "AvgPool3d"):
        yield Plant(
            30, "height and width swapped", layer,
            wrong_gradient(layer, "x", lambda g, *a: np.ascontiguousarray(g.swapaxes(-1, -2))),
            ("grad_x",), ("transposed",),
        )  # fmt: skip
    for layer in ("MaxPool2d", "AvgPool2d"):
        yield Plant(
            31, "kernel width for height", layer, _swapped_kernel(layer), ("output", "grad_x"),
            ("kernel-swapped",),
        )  # fmt: skip
    for layer in known("Linear", "Conv2d", "Conv1d", "Sigmoid", "LogSoftmax", "AvgPool2d", "GELU",
                       "ConvTranspose2d"):  # fmt: skip
        yield Plant(
            32, "squeezed", layer, wrong_forward(layer, lambda y, *a: y.squeeze()), ("output",),
            ("squeezed",),
        )  # fmt: skip
    for layer in ("Conv2d", "MaxPool2d", "Softmax", "ReLU", "Tanhshrink", "Conv3d", "AvgPool1d"):
        yield Plant(
            32, "gradient squeezed", layer, wrong_gradient(layer, "x", lambda g, *a: g.squeeze()),
            ("grad_x",), ("squeezed",),
        )  # fmt: skip
