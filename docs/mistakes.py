"""The mistakes of the gallery: a typical one for every family, planted in reference_nn's layers.

`MISTAKES` follows the catalogue's families; a test demands one for each, and that the report names it
by the cause that stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import reference_nn as nn


@dataclass(frozen=True)
class Mistake:
    """One entry of the gallery.

    Attributes:
        family: a module of crosscheck.families.
        what: the mistake in a few words.
        layer: the catalogue's name of what it is planted in.
        wrong: the wrong class or function; for a network the list of its layers.
        cause: the slug that the report has to name it by.
        arguments: of `crosscheck.check`, besides.
    """

    family: str
    what: str
    layer: str
    wrong: Any
    cause: str
    arguments: Mapping[str, Any] = field(default_factory=lambda: {"options": {}})

    @property
    def source(self) -> Any:
        """What is shown: the class that has the mistake."""
        return self.wrong[1] if isinstance(self.wrong, list) else self.wrong


# --- layers with weights ----------------------------------------------------------------------


class BiasNotSummed(nn.Linear):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = np.copy(grad_output)
        return grad_x


class LastSampleOnly(nn.Bilinear):
    def backward(self, x1, x2, grad_output):
        grads = super().backward(x1, x2, grad_output)
        for sample in range(len(x1)):
            self.grad_bias = grad_output[sample].copy()  # = for +=
        return grads


class Unflipped(nn.Conv2d):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights[..., ::-1, ::-1].copy()
        return grad_x


class BiasNotSummedOverSpace(nn.ConvTranspose2d):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = grad_output.sum(axis=0)
        return grad_x


class LastIndexWins(nn.Embedding):
    def backward(self, x, grad_output):
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_weights[x] += grad_output  # a repeated index counts once


class Unscaled(nn.ScaledDotProductAttention):
    def backward(self, *arguments):
        query = arguments[0]
        grad_query, *rest = super().backward(*arguments)
        return grad_query * query.shape[-1] ** 0.5, *rest


class KeysFirst(nn.MultiheadAttention):
    def forward(self, *arguments):
        return self._reordered(super().forward, *arguments)

    def backward(self, *arguments):
        return self._reordered(super().backward, *arguments)

    def _reordered(self, run, *arguments):
        weight, bias = self.in_proj_weight, self.in_proj_bias
        key, query, value = np.split(np.arange(len(weight)), 3)  # PyTorch has q, k, v
        order = np.concatenate([query, key, value])
        self.in_proj_weight, self.in_proj_bias = weight[order], bias[order]
        found = run(*arguments)
        for name in ("grad_in_proj_weight", "grad_in_proj_bias"):
            setattr(self, name, getattr(self, name)[order])
        self.in_proj_weight, self.in_proj_bias = weight, bias
        return found


class PreNorm(nn.TransformerEncoderLayer):
    def __init__(self, d_model, nhead, dim_feedforward):
        super().__init__(d_model, nhead, dim_feedforward, norm_first=True)


# --- activations ------------------------------------------------------------------------------


class DerivativeOfTheInput(nn.Tanh):
    def backward(self, x, grad_output):
        return grad_output * (1 - x**2)  # 1 − tanh(x)² is meant


class WritesIntoItsInput(nn.ReLU):
    def forward(self, x):
        x[x < 0] = 0
        return x.copy()


class ElementByElement(nn.Softmax):
    def backward(self, x, grad_output):
        p = self.forward(x)
        return grad_output * p * (1 - p)


# --- losses -----------------------------------------------------------------------------------


class NoHalving(nn.MSELoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) / 2


class NoSoftmax(nn.CrossEntropyLoss):
    def backward(self, prediction, target, grad_output=1.0):
        one_hot = np.eye(prediction.shape[1])[target]
        return grad_output * (prediction - one_hot) / len(prediction)


class SameSignTwice(nn.MarginRankingLoss):
    def backward(self, x1, x2, target, grad_output=1.0):
        grad_x1, _ = super().backward(x1, x2, target, grad_output)
        return grad_x1, grad_x1.copy()  # x1 − x2: one of them has a minus


class NoLengths(nn.CTCLoss):
    def forward(self, *arguments):
        return nn.CTCLoss(self.blank, "sum").forward(*arguments) / arguments[0].shape[1]

    def backward(self, *arguments):
        *given, grad_output = arguments
        samples = given[0].shape[1]
        return nn.CTCLoss(self.blank, "sum").backward(*given, grad_output / samples)


# --- pooling, folding, padding, resizing ------------------------------------------------------


class EveryMaximum(nn.MaxPool2d):
    def backward(self, x, grad_output):
        grad_x = np.zeros_like(x)
        (a, b), (down, right) = self.kernel_size, self.stride
        for i, j in np.ndindex(*grad_output.shape[2:]):
            at = (..., slice(i * down, i * down + a), slice(j * right, j * right + b))
            largest = x[at].max(axis=(2, 3), keepdims=True)
            grad_x[at] += (x[at] == largest) * grad_output[..., i : i + 1, j : j + 1]
        return grad_x


class WindowsOverwrite(nn.AdaptiveAvgPool1d):
    def backward(self, x, grad_output):
        grad_x = np.zeros_like(x)
        size, count = x.shape[2], grad_output.shape[2]
        for i in range(count):
            start, stop = i * size // count, -(-(i + 1) * size // count)
            grad_x[..., start:stop] = grad_output[..., i : i + 1] / (stop - start)  # = for +=
        return grad_x


class ShapeForgotten(nn.Fold):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        return grad_x.reshape(len(x), -1)


class PaddingCut(nn.ReflectionPad1d):
    def backward(self, x, grad_output):
        ((before, after),) = self.padding
        return grad_output[..., before : grad_output.shape[2] - after].copy()


class EveryOther(nn.Upsample):
    def backward(self, x, grad_output):
        return grad_output[..., ::2, ::2].copy()  # four copies were made of each element


class NotReshaped(nn.Flatten):
    def backward(self, x, grad_output):
        return grad_output.copy()


# --- normalization, dropout, similarity -------------------------------------------------------


class ConstantStatistics(nn.LayerNorm):
    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        return grad_output * self.weights / deviation


class KerasMomentum(nn.BatchNorm2d):
    def __init__(self, num_features, momentum=0.1, **options):
        super().__init__(num_features, momentum=1 - momentum, **options)


class NotScaledBack(nn.Dropout):
    def backward(self, x, grad_output):
        return grad_output * self.mask


class Exchanged(nn.CosineSimilarity):
    def backward(self, x1, x2, grad_output):
        grad_x1, grad_x2 = super().backward(x1, x2, grad_output)
        return grad_x2, grad_x1


# --- recurrence and networks ------------------------------------------------------------------


class NoTimeTravel(nn.RNN):
    def backward(self, x, h0, grad_output, grad_h):
        grad_x = np.zeros_like(x)
        for t in range(len(x)):  # each step's output gives a gradient to that step's input only
            alone = np.zeros_like(grad_output)
            alone[t] = grad_output[t]
            last = grad_h if t == len(x) - 1 else np.zeros_like(grad_h)
            grad_x[t] = super().backward(x, h0, alone, last)[0][t]
        _, grad_h0 = super().backward(x, h0, grad_output, grad_h)
        return grad_x, grad_h0


class ForgetsTheState(nn.GRUCell):
    def backward(self, x, h, grad_output):
        grad_x, grad_h = super().backward(x, h, grad_output)
        return grad_x, np.zeros_like(grad_h)


class WrongSigmoid(nn.Sigmoid):
    def backward(self, x, grad_output):
        return grad_output * x * (1 - x)  # y (1 − y) is meant


# --- optimizers and what surrounds them -------------------------------------------------------


class AveragedMomentum(nn.SGD):
    def update(self, p, g, state):
        b = self.momentum * state["momentum_buffer"] + (1 - self.momentum) * g
        state["momentum_buffer"] = b
        p -= self.lr * b


class BiasUncorrected(nn.Adam):
    def update(self, p, g, state):
        m = state["exp_avg"] = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        v = state["exp_avg_sq"] = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * g * g
        p -= self.lr * m / (np.sqrt(v) + self.eps)


class EpsUnderTheRoot(nn.RMSprop):
    def update(self, p, g, state):
        v = state["square_avg"] = self.alpha * state["square_avg"] + (1 - self.alpha) * g * g
        p -= self.lr * g / np.sqrt(v + self.eps)


class NotAhead(nn.Muon):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **{**options, "nesterov": False})


class OneStepLate(nn.StepLR):
    def __call__(self, step):
        return super().__call__(max(step - 1, 0))


def clip_each_alone(gradients, max_norm, norm_type=2.0, convention="torch"):
    norms = [nn.clip_grad_norm_([g], max_norm, norm_type) for g in gradients]
    return float(np.linalg.norm(norms, norm_type))


def zeros(weights, rng):
    weights[...] = 0


def fan_out_meant(weights, rng):
    bound = np.sqrt(6 / np.prod(weights.shape[1:]))  # fan_in; ours is mode="fan_out"
    weights[...] = rng.uniform(-bound, bound, weights.shape)


#: Families that are asked for no gradient.
NO_GRADIENT = ("optimizers", "adam", "adaptive_optimizers", "matrix_optimizers", "schedules")

#: Initialisers: name, the mistake in a few words, what draws, and a part of what is said of it.
INITIALISERS = (
    ("kaiming_uniform_", "the wrong fan", fan_out_meant, "fan_in stands for fan_out"),
    ("xavier_normal_", "all weights are zero", zeros, "nothing is drawn"),
)

MISTAKES = (
    Mistake("linear", "the bias gradient is not summed over the batch", "Linear", BiasNotSummed,
            "not-summed-over-batch", {}),
    Mistake("bilinear", "a loop over the samples keeps the last one", "Bilinear", LastSampleOnly,
            "overwritten"),
    Mistake("convolution", "the kernel's gradient is flipped", "Conv2d", Unflipped, "reversed"),
    Mistake("transposed_convolution", "the bias gradient is not summed over the positions",
            "ConvTranspose2d", BiasNotSummedOverSpace, "partly-summed"),
    Mistake("embedding", "an index that occurs twice keeps one gradient only", "Embedding",
            LastIndexWins, "overwritten"),
    Mistake("activations", "the derivative is taken at the wrong variable", "Tanh",
            DerivativeOfTheInput, "wrong-variable", {}),
    Mistake("rectifiers", "the input is written into", "ReLU", WritesIntoItsInput, "mutates-input"),
    Mistake("softmax", "taken as if it were element by element", "Softmax", ElementByElement,
            "diagonal-jacobian", {}),
    Mistake("losses", "the factor 2 is missing", "MSELoss", NoHalving, "constant-factor", {}),
    Mistake("classification_losses", "logits are taken for probabilities", "CrossEntropyLoss", NoSoftmax,
            "softmax-left-out"),
    Mistake("embedding_losses", "both inputs get the same gradient", "MarginRankingLoss", SameSignTwice,
            "sign-flipped"),
    Mistake("ctc", "the mean does not divide by the lengths of the targets", "CTCLoss", NoLengths,
            "mean-over-samples"),
    Mistake("pooling", "every one of several equal maxima gets the gradient", "MaxPool2d", EveryMaximum,
            "ties"),
    Mistake("adaptive_pooling", "windows that overlap overwrite each other", "AdaptiveAvgPool1d",
            WindowsOverwrite, "overwritten"),
    Mistake("folding", "an axis too few", "Fold", ShapeForgotten, "extra-axis"),
    Mistake("padding", "what comes back to the padding is cut off", "ReflectionPad1d", PaddingCut,
            "padding-dropped"),
    Mistake("upsampling", "only one of the copies gives its gradient back", "Upsample", EveryOther,
            "overwritten"),
    Mistake("shape", "the gradient keeps the output's shape", "Flatten", NotReshaped, "extra-axis"),
    Mistake("normalization", "mean and variance taken as constants", "LayerNorm", ConstantStatistics,
            "statistics-constant"),
    Mistake("batch_normalization", "the momentum is the weight of the old value", "BatchNorm2d",
            KerasMomentum, "momentum-complement"),
    Mistake("dropout", "the scale is left out of the backward pass", "Dropout", NotScaledBack,
            "option-factor"),
    Mistake("similarity", "two gradients are exchanged", "CosineSimilarity", Exchanged,
            "another-quantity"),
    Mistake("attention", "the scale is left out of one gradient", "ScaledDotProductAttention", Unscaled,
            "root-of-size"),
    Mistake("multihead_attention", "keys and queries change places", "MultiheadAttention", KeysFirst,
            "projection-order"),
    Mistake("transformer", "normalized before the branches, not after", "TransformerEncoderLayer",
            PreNorm, "option-norm_first"),
    Mistake("recurrent", "no gradient flows back in time", "RNN", NoTimeTravel, "later-steps-ignored"),
    Mistake("recurrent_cells", "no gradient for the state before", "GRUCell", ForgetsTheState, "zero"),
    Mistake("containers", "one layer of three is wrong", "Sequential",
            [nn.Linear, WrongSigmoid, nn.Linear], "wrong-variable"),
    Mistake("optimizers", "the momentum is an average", "SGD", AveragedMomentum, "momentum-averaged",
            {"options": {"momentum": 0.9}}),
    Mistake("adam", "the moments start at zero, and nobody corrects for it", "Adam", BiasUncorrected,
            "no-bias-correction"),
    Mistake("adaptive_optimizers", "eps under the root", "RMSprop", EpsUnderTheRoot, "eps-inside-root"),
    Mistake("matrix_optimizers", "no look ahead", "Muon", NotAhead, "nesterov-missing"),
    Mistake("schedules", "every rate comes a step late", "StepLR", OneStepLate, "one-step-late"),
    Mistake("schedules", "each gradient is clipped by its own norm", "clip_grad_norm_", clip_each_alone,
            "clipped-each-alone"),
)  # fmt: skip
