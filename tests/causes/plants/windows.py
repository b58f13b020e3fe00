"""Mistakes of convolution, pooling and padding: 33 to 42."""

from __future__ import annotations

from itertools import product

import numpy as np

from plants.plant import Plant, known, with_parameter, wrong_forward, wrong_gradient, wrong_methods
from plants.reduction import CONVOLUTIONS
from reference_nn import windows as lib
from reference_nn.convolution import _matrix, _rows

KERNELS = [name for name in CONVOLUTIONS if "Transpose" not in name]
POOLS = ["MaxPool2d", "MaxPool1d", "MaxPool3d", "AvgPool2d", "AvgPool1d", "AvgPool3d"]
PADDED = ({}, {"padding": 1})


def _amount(layer):
    """The padding in front of each axis of space, however the layer holds it."""
    return [p[0] if isinstance(p, tuple) else p for p in layer.padding]


def _negative_slice(g, layer, *arguments):
    padded = np.pad(g, [(0, 0), (0, 0), *((p, p) for p in _amount(layer))])
    return padded[(..., *(slice(p, -p) for p in _amount(layer)))]


def _not_cropped(g, layer, *arguments):
    """The corner of the padded gradient instead of its middle: all is shifted by the padding."""
    pads = [(p, 0) for p in _amount(layer)]
    grown = np.pad(g, [(0, 0), (0, 0), *pads])
    return grown[(..., *(slice(0, n) for n in g.shape[2:]))].copy()


def _without_padding(self, parent, x, upstream):
    kept, self.padding = self.padding, type(self.padding)((0, 0) if isinstance(p, tuple) else 0
                                                          for p in self.padding)  # fmt: skip
    try:
        return parent.backward(x, upstream)
    finally:
        self.padding = kept


def _zero_padding(self, parent, x):
    grown = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in self.padding)])
    kept, self.padding = self.padding, (0,) * self.n
    try:
        return parent.forward(grown)
    finally:
        self.padding = kept


def _assigned(patches, size, stride, dilation):
    """`add_windows` with = in the place of +=, window after window."""
    n = len(size)
    lead = patches.shape[: patches.ndim - 2 * n]
    count, kernel = patches.shape[len(lead) : len(lead) + n], patches.shape[len(lead) + n :]
    total = np.zeros((*lead, *size))
    for position in product(*map(range, count)):
        spans = (
            slice(p * s, p * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(position, stride, dilation, kernel, strict=True)
        )
        total[(..., *spans)] = patches[(slice(None),) * len(lead) + position]
    return total


def _pool_assigned(self, parent, patches, x, pads):
    size = [n + a + b for n, (a, b) in zip(x.shape[2:], pads, strict=True)]
    return lib.crop(_assigned(patches, size, self.stride, self.dilation), pads)


def _conv_assigned(g, self, x, upstream):
    padded = lib.pad(x, self.padding)
    rows = _rows(upstream, 1) @ _matrix(self.weights, 1).transpose(0, 2, 1)
    split = rows.reshape(len(x), *upstream.shape[2:], *self.weights.shape[1:])
    patches = np.moveaxis(split, 1 + self.n, 1)
    return lib.crop(_assigned(patches, padded.shape[2:], self.stride, self.dilation), self.padding)


def _every_maximum(g, self, x, upstream):
    pads = self._pads(x)
    best = self.forward(x)
    view = lib.windows(lib.pad(x, pads, -np.inf), self.kernel_size, self.stride, self.dilation)
    grow = (1,) * self.n
    patches = (view == best.reshape(*best.shape, *grow)) * upstream.reshape(*best.shape, *grow)
    return self._add(patches, x, pads)


def _flipped(self, parent, *arguments):
    axes = tuple(range(2, self.weights.ndim))
    return with_parameter(self, parent, "weights", np.flip(self.weights, axes), *arguments)


def _size_without_padding(self, parent, x):
    k, s = self.kernel_size, self.stride
    size = [(n - a) // b + 1 for n, a, b in zip(x.shape[2:], k, s, strict=True)]
    output = np.zeros((*x.shape[:2], *size))
    output[...] = parent.forward(x)
    return output


def plants():
    for layer in ("MaxPool2d", "AvgPool1d"):
        yield Plant(
            37, "size without padding", layer, wrong_methods(layer, forward=_size_without_padding),
            ("output",), ("shapes-do-not-fit", "only-with-padding"), PADDED,
        )  # fmt: skip
    for layer in (*KERNELS, *POOLS):
        yield Plant(
            33, "pad to minus pad", layer, wrong_gradient(layer, "x", _negative_slice),
            ("grad_x",), ("empty-slice",), PADDED,
        )  # fmt: skip
        yield Plant(
            35, "padding not cut", layer, wrong_gradient(layer, "x", _not_cropped),
            ("grad_x",), ("padding-offset",), PADDED,
        )  # fmt: skip
        yield Plant(
            34, "unpadded in backward", layer, wrong_methods(layer, backward=_without_padding),
            ("output", "grad_x", "grad_weights"), ("only-with-padding", "padding-offset"), PADDED,
        )  # fmt: skip
    for layer in ("MaxPool2d", "MaxPool1d", "MaxPool3d"):
        yield Plant(
            36, "zeros for padding", layer, wrong_methods(layer, forward=_zero_padding),
            ("output",), ("zero-padding",), PADDED,
        )  # fmt: skip
        yield Plant(
            39, "every maximum", layer, wrong_gradient(layer, "x", _every_maximum), ("grad_x",),
            ("ties",), ({}, {"stride": 1}), ("distinct", "batch=1", "ties"),
        )  # fmt: skip
    for layer in POOLS:
        pool = {"dilation": (1, 1, 1)} if layer.startswith("Avg") else {}
        yield Plant(
            38, "assigned where windows overlap", layer,
            wrong_methods(layer, _add=_pool_assigned) if not pool else wrong_methods(
                layer,
                _add=lambda s, p, patches, x, pads: lib.crop(
                    _assigned(
                        patches, [n + a + b for n, (a, b) in zip(x.shape[2:], pads, strict=True)],
                        s.stride, (1,) * s.n,
                    ),
                    pads,
                ),
            ),
            ("grad_x",), ("overwritten",), ({}, {"stride": 1}),
        )  # fmt: skip
    for layer in KERNELS:
        yield Plant(
            38, "assigned where windows overlap", layer,
            wrong_gradient(layer, "x", _conv_assigned), ("grad_x",), ("overwritten",),
        )  # fmt: skip
        yield Plant(
            40, "bias per input channel", layer,
            wrong_forward(
                layer,
                lambda y, s, x: y + (x.shape[1] - 1) * s.bias.reshape(-1, *(1,) * (y.ndim - 2)),
            ),
            ("output",), ("parameter-several-times",),
        )  # fmt: skip
        yield Plant(
            41, "bias times depth", layer,
            wrong_gradient(layer, "bias", lambda g, s, x, *a: g * x.shape[1]), ("grad_bias",),
            ("multiplied-by-size",),
        )  # fmt: skip
    for layer in known(*CONVOLUTIONS):
        yield Plant(
            42, "kernel flipped", layer, wrong_methods(layer, backward=_flipped), ("grad_x",),
            ("parameter-flipped",),
        )  # fmt: skip
