"""Layers that read their arrays with the axes in another order: channels last, kernels (h, w, in, out)."""

from __future__ import annotations

import inspect
from functools import wraps

import numpy as np

import reference_nn as nn


def reordered(layer, weights=None, data=None, skip=()):
    """A layer that keeps its weights, and reads and gives its data, in another order of axes.

    Args:
        weights: the axes of `weights`, in the order that the layer has.
        data: those of inputs and outputs of that many axes, but for the inputs numbered in `skip`.
    """
    base = getattr(nn, layer)
    back = None if weights is None else tuple(np.argsort(weights))

    def turned(arrays, axes, skipped=()):
        return [
            a.transpose(axes) if axes and i not in skipped and np.ndim(a) == len(axes) else a
            for i, a in enumerate(arrays)
        ]

    class Port(base):
        def __init__(self, *sizes, **options):
            super().__init__(*sizes, **options)
            if weights is not None:
                self.weights = np.ascontiguousarray(self.weights.transpose(weights))

        def _under(self, run, arguments):
            given = turned(arguments, data and tuple(np.argsort(data)), skip)
            if weights is None:
                found = run(*given)
            else:
                kept, self.weights = self.weights, self.weights.transpose(back)
                found = run(*given)
                self.weights = kept
            if isinstance(found, tuple):
                return tuple(turned(found, data, skip))
            return turned([found], data)[0]

        @wraps(base.forward)
        def forward(self, *inputs):
            return self._under(super().forward, inputs)

        @wraps(base.backward)
        def backward(self, *arguments):
            found = self._under(super().backward, arguments)
            if weights is not None:
                self.grad_weights = self.grad_weights.transpose(weights)
            return found

    Port.__name__ = f"My{layer}"
    Port.__signature__ = inspect.signature(base)
    return Port


class BatchFirst(nn.RNN):
    """(batch, time, features), whatever it is told."""

    def forward(self, x, h0):
        output, last = super().forward(x.swapaxes(0, 1), h0)
        return output.swapaxes(0, 1), last

    def backward(self, x, h0, grad_output, grad_last):
        turned = grad_output.swapaxes(0, 1)
        grad_x, grad_h0 = super().backward(x.swapaxes(0, 1), h0, turned, grad_last)
        return grad_x.swapaxes(0, 1), grad_h0


class SamplesFirst(nn.CTCLoss):
    """(batch, time, classes), as optax has it."""

    def forward(self, log_probs, *rest):
        return super().forward(log_probs.swapaxes(0, 1), *rest)

    def backward(self, log_probs, *rest):
        return super().backward(log_probs.swapaxes(0, 1), *rest).swapaxes(0, 1)


#: layer, class, what is said.
BY_AXIS = [
    ("Conv1d", reordered("Conv1d", (2, 1, 0), (0, 2, 1)), "the channels last"),
    ("Conv2d", reordered("Conv2d", (2, 3, 1, 0), (0, 2, 3, 1)), "the channels last"),
    ("Conv2d", reordered("Conv2d", None, (0, 2, 3, 1)), "flax, Keras and TensorFlow have (batch"),
    ("Conv3d", reordered("Conv3d", (2, 3, 4, 1, 0), (0, 2, 3, 4, 1)), "the channels last"),
    ("ConvTranspose2d", reordered("ConvTranspose2d", (2, 3, 0, 1), (0, 2, 3, 1)), "the channels last"),
    ("MaxPool2d", reordered("MaxPool2d", None, (0, 2, 3, 1)), "the channels last"),
    ("BatchNorm1d", reordered("BatchNorm1d", None, (0, 2, 1)), "the channels last"),
    ("GroupNorm", reordered("GroupNorm", None, (0, 2, 1)), "the channels last"),
    ("ScaledDotProductAttention", reordered("ScaledDotProductAttention", None, (0, 2, 1, 3)),
     "jax.nn.dot_product_attention"),
    ("RNN", BatchFirst, "samples and time exchanged"),
    ("CTCLoss", SamplesFirst, "samples and time exchanged"),
]  # fmt: skip
#: What needs no detective: the shapes of the class's own arrays say it, and it is a note.
RECOGNISED = [
    ("Conv2d", reordered("Conv2d", (2, 3, 1, 0)), "(kernel_height, kernel_width, in_channels/groups,"),
    ("ConvTranspose1d", reordered("ConvTranspose1d", (1, 0, 2)), "(out_channels/groups, in_channels,"),
    ("Bilinear", reordered("Bilinear", (1, 2, 0)), "(in1_features, in2_features, out_features)"),
]  # fmt: skip
