"""Unfold, Fold and PixelShuffle: elements moved, and added where windows overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from crosscheck.families.convolution import each, of_space
from crosscheck.families.points import extreme
from crosscheck.families.twins import torch_module
from crosscheck.spec import Layer, Problem, Shape, Tensor

_BLOCK_OPTIONS: Mapping[str, Any] = {"dilation": 1, "padding": 0, "stride": 1}
_BLOCK_VARIANTS: Sequence[Mapping[str, Any]] = (
    {"dilation": 2},
    {"padding": 1},
    {"stride": 2},
    {"stride": (2, 1), "padding": (0, 1)},
)


def _kernel(p: Problem) -> tuple[int, ...]:
    return of_space(p, 2, "kernel_")


def _counts(p: Problem) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    options = (each(p[name], 2) for name in _BLOCK_OPTIONS)
    parts = zip(of_space(p, 2), _kernel(p), *options, strict=True)
    return tuple((size + 2 * q - d * (k - 1) - 1) // s + 1 for size, k, d, q, s in parts)


def _windows_fit(p: Problem) -> str | None:
    return "the kernel does not fit" if min(_counts(p)) < 1 else None


def _block_axes(p: Problem) -> Shape:
    return p.batch, p.channels * p.kernel_height * p.kernel_width, math.prod(_counts(p))


def _jax_unfold(p: Problem, x: Any) -> Any:
    """Slices, one a place in the kernel.

    jax.lax.conv_general_dilated_patches is shorter, but XLA ends the process where it compiles its
    derivative for some sizes (jaxlib 0.10.2, a failed check in algebraic_simplifier.cc).
    """
    import jax.numpy as jnp

    (top, left), (down, right), steps = (
        each(p[name], 2) for name in ("padding", "stride", "dilation")
    )
    padded = jnp.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    rows, columns = _counts(p)
    places = [
        padded[
            :, :, a : a + down * (rows - 1) + 1 : down, b : b + right * (columns - 1) + 1 : right
        ]
        for a in range(0, steps[0] * p.kernel_height, steps[0])
        for b in range(0, steps[1] * p.kernel_width, steps[1])
    ]
    return jnp.stack(places, axis=2).reshape(*_block_axes(p))


def _jax_fold(p: Problem, x: Any) -> Any:
    import jax

    image = jax.numpy.zeros((p.batch, p.channels, p.height, p.width), x.dtype)
    return jax.vjp(lambda y: _jax_unfold(p, y), image)[1](x)[0]


def _torch_unfold(p: Problem) -> Any:
    import torch

    return torch.nn.Unfold(_kernel(p), **{k: p[k] for k in _BLOCK_OPTIONS})


def _torch_fold(p: Problem) -> Any:
    import torch

    return torch.nn.Fold((p.height, p.width), _kernel(p), **{k: p[k] for k in _BLOCK_OPTIONS})


def _jax_shuffle(p: Problem, x: Any) -> Any:
    r = p.upscale_factor
    split = x.reshape(p.batch, p.channels, r, r, p.height, p.width)
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(p.batch, p.channels, r * p.height, r * p.width)


def _jax_unshuffle(p: Problem, x: Any) -> Any:
    r = p.downscale_factor
    split = x.reshape(p.batch, p.channels, p.height, r, p.width, r)
    return split.transpose(0, 1, 3, 5, 2, 4).reshape(p.batch, -1, p.height, p.width)


_BLOCK_SIZES = {
    "batch": (2, 4),
    "channels": (2, 4),
    "height": (5, 8),
    "width": (5, 8),
    "kernel_height": (2, 4),
    "kernel_width": (2, 4),
}
_SHUFFLE_SIZES = {"batch": (2, 4), "channels": (2, 4), "height": (2, 5), "width": (2, 5)}
_LARGE = "batch channels {r}*height {r}*width"
_DEEP = "batch {r}*{r}*channels height width"

LAYERS = (
    Layer(
        "Unfold",
        inputs={"x": "batch channels height width"},
        outputs={"output": Tensor(_block_axes)},
        constructor=(_kernel,),
        options=_BLOCK_OPTIONS,
        variants=_BLOCK_VARIANTS,
        sizes=_BLOCK_SIZES,
        valid=_windows_fit,
        torch=_torch_unfold,
        jax=_jax_unfold,
        special={"extreme": extreme("x")},
    ),
    Layer(
        "Fold",
        inputs={"x": Tensor(_block_axes)},
        outputs={"output": "batch channels height width"},
        constructor=(lambda p: (p.height, p.width), _kernel),
        options=_BLOCK_OPTIONS,
        variants=_BLOCK_VARIANTS,
        sizes=_BLOCK_SIZES,
        valid=_windows_fit,
        torch=_torch_fold,
        jax=_jax_fold,
        special={"extreme": extreme("x")},
    ),
    Layer(
        "PixelShuffle",
        inputs={"x": _DEEP.format(r="upscale_factor")},
        outputs={"output": _LARGE.format(r="upscale_factor")},
        options={"upscale_factor": 2},
        variants=({"upscale_factor": 3},),
        sizes=_SHUFFLE_SIZES,
        torch=torch_module("PixelShuffle", "upscale_factor"),
        jax=_jax_shuffle,
        special={"extreme": extreme("x")},
    ),
    Layer(
        "PixelUnshuffle",
        inputs={"x": _LARGE.format(r="downscale_factor")},
        outputs={"output": _DEEP.format(r="downscale_factor")},
        options={"downscale_factor": 2},
        variants=({"downscale_factor": 3},),
        sizes=_SHUFFLE_SIZES,
        torch=torch_module("PixelUnshuffle", "downscale_factor"),
        jax=_jax_unshuffle,
        special={"extreme": extreme("x")},
    ),
)
