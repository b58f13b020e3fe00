"""Mistakes of normalization, softmax and recurrence: 43 to 48."""

from __future__ import annotations

import numpy as np

import reference_nn as nn
from plants.plant import Plant, known, wrong_gradient, wrong_methods

NORMALIZATIONS = known(
    "BatchNorm2d", "BatchNorm1d", "BatchNorm3d", "LayerNorm", "GroupNorm", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d",
)  # fmt: skip
RECURRENT = known("RNN", "LSTM", "GRU")


def _statistics(x, layer):
    """x̂, σ and the axes of mean and variance, in the shape in which they are taken."""
    from reference_nn.normalization import standardize

    name = type(layer).__mro__[1].__name__
    if name.startswith("Batch"):
        axes = (0, *range(2, x.ndim))
    elif name.startswith("Instance"):
        axes = tuple(range(2, x.ndim))
    elif name == "LayerNorm":
        axes = tuple(range(x.ndim - len(layer.normalized_shape), x.ndim))
    else:
        x, axes = x.reshape(len(x), layer.num_groups, -1), (2,)
    normal, deviation, *_ = standardize(x, axes, layer.eps)
    return normal, deviation, axes


def _dropped(mean, scale):
    """The gradient without the part of the mean, or of the variance, or both."""

    def change(g, layer, x, upstream):
        normal, deviation, axes = _statistics(x, layer)
        grad = layer._affine_gradient(normal.reshape(x.shape), upstream).reshape(normal.shape)
        right = grad
        if not mean:
            right = right - grad.mean(axis=axes, keepdims=True)
        if not scale:
            right = right - normal * (grad * normal).mean(axis=axes, keepdims=True)
        return (right / deviation).reshape(x.shape)

    return change


def _truncated(self, parent, run, grad_output, grad):
    """No gradient goes from a step to the one before."""
    grad_output = grad_output[:: run.order]
    weight_ih = getattr(self, f"weight_ih{run.suffix}")
    weight_hh = getattr(self, f"weight_hh{run.suffix}")
    found = parent._run_backward(run, grad_output[:: run.order], grad)
    steps = []
    for t in reversed(range(len(run.x))):
        zero = tuple(np.zeros_like(part) for part in grad)
        own = grad if t == len(run.x) - 1 else zero
        a, u, past = self.gates.backward(
            run.kept[t], run.states[t], (own[0] + grad_output[t], *own[1:])
        )
        steps.append(a @ weight_ih)
        first = (u @ weight_hh + past[0], *past[1:])
    del found
    return np.stack(steps[::-1])[:: run.order], first


def _integer(self, parent, *arguments):
    parent.backward(*arguments)
    total = np.array(0)
    total += 0.5
    return total


def _activated(slope):
    """A layer whose backward goes through an activation behind it that its forward has not."""

    def backward(self, parent, x, upstream):
        return parent.backward(x, upstream * slope(parent.forward(x)))

    return backward


def plants():
    for layer, name, slope in (
        ("MSELoss", "sigmoid", lambda p: p * (1 - p)), ("BCELoss", "sigmoid", lambda p: p * (1 - p)),
        ("MSELoss", "tanh", lambda p: 1 - p**2), ("L1Loss", "relu", lambda p: p > 0),
    ):  # fmt: skip
        yield Plant(
            45, f"fused with a {name}", layer,
            wrong_gradient(layer, "prediction", lambda g, s, p, *a, slope=slope: g * slope(p)),
            ("grad_prediction",), ("activation-fused",),
        )  # fmt: skip
    for layer, name, slope in (
        ("Linear", "sigmoid", lambda y: y * (1 - y)), ("Conv1d", "relu", lambda y: (y > 0) * 1.0),
    ):  # fmt: skip
        yield Plant(
            45, f"a {name} behind it", layer, wrong_methods(layer, backward=_activated(slope)),
            ("grad_x", "grad_weights", "grad_bias"), ("activation-fused",),
        )  # fmt: skip
    yield Plant(
        7, "mean twice in a network", "Sequential",
        [wrong_gradient("Linear", "weights", lambda g, s, x, *a: g / len(x)), nn.Sigmoid, nn.Linear],
        ("grad_weights", "grad_0.weights"), ("divided-by-size", "constant-factor"),
    )  # fmt: skip
    for layer, change in (
        ("Softmax", lambda g, s, x, u: u * (y := s.forward(x)) * (1 - y)),
        ("LogSoftmax", lambda g, s, x, u: u * (1 - np.exp(s.forward(x)))),
        ("Softmin", lambda g, s, x, u: -u * (y := s.forward(x)) * (1 - y)),
    ):
        yield Plant(
            43, "element by element", layer, wrong_gradient(layer, "x", change), ("grad_x",),
            ("diagonal-jacobian",),
        )  # fmt: skip
    for layer in known("Softmax", "LogSoftmax", "Sigmoid", "Tanh", "GELU", "ELU", "LayerNorm",
                       "InstanceNorm2d"):  # fmt: skip
        yield Plant(
            44, "upstream returned", layer,
            wrong_gradient(layer, "x", lambda g, s, x, u: u.copy()), ("grad_x",),
            ("returns-upstream",),
        )  # fmt: skip
    for layer in NORMALIZATIONS:
        for mistake, without in (
            ("statistics constant", (True, True)),
            ("mean constant", (True, False)),
            ("variance constant", (False, True)),
        ):
            options = {"affine": True} if layer.startswith("Instance") else {}
            yield Plant(
                46, mistake, layer, wrong_gradient(layer, "x", _dropped(*without)), ("grad_x",),
                ("statistics-constant",), (options,), ("distinct", "random0", "random1"),
            )  # fmt: skip
    for layer in RECURRENT:
        yield Plant(
            47, "later states ignored", layer, wrong_methods(layer, _run_backward=_truncated),
            ("grad_x", "grad_h0", "grad_c0"), ("later-steps-ignored",),
        )  # fmt: skip
    for layer in ("Linear", "Sigmoid", "Conv1d", "L1Loss", "MaxPool1d"):
        yield Plant(
            48, "integer accumulator", layer, wrong_methods(layer, backward=_integer),
            ("output",), ("in-place-dtype",),
        )  # fmt: skip
