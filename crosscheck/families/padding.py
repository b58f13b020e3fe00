"""Padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.convolution import SPACE, each, of_space
from crosscheck.families.points import extreme
from crosscheck.spec import Array, Layer, Problem, Tensor

#: Our name → the mode of jnp.pad. Constants go through jax.lax.pad, which can also cut.
MODES = {
    "ConstantPad": None,
    "ZeroPad": None,
    "ReflectionPad": "reflect",
    "ReplicationPad": "edge",
    "CircularPad": "wrap",
}


def _pairs(p: Problem, n: int) -> list[tuple[int, int]]:
    """(before, after) for each axis: PyTorch counts from the last one."""
    flat = each(p.padding, 2 * n)
    return list(zip(flat[::2], flat[1::2], strict=True))[::-1]


def _fits(kind: str, p: Problem, n: int) -> str | None:
    limits = {"ReflectionPad": -1, "CircularPad": 0}
    for size, pair in zip(of_space(p, n), _pairs(p, n), strict=True):
        if kind in limits and max(pair) > size + limits[kind]:
            return f"{kind} must not be wider than the input"
        if size + min(pair[0], 0) + min(pair[1], 0) < 1:
            return "nothing is left of the input"
    return None


def _pad(kind: str, n: int) -> Layer:
    name = f"{kind}{n}d"
    value = {"value": 0.5} if kind == "ConstantPad" else {}

    def torch(p: Problem) -> Any:
        import torch

        return getattr(torch.nn, name)(**p.options)

    def jax(p: Problem, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        widths = [(0, 0), (0, 0), *_pairs(p, n)]
        mode = MODES[kind]
        if mode is not None:
            return jnp.pad(x, widths, mode=mode)
        filled = jnp.asarray(p.options.get("value", 0.0), x.dtype)
        return jax.lax.pad(x, filled, [(a, b, 0) for a, b in widths])

    def shape(p: Problem) -> tuple[int, ...]:
        padded = zip(of_space(p, n), _pairs(p, n), strict=True)
        return p.batch, p.channels, *(size + a + b for size, (a, b) in padded)

    # Zeros among the paddings: a slice [p:-p] is empty there.
    uneven = (1, 2, 0, 1, 2, 0)[: 2 * n]
    other = (0, 2, 1, 0, 1, 1)[: 2 * n]
    cut: tuple[dict[str, Any], ...] = ()
    if kind in ("ConstantPad", "ZeroPad"):
        cut = ({"padding": (-1, *uneven[1:])}, {"padding": -1})
    return Layer(
        name,
        inputs={"x": f"batch channels {' '.join(SPACE[n])}"},
        outputs={"output": Tensor(shape)},
        constructor=("padding",),
        options={"padding": uneven, **value},
        variants=(
            {"padding": 0},
            {"padding": 1},
            {"padding": 2},
            {"padding": other},
            *cut,
            *({k: -1.5} for k in value),
        ),
        sizes={
            "batch": (2, 4),
            "channels": (2, 4),
            **{axis: (3, 7) if n < 3 else (3, 5) for axis in SPACE[n]},
        },
        valid=lambda p: _fits(kind, p, n),
        torch=torch,
        jax=jax,
        special={"extreme": extreme("x")},
    )


LAYERS = tuple(_pad(kind, n) for kind in MODES for n in (1, 2, 3))


def _order() -> tuple[Array, Array]:
    """The numbers 1, 0, 0, 1 read as widths by PyTorch and, in pairs, by jnp.pad."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    ours = torch.nn.functional.pad(torch.tensor(x), (1, 0, 0, 1)).numpy()
    with jax.enable_x64(True):
        return ours, np.asarray(jax.numpy.pad(x, ((0, 0), (0, 0), (1, 0), (0, 1))))


def _symmetric() -> tuple[Array, Array]:
    """A line continued by its mirror image: PyTorch's ReflectionPad, jnp.pad's "symmetric"."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.arange(1.0, 5.0).reshape(1, 1, 4)
    ours = torch.nn.functional.pad(torch.tensor(x), (2, 2), mode="reflect").numpy()
    with jax.enable_x64(True):
        return ours, np.asarray(jax.numpy.pad(x, ((0, 0), (0, 0), (2, 2)), mode="symmetric"))


LEDGER = (
    Difference(
        "pad-order",
        "ConstantPad2d",
        "Which numbers belong to which axis.",
        torch="the last axis first: (left, right, top, bottom); negative ones cut off",
        jax="jnp.pad and jax.lax.pad: a pair for each axis, the first axis first; jnp.pad refuses "
        "negative ones",
        measure=_order,
        mapping="the JAX twin turns the pairs round, and is jax.lax.pad for constants",
    ),
    Difference(
        "reflection-at-the-edge",
        "ReflectionPad1d",
        "Whether a mirror image repeats the edge.",
        torch="no; there is no other mode, and no padding as wide as the input",
        jax="jnp.pad: no with 'reflect', yes with 'symmetric', to and fro where it is wider",
        measure=_symmetric,
        mapping="the JAX twin is 'reflect'",
    ),
)
