"""Upsampling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.convolution import SPACE, of_space
from crosscheck.families.points import extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Options, Problem, Tensor

#: A mode says how many axes of space there are; the nearest goes by what it is given.
DIMENSIONS = {"linear": 1, "bilinear": 2, "trilinear": 3}


def _dimensions(o: Any) -> int:
    given = o["scale_factor"] if o["size"] is None else o["size"]
    return DIMENSIONS.get(o["mode"], len(given) if isinstance(given, tuple) else 2)


def _inputs(o: Options) -> Mapping[str, Tensor | str]:
    return {"x": f"batch channels {' '.join(SPACE[_dimensions(o)])}"}


def _factors(p: Problem) -> tuple[float, ...]:
    n = _dimensions(p)
    factor = p.scale_factor
    return factor if isinstance(factor, tuple) else (factor,) * n


def _output(p: Problem) -> tuple[int, ...]:
    n = _dimensions(p)
    if p.size is not None:
        return p.size if isinstance(p.size, tuple) else (p.size,) * n
    return tuple(math.floor(k * f) for k, f in zip(of_space(p, n), _factors(p), strict=True))


def _fits(p: Problem) -> str | None:
    if (p.size is None) == (p.scale_factor is None):
        return "either a size or a scale_factor"
    if p.recompute_scale_factor and p.scale_factor is None:
        return "there is no scale_factor to recompute"
    if p.mode not in DIMENSIONS and p.align_corners is not None:
        return "nothing is interpolated: there are no corners to align"
    n = _dimensions(p)
    given = p.scale_factor if p.size is None else p.size
    if isinstance(given, tuple) and len(given) != n:
        return f"{given} does not fit mode={p.mode}"
    if p.mode == "nearest" and p.size is None and not p.recompute_scale_factor:
        for k, o, f in zip(of_space(p, n), _output(p), _factors(p), strict=True):
            if o in (k, 2 * k) and f != o / k:
                return "PyTorch's kernels disagree with each other here"  # see LEDGER
    return None


def _jax(p: Problem, x: Any) -> Any:
    """jax.image.resize where it is the same, its scale_and_translate or an index where not."""
    import jax

    n, shape = _dimensions(p), (*x.shape[:2], *_output(p))
    if p.mode == "nearest-exact" and (p.size is not None or p.recompute_scale_factor):
        return jax.image.resize(x, shape, "nearest")
    if p.mode not in DIMENSIONS:
        return _jax_nearest(p, x)
    sized = p.size is not None or p.recompute_scale_factor
    whole = sized or all(float(f).is_integer() for f in _factors(p))
    if not p.align_corners and whole:
        return jax.image.resize(x, shape, "linear", antialias=False)
    scales, shifts, axes = [], [], []
    for axis, (k, o) in enumerate(zip(of_space(p, n), _output(p), strict=True), start=2):
        if k == o:
            continue  # PyTorch copies such an axis, whatever the factor
        if p.align_corners and 1 in (k, o):
            x = jax.numpy.repeat(x.take(jax.numpy.array([0]), axis), o, axis)
            continue
        scale = (o - 1) / (k - 1) if p.align_corners else o / k if sized else _factors(p)[axis - 2]
        axes.append(axis)
        scales.append(scale)
        shifts.append((1 - scale) / 2 if p.align_corners else 0.0)
    scale, shift = (jax.numpy.asarray(values, x.dtype) for values in (scales, shifts))
    return jax.image.scale_and_translate(
        x, shape, tuple(axes), scale, shift, "linear", antialias=False
    )


def _jax_nearest(p: Problem, x: Any) -> Any:
    import jax.numpy as jnp

    n = _dimensions(p)
    middle = np.float32(0.5 if p.mode == "nearest-exact" else 0)
    sized = p.size is not None or p.recompute_scale_factor
    for axis, (k, o) in enumerate(zip(of_space(p, n), _output(p), strict=True), start=2):
        ratio = np.float32(k / o if sized else 1 / _factors(p)[axis - 2])
        index = np.floor((np.arange(o, dtype=np.float32) + middle) * ratio).astype(np.int64)
        x = jnp.take(x, np.minimum(index, k - 1), axis=axis)
    return x


_TO_SIZE: dict[str, Any] = {"scale_factor": None}
_OPTIONS: dict[str, Any] = {
    "size": None,
    "scale_factor": 2,
    "mode": "nearest",
    "align_corners": None,
    "recompute_scale_factor": None,
}

LAYERS = (
    Layer(
        "Upsample",
        inputs=_inputs,
        outputs={"output": Tensor(lambda p: (p.batch, p.channels, *_output(p)))},
        options=_OPTIONS,
        variants=(
            {"scale_factor": (3.0,)},
            {"scale_factor": (2.0, 1.0, 3.0)},
            {"scale_factor": (1.5, 0.5)},
            {"scale_factor": 1.5, "recompute_scale_factor": True},
            {"size": (9, 4), **_TO_SIZE},
            {"size": 5, **_TO_SIZE},
            {"mode": "nearest-exact", "size": (9, 4), **_TO_SIZE},
            {"mode": "nearest-exact", "scale_factor": 1.5},
            *(
                variant
                for mode, n in DIMENSIONS.items()
                for variant in (
                    {"mode": mode},
                    {"mode": mode, "align_corners": True},
                    {"mode": mode, "size": (9, 4, 6)[:n], "align_corners": False, **_TO_SIZE},
                    {"mode": mode, "size": (7, 3, 4)[:n], "align_corners": True, **_TO_SIZE},
                )
            ),
            {"mode": "linear", "scale_factor": 1.7},
            {"mode": "bilinear", "scale_factor": (2.5, 0.6)},
            {"mode": "bilinear", "scale_factor": (2.5, 0.6), "recompute_scale_factor": True},
            {"mode": "linear", "size": 1, "align_corners": True, **_TO_SIZE},
        ),
        pairs=False,
        sizes={
            "batch": (2, 4),
            "channels": (2, 4),
            **dict.fromkeys(("length", "depth", "height", "width"), (3, 7)),
        },
        valid=_fits,
        torch=torch_module("Upsample", **same(*_OPTIONS)),
        jax=_jax,
        special={"extreme": extreme("x")},
    ),
)


def _resized(
    x: Array, torch_arguments: dict[str, Any], method: str, **jax_arguments: Any
) -> tuple[Array, Array]:
    """A line resized by both frameworks to the size of PyTorch's answer."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    ours = torch.nn.functional.interpolate(torch.tensor(x), **torch_arguments).numpy()
    with jax.enable_x64(True):
        return ours, np.asarray(jax.image.resize(x, ours.shape, method, **jax_arguments))


def _line(size: int) -> Array:
    return np.arange(float(size)).reshape(1, 1, size)


def _torch_against_itself() -> tuple[Array, Array]:
    """PyTorch's gradient of nearest upsampling, and JAX's of the same function."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x, g = _line(4), np.array([[[1.0, 2.0, 4.0, 8.0]]])
    leaf = torch.tensor(x, requires_grad=True)
    output = torch.nn.functional.interpolate(leaf, scale_factor=1.1, mode="nearest")
    output.backward(torch.tensor(g))
    assert leaf.grad is not None
    shown = output.detach().numpy().ravel().astype(np.int64)  # the elements are their indices
    with jax.enable_x64(True):
        other = jax.vjp(lambda v: v[..., shown], x)[1](g)[0]
        return leaf.grad.numpy(), np.asarray(other)


LEDGER = (
    Difference(
        "nearest-element",
        "Upsample",
        "Which element is the nearest.",
        torch="mode='nearest': element ⌊i n/o⌋; 'nearest-exact': ⌊(i + ½) n/o⌋",
        jax="jax.image.resize 'nearest': ⌊(i + ½) n/o⌋",
        measure=lambda: _resized(_line(3), {"size": 5}, "nearest"),
        mapping="mode='nearest-exact' is JAX's; the twin of 'nearest' takes the elements by index",
    ),
    Difference(
        "resize-antialias",
        "Upsample",
        "Linear interpolation to a smaller size.",
        torch="between two elements, whatever the size",
        jax="jax.image.resize averages over the elements between, unless antialias=False",
        measure=lambda: _resized(_line(6) ** 2, {"size": 2, "mode": "linear"}, "linear"),
        mapping="the JAX twin sets antialias=False",
    ),
    Difference(
        "resize-fractional-factor",
        "Upsample",
        "The grid of linear interpolation by a factor that does not give a whole size.",
        torch="the factor as it is given, unless recompute_scale_factor=True",
        jax="jax.image.resize knows sizes only: output/input",
        measure=lambda: _resized(
            _line(5), {"scale_factor": 1.5, "mode": "linear"}, "linear", antialias=False
        ),
        mapping="the JAX twin is scale_and_translate with the same factor",
    ),
    Difference(
        "resize-align-corners",
        "Upsample",
        "Where the first and the last element go.",
        torch="align_corners=True: on the first and the last; by default elements are boxes",
        jax="jax.image.resize: elements are boxes",
        measure=lambda: _resized(
            _line(3), {"size": 5, "mode": "linear", "align_corners": True}, "linear"
        ),
        mapping="the JAX twin is scale_and_translate with (o - 1)/(n - 1) and a shift",
    ),
    Difference(
        "nearest-gradient-of-fractional-factor",
        "Upsample",
        "The gradient of mode='nearest' in one and three dimensions, by a factor that is not whole "
        "but keeps or doubles the size.",
        torch="that of an identity or a plain doubling, which its own forward is not",
        jax="the derivative of the forward",
        measure=_torch_against_itself,
        follows="jax",
        mapping="no case is drawn there",
    ),
)
