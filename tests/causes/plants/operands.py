"""Mistakes of operand, transposition and variable: 14 to 22."""

from __future__ import annotations

import numpy as np

from plants.plant import (
    Plant,
    known,
    one_hot,
    with_parameter,
    wrong_forward,
    wrong_gradient,
    wrong_methods,
)
from plants.scale import LOSSES, WEIGHTED

SMOOTH = ["Sigmoid", "Tanh", "SiLU", "GELU", "Softplus", "Mish", "Softsign", "LogSigmoid", "ELU",
          "CELU", "SELU", "Tanhshrink"]  # fmt: skip


def _gradient_for_parameter(self, parent, *arguments):
    parent.backward(*arguments)
    return with_parameter(self, parent, "weights", self.grad_weights, *arguments)


def _not_callable(self, parent, *arguments):
    return arguments[-1](1 - arguments[0])


def plants():
    for layer in WEIGHTED:
        yield Plant(
            14, "grad weights for weights", layer,
            wrong_methods(layer, backward=_gradient_for_parameter),
            ("grad_x",) if layer != "Bilinear" else ("grad_x1", "grad_x2"),
            ("gradient-for-parameter",),
        )  # fmt: skip
        if layer == "Bilinear":
            continue
        yield Plant(
            15, "weights transposed", layer,
            wrong_gradient(layer, "weights", lambda g, *a: np.ascontiguousarray(g.swapaxes(0, 1))),
            ("grad_weights",), ("transposed",),
        )  # fmt: skip
    yield Plant(
        16, "star for dot forward", "Linear",
        wrong_methods("Linear", forward=lambda s, p, x: x * s.weights + s.bias),
        ("output",), ("shapes-do-not-fit",),
    )  # fmt: skip
    yield Plant(
        16, "star for dot backward", "Linear",
        wrong_methods("Linear", backward=lambda s, p, x, g: g * s.weights.T),
        ("output",), ("shapes-do-not-fit",),
    )  # fmt: skip
    for layer, wrong in (
        ("Tanh", lambda g, s, x, u: u * (1 - x * x)),
        ("Sigmoid", lambda g, s, x, u: u * x * (1 - x)),
        ("Softmax", lambda g, s, x, u: x * (u - (u * x).sum(axis=s.dim, keepdims=True))),
    ):
        yield Plant(
            17, "wrong variable", layer, wrong_gradient(layer, "x", wrong), ("grad_x",),
            ("wrong-variable",),
        )  # fmt: skip
    for layer in known(*SMOOTH):
        yield Plant(
            18, "derivative at output", layer,
            wrong_gradient(layer, "x", lambda g, s, x, u: u * s.derivative(s.forward(x))),
            ("grad_x",), ("derivative-at-output",),
        )  # fmt: skip
    for layer in ("Sigmoid", "Softplus", "SiLU", "GELU", "Mish", "Hardtanh", "LogSigmoid",
                  "ELU", "Softmax", "LogSoftmax"):  # fmt: skip
        yield Plant(
            19, "sign of input lost", layer,
            wrong_methods(layer, forward=lambda s, p, x: p.forward(-x)), ("output",),
            ("one-minus", "sign-of-input"),
        )  # fmt: skip
    for layer in LOSSES:
        yield Plant(
            20, "sign flipped", layer, wrong_gradient(layer, "prediction", lambda g, *a: -g),
            ("grad_prediction",), ("sign-flipped",),
        )  # fmt: skip
    for layer in ("ReLU", "Linear", "Softplus", "Conv1d", "LogSoftmax", "AvgPool2d"):
        name = "weights" if layer in WEIGHTED else "x"
        yield Plant(
            20, "sign flipped", layer, wrong_gradient(layer, name, lambda g, *a: -g),
            (f"grad_{name}",), ("sign-flipped",),
        )  # fmt: skip
    for layer in ("Sigmoid", "Linear", "Tanh", "MSELoss", "Conv1d", "GELU", "AvgPool1d", "L1Loss"):
        yield Plant(
            21, "missing star", layer, wrong_methods(layer, backward=_not_callable), ("output",),
            ("missing-star",),
        )  # fmt: skip
    yield Plant(
        22, "no softmax", "CrossEntropyLoss",
        wrong_gradient(
            "CrossEntropyLoss", "prediction",
            lambda g, s, x, t, u: u * (x - one_hot(t, x.shape[1])) / len(x),
        ),
        ("grad_prediction",), ("softmax-left-out",),
    )  # fmt: skip
    yield Plant(
        22, "probabilities assumed", "CrossEntropyLoss",
        wrong_gradient(
            "CrossEntropyLoss", "prediction",
            lambda g, s, x, t, u: -u * one_hot(t, x.shape[1]) / x / len(x),
        ),
        ("grad_prediction",), ("softmax-left-out",),
    )  # fmt: skip
    yield Plant(
        22, "no sigmoid", "BCEWithLogitsLoss",
        wrong_gradient(
            "BCEWithLogitsLoss", "prediction", lambda g, s, x, t, u: u * (x - t) / x.size
        ),
        ("grad_prediction",), ("softmax-left-out",),
    )  # fmt: skip
    for layer in ("Linear", "Conv2d", "Conv1d", "Conv3d"):
        yield Plant(
            40, "bias left out", layer,
            wrong_forward(
                layer, lambda y, s, *a: y - s.bias.reshape(-1, *(1,) * (y.ndim - 2))
            ),
            ("output",), ("parameter-left-out",),
        )  # fmt: skip
