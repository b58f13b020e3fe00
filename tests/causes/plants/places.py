"""The right numbers at the wrong index, without their sign, rounded, or twice: 1, 20, 34, 55."""

from __future__ import annotations

import numpy as np

from plants.plant import Plant, wrong_gradient

#: Cases in which no axis has size 1, where there is no index to be off by.
SEVERAL = ("distinct", "random0", "random1")


def _late(g):
    """A loop from 1 that writes into index i what belongs to i − 1."""
    out = np.zeros_like(g)
    out[1:] = g[:-1]
    return out


def _up_to(axis):
    def change(g, *a):
        out = np.zeros_like(g)
        for i in range(g.shape[axis] - 1):
            at = (slice(None),) * axis + (i,)
            out[at] = g[at]
        return out

    return change


def plants():
    for layer, name in (
        ("RNN", "x"),
        ("Bilinear", "weights"),
        ("Conv1d", "weights"),
        ("LayerNorm", "bias"),
    ):
        yield Plant(
            34, f"an index late {name}", layer, wrong_gradient(layer, name, lambda g, *a: _late(g)),
            (f"grad_{name}",), ("index-off",), ({},), SEVERAL,
        )  # fmt: skip
        yield Plant(
            34, f"an index around {name}", layer,
            wrong_gradient(layer, name, lambda g, *a: np.roll(g, -1, axis=-1)),
            (f"grad_{name}",), ("index-off",), ({},), SEVERAL,
        )  # fmt: skip
    for layer, name, axis in (("Conv2d", "weights", 0), ("Linear", "x", 0), ("GRUCell", "weight_hh", 1),
                              ("BatchNorm1d", "weights", 0)):  # fmt: skip
        yield Plant(
            34, f"loop too short {name}", layer, wrong_gradient(layer, name, _up_to(axis)),
            (f"grad_{name}",), ("end-not-written",), ({},), SEVERAL,
        )  # fmt: skip
    for layer, name in (
        ("L1Loss", "prediction"),
        ("MSELoss", "prediction"),
        ("GRUCell", "bias_ih"),
    ):
        yield Plant(
            20, "sign lost", layer, wrong_gradient(layer, name, lambda g, *a: np.abs(g)),
            (f"grad_{name}",), ("sign-lost",),
        )  # fmt: skip
    # PyTorch is known to differ here, so its gradient is no measure.
    for layer, name in (("CTCLoss", "log_probs"), ("Hardsigmoid", "x")):
        yield Plant(
            20, "sign lost", layer, wrong_gradient(layer, name, lambda g, *a: np.abs(g)),
            (f"grad_{name}",), ("sign-lost",),
        )  # fmt: skip
    # Twice is twice, though an option is 2 as well: the p of a norm.
    yield Plant(
        1, "twice", "TripletMarginLoss", wrong_gradient("TripletMarginLoss", "anchor", lambda g, *a: 2 * g),
        ("grad_anchor",), ("constant-factor",),
    )  # fmt: skip
    for layer in ("Linear", "Conv1d", "LSTMCell"):
        name = "weight_ih" if layer == "LSTMCell" else "weights"
        yield Plant(
            55, "half precision", layer,
            wrong_gradient(layer, name, lambda g, *a: g.astype(np.float16).astype(g.dtype)),
            (f"grad_{name}",), ("float32-inside",),
        )  # fmt: skip
