"""Differences that an option sets: kinks, reductions, clamps, eps; and arguments in another order."""

from __future__ import annotations

import numpy as np

#: Kinds of cases: those of LeakyReLU and its like that sit on a kink, and those of no special point.
KINKS = ("distinct", "batch=1", "kinks")
PLAIN = ("distinct", "random0", "batch=1")

#: layer, what is fixed, slug, what is said, options, kinds of cases.
BY_OPTION = [
    ("LeakyReLU", {"convention": "jax"}, "option-convention", "JAX", {}, KINKS),
    ("PReLU", {"convention": "jax"}, "option-convention", "JAX", {}, KINKS),
    ("Hardtanh", {"convention": "jax"}, "option-convention", "JAX", {}, KINKS),
    ("L1Loss", {"convention": "jax"}, "option-convention", "JAX", {}, (*PLAIN, "equal")),
    ("HingeEmbeddingLoss", {"convention": "jax"}, "option-convention", "JAX", {},
     (*PLAIN, "at margin")),
    ("MarginRankingLoss", {"convention": "jax"}, "option-convention", "JAX", {}, (*PLAIN, "tied")),
    ("AdaptiveMaxPool1d", {"convention": "jax"}, "option-convention", "JAX", {}, (*KINKS, "ties")),
    ("BCELoss", {"convention": "jax"}, "option-convention", "JAX", {}, (*PLAIN, "certain")),
    ("GaussianNLLLoss", {"full": True}, "option-full", "full=True", {}, PLAIN),
    ("PoissonNLLLoss", {"full": True}, "option-full", "full=True", {}, PLAIN),
    ("MSELoss", {"reduction": "none"}, "option-reduction", "optax", {}, PLAIN),
    ("CrossEntropyLoss", {"reduction": "none"}, "option-reduction", "optax", {}, PLAIN),
    ("CrossEntropyLoss", {"label_smoothing": 0.0}, "option-label_smoothing", "0.0",
     {"label_smoothing": 0.1}, PLAIN),
    ("ELU", {"alpha": 1.0}, "option-alpha", "alpha=1.0", {"alpha": 0.5}, PLAIN),
    ("BatchNorm2d", {"momentum": 0.01}, "option-momentum", "0.01", {}, PLAIN),
    ("InstanceNorm1d", {"eps": 1e-3}, "option-eps", "Keras", {}, PLAIN),
    ("EmbeddingBag", {"mode": "sum"}, "option-mode", "sum", {}, PLAIN),
    ("TripletMarginLoss", {"swap": True}, "option-swap", "swap=True", {}, PLAIN),
    ("RNNCell", {"nonlinearity": "relu"}, "option-nonlinearity", "relu", {}, PLAIN),
    ("TransformerEncoderLayer", {"norm_first": True}, "option-norm_first", "True", {}, PLAIN),
    ("TransformerEncoderLayer", {"activation": "gelu"}, "option-activation", "gelu", {}, PLAIN),
    ("KLDivLoss", {"log_target": True}, "option-log_target", "log_target=True", {}, PLAIN),
    ("AvgPool2d", {"ceil_mode": True}, "option-ceil_mode", "ceil_mode=True", {"stride": 2},
     ("distinct", "random0", "random1", "random2")),
]  # fmt: skip


def exchanged(one, other):
    """Two arguments in each other's place: (y_true, y_pred) for (prediction, target)."""

    def swap(arguments):
        found = [*arguments]
        found[one], found[other] = found[other], found[one]
        return found

    return swap


def reversed_divergence(x, log_p, upstream=None):
    """KL(q‖p) as a mean over elements, q = exp(x); with an upstream gradient, that of x."""
    q = np.exp(x)
    if upstream is None:
        return (q * (x - log_p)).mean()
    return upstream * q * (x - log_p + 1) / x.size
