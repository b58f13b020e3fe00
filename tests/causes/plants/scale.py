"""Mistakes of scale: 1 to 13."""

from __future__ import annotations

import numpy as np

from plants.plant import Plant, known, wrong_gradient

ELEMENTS = ["MSELoss", "HuberLoss", "L1Loss", "SmoothL1Loss", "BCEWithLogitsLoss", "KLDivLoss",
            "PoissonNLLLoss"]  # fmt: skip
LOSSES = [*ELEMENTS, "BCELoss", "CrossEntropyLoss", "NLLLoss"]
WEIGHTED = known(
    "Linear", "Conv2d", "Conv1d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "Bilinear",
)  # fmt: skip
GRADIENT = ("grad_prediction",)


def _loss(number, mistake, layer, change, causes, options=({},)):
    make = wrong_gradient(layer, "prediction", change)
    return Plant(number, mistake, layer, make, GRADIENT, causes, options)


def plants():
    for layer in LOSSES:
        yield _loss(1, "half", layer, lambda g, *a: g / 2, ("constant-factor",))
        yield _loss(
            2, "no 1 over N", layer, lambda g, s, p, *a: g * len(p), ("multiplied-by-size",)
        )
        yield _loss(
            5, "times N", layer, lambda g, s, p, *a: g * len(p), ("multiplied-by-size",),
            ({"reduction": "sum"},),
        )  # fmt: skip
        yield _loss(
            6, "1 over N twice", layer, lambda g, s, p, *a: g / len(p), ("divided-by-size",)
        )
    for layer in ELEMENTS:
        yield _loss(
            3, "over N only", layer, lambda g, s, p, *a: g * p.shape[1], ("multiplied-by-size",)
        )
        yield _loss(
            4, "no 1 over NC", layer, lambda g, s, p, *a: g * p.size, ("multiplied-by-size",)
        )
        yield _loss(
            8, "C over N", layer, lambda g, s, p, *a: g * p.shape[1] / len(p), ("ratio-of-sizes",)
        )
    for layer in WEIGHTED:
        for name in ("weights", "bias"):
            yield Plant(
                6, f"{name} 1 over N", layer,
                wrong_gradient(layer, name, lambda g, s, x, *a: g / len(x)),
                (f"grad_{name}",), ("divided-by-size",),
            )  # fmt: skip
        yield Plant(
            9, "bias is a mean", layer,
            wrong_gradient(
                layer, "bias",
                lambda g, s, *a: a[-1].mean(axis=(0, *range(2, a[-1].ndim))),
            ),
            ("grad_bias",), ("divided-by-size",),
        )  # fmt: skip
        yield Plant(
            11, "lambda without sign", layer,
            wrong_gradient(layer, "weights", lambda g, *a: g + 0.01),
            ("grad_weights",), ("constant-offset",),
        )  # fmt: skip
        yield Plant(
            11, "L1 decay", layer,
            wrong_gradient(layer, "weights", lambda g, s, *a: g + 0.01 * np.sign(s.weights)),
            ("grad_weights",), ("weight-decay",),
        )  # fmt: skip
        yield Plant(
            12, "weight decay", layer,
            wrong_gradient(layer, "weights", lambda g, s, *a: g + 0.02 * s.weights),
            ("grad_weights",), ("weight-decay",),
        )  # fmt: skip
        yield Plant(
            13, "weight decay subtracted", layer,
            wrong_gradient(layer, "weights", lambda g, s, *a: g - 0.1 * s.weights),
            ("grad_weights",), ("weight-decay",),
        )  # fmt: skip
    for layer in known("Dropout"):
        yield Plant(
            10, "no 1 over 1-p", layer, wrong_gradient(layer, "x", lambda g, s, *a: g * (1 - s.p)),
            ("grad_x",), ("option-factor",), ({"p": 0.3}, {"p": 0.25}),
        )  # fmt: skip
