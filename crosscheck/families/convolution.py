"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.points import extreme
from crosscheck.spec import Array, Layer, Problem, Tensor

#: Names of the axes of space, by their number.
SPACE = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def each(value: Any, n: int) -> tuple[int, ...]:
    """One number for all axes of space, or one for each."""
    return tuple(value) if isinstance(value, tuple) else (value,) * n


def of_space(p: Problem, n: int, prefix: str = "") -> tuple[int, ...]:
    """The sizes of the axes of space, or of the kernel with ``prefix="kernel_"``."""
    return tuple(p[prefix + axis] for axis in SPACE[n])


def spans(p: Problem, n: int) -> tuple[int, ...]:
    """How many elements the dilated kernel spans along each axis."""
    pairs = zip(of_space(p, n, "kernel_"), each(p.dilation, n), strict=True)
    return tuple(d * (k - 1) + 1 for k, d in pairs)


def _padding(p: Problem, n: int) -> list[tuple[int, int]]:
    if p.padding == "same":
        return [((s - 1) // 2, (s - 1) - (s - 1) // 2) for s in spans(p, n)]
    return [(q, q) for q in each(0 if p.padding == "valid" else p.padding, n)]


def _conv_counts(p: Problem, n: int) -> tuple[int, ...]:
    parts = zip(of_space(p, n), spans(p, n), _padding(p, n), each(p.stride, n), strict=True)
    return tuple((size + a + b - span) // s + 1 for size, span, (a, b), s in parts)


def channels_fit(p: Problem) -> str | None:
    """None, or why the groups do not divide the channels."""
    if p.in_channels % p.groups or p.out_channels % p.groups:
        return f"groups={p.groups} must divide both numbers of channels"
    return None


def ranges(n: int) -> dict[str, tuple[int, int]]:
    """Axis → the range of its size."""
    space = {axis: ((5, 8) if n < 3 else (4, 6)) for axis in SPACE[n]}
    kernel = {f"kernel_{axis}": ((2, 4) if n < 3 else (2, 3)) for axis in SPACE[n]}
    return {"batch": (2, 4), "in_channels": (2, 6), "out_channels": (2, 6), **space, **kernel}


def _conv(n: int) -> Layer:
    def torch(p: Problem) -> Any:
        import torch

        options = ("stride", "padding", "dilation", "groups", "bias")
        kernel = of_space(p, n, "kernel_")
        module = getattr(torch.nn, f"Conv{n}d")
        return module(p.in_channels, p.out_channels, kernel, **{k: p[k] for k in options})

    def jax(p: Problem, x: Any, weights: Any, bias: Any = None) -> Any:
        import jax

        output = jax.lax.conv_general_dilated(
            x, weights, each(p.stride, n), _padding(p, n),
            rhs_dilation=each(p.dilation, n), feature_group_count=p.groups,
        )  # fmt: skip
        return output if bias is None else output + bias.reshape(-1, *(1,) * n)

    def valid(p: Problem) -> str | None:
        if p.padding == "same" and each(p.stride, n) != (1,) * n:
            return "padding='same' needs stride 1"
        if min(_conv_counts(p, n)) < 1:
            return "the kernel does not fit the input"
        return channels_fit(p)

    uneven = tuple(range(1, n + 1))
    space, kernel = " ".join(SPACE[n]), " ".join(f"kernel_{axis}" for axis in SPACE[n])
    return Layer(
        f"Conv{n}d",
        inputs={"x": f"batch in_channels {space}"},
        parameters={
            "weights": f"out_channels in_channels/groups {kernel}",
            "bias": Tensor("out_channels", when="bias"),
        },
        outputs={"output": Tensor(lambda p: (p.batch, p.out_channels, *_conv_counts(p, n)))},
        constructor=("in_channels", "out_channels", lambda p: of_space(p, n, "kernel_")),
        options={"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
        variants=(
            {"stride": 2},
            {"padding": 1},
            {"dilation": 2},
            {"groups": 2},
            {"bias": False},
            {"padding": "same"},
            *(({"stride": uneven}, {"padding": uneven}) if n > 1 else ()),
        ),
        sizes=ranges(n),
        valid=valid,
        torch=torch,
        torch_layout={"weights": "weight"},
        jax=jax,
        special={"extreme": extreme("x")},
    )


LAYERS = (*(_conv(n) for n in (1, 2, 3)),)


def _same_with_stride() -> tuple[Array, Array]:
    """SAME at stride 2 pads (0, 1) in JAX; padding=1 in PyTorch pads (1, 1)."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x, w = np.arange(1.0, 7.0).reshape(1, 1, 6), np.array([[[1.0, 2.0, 4.0]]])
    ours = torch.nn.functional.conv1d(torch.tensor(x), torch.tensor(w), stride=2, padding=1)
    with jax.enable_x64(True):
        other = np.asarray(jax.lax.conv_general_dilated(x, w, (2,), "SAME"))
    return ours.numpy(), other


LEDGER = (
    Difference(
        "same-padding-with-stride",
        "Conv1d",
        "Where padding goes when a strided convolution keeps the size.",
        torch="padding=1 pads both ends; 'same' is refused with a stride",
        jax="'SAME' pads (0, 1) for an even size, kernel 3, stride 2",
        measure=_same_with_stride,
        mapping="the JAX twin is given PyTorch's padding as numbers",
    ),
)
