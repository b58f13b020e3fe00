"""The mistakes of the gallery: one a family, planted in reference_nn's layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import reference_nn as nn


@dataclass(frozen=True)
class Mistake:
    """One entry of the gallery."""

    family: str
    what: str
    layer: str
    wrong: type
    arguments: Mapping[str, Any] = field(default_factory=dict)


class BiasNotSummed(nn.Linear):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = np.copy(grad_output)
        return grad_x


class DerivativeOfTheInput(nn.Tanh):
    def backward(self, x, grad_output):
        return grad_output * (1 - x**2)  # 1 − tanh(x)² is meant


class NoHalving(nn.MSELoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) / 2


class ElementByElement(nn.Softmax):
    def backward(self, x, grad_output):
        p = self.forward(x)
        return grad_output * p * (1 - p)


class Unflipped(nn.Conv2d):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights[..., ::-1, ::-1].copy()
        return grad_x


class EveryMaximum(nn.MaxPool2d):
    def backward(self, x, grad_output):
        found = super().backward(x, grad_output)
        return np.where(found != 0, np.abs(found), 0)


class ConstantStatistics(nn.LayerNorm):
    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        deviation = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        return grad_output * self.weights / deviation


class ForgetsLaterSteps(nn.GRUCell):
    def backward(self, x, h, grad_output):
        grad_x, grad_h = super().backward(x, h, grad_output)
        return grad_x, np.zeros_like(grad_h)


class Unscaled(nn.ScaledDotProductAttention):
    def backward(self, *arguments):
        query = arguments[0]
        grad_query, *rest = super().backward(*arguments)
        return grad_query * np.sqrt(query.shape[-1]), *rest


class LastIndexWins(nn.Embedding):
    def backward(self, x, grad_output):
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_weights[x] = grad_output  # = for +=


MISTAKES = (
    Mistake("Linear", "the bias gradient is not summed over the batch", "Linear", BiasNotSummed),
    Mistake("Activations", "the derivative is taken at the wrong variable", "Tanh", DerivativeOfTheInput),
    Mistake("Losses", "the factor 2 is missing", "MSELoss", NoHalving),
    Mistake("Softmax", "taken as if it were element by element", "Softmax", ElementByElement),
    Mistake("Convolution", "the kernel's gradient is flipped", "Conv2d", Unflipped, {"options": {}}),
    Mistake("Pooling", "the sign of the upstream gradient is lost", "MaxPool2d", EveryMaximum,
            {"options": {}}),
    Mistake("Normalization", "mean and variance taken as constants", "LayerNorm", ConstantStatistics,
            {"options": {}}),
    Mistake("Recurrence", "no gradient for the state before", "GRUCell", ForgetsLaterSteps,
            {"options": {}}),
    Mistake("Attention", "the scale is left out of one gradient", "ScaledDotProductAttention", Unscaled,
            {"options": {}}),
    Mistake("Embedding", "an index that occurs twice keeps one gradient only", "Embedding",
            LastIndexWins, {"options": {}}),
)  # fmt: skip
