"""Transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.convolution import SPACE, channels_fit, each, of_space, ranges, spans
from crosscheck.families.points import extreme
from crosscheck.spec import Array, Layer, Problem, Tensor


def _conv_transpose(n: int) -> Layer:
    def counts(p: Problem) -> tuple[int, ...]:
        parts = zip(
            of_space(p, n), spans(p, n), each(p.stride, n), each(p.padding, n),
            each(p.output_padding, n), strict=True,
        )  # fmt: skip
        return tuple(s * (size - 1) + span - 2 * q + o for size, span, s, q, o in parts)

    def torch(p: Problem) -> Any:
        import torch

        options = ("stride", "padding", "output_padding", "groups", "bias", "dilation")
        kernel = of_space(p, n, "kernel_")
        module = getattr(torch.nn, f"ConvTranspose{n}d")
        return module(p.in_channels, p.out_channels, kernel, **{k: p[k] for k in options})

    def jax(p: Problem, x: Any, weights: Any, bias: Any = None) -> Any:
        import jax

        split = weights.reshape(p.groups, p.in_channels // p.groups, *weights.shape[1:])
        flipped = jax.numpy.flip(split.swapaxes(1, 2), axis=tuple(range(3, 3 + n)))
        kernel = flipped.reshape(p.out_channels, p.in_channels // p.groups, *weights.shape[2:])
        parts = zip(spans(p, n), each(p.padding, n), each(p.output_padding, n), strict=True)
        output = jax.lax.conv_general_dilated(
            x, kernel, (1,) * n, [(s - 1 - q, s - 1 - q + o) for s, q, o in parts],
            lhs_dilation=each(p.stride, n), rhs_dilation=each(p.dilation, n),
            feature_group_count=p.groups,
        )  # fmt: skip
        return output if bias is None else output + bias.reshape(-1, *(1,) * n)

    def valid(p: Problem) -> str | None:
        steps = zip(each(p.output_padding, n), each(p.stride, n), each(p.dilation, n), strict=True)
        if any(o >= max(s, d) for o, s, d in steps):
            return "output_padding must be smaller than stride or dilation"
        return "nothing is left" if min(counts(p)) < 1 else channels_fit(p)

    space, kernel = " ".join(SPACE[n]), " ".join(f"kernel_{axis}" for axis in SPACE[n])
    return Layer(
        f"ConvTranspose{n}d",
        inputs={"x": f"batch in_channels {space}"},
        parameters={
            "weights": f"in_channels out_channels/groups {kernel}",
            "bias": Tensor("out_channels", when="bias"),
        },
        outputs={"output": Tensor(lambda p: (p.batch, p.out_channels, *counts(p)))},
        constructor=("in_channels", "out_channels", lambda p: of_space(p, n, "kernel_")),
        options={
            "stride": 1,
            "padding": 0,
            "output_padding": 0,
            "groups": 1,
            "bias": True,
            "dilation": 1,
        },
        variants=(
            {"stride": 2},
            {"padding": 1},
            {"stride": 3, "output_padding": 1},
            {"stride": 2, "padding": 1, "output_padding": 1},
            {"groups": 2},
            {"bias": False},
            {"dilation": 2},
        ),
        sizes={**ranges(n), **{axis: (2, 5) for axis in SPACE[n]}},
        valid=valid,
        torch=torch,
        torch_layout={"weights": "weight"},
        jax=jax,
        special={"extreme": extreme("x")},
    )


LAYERS = tuple(_conv_transpose(n) for n in (1, 2, 3))


#: A line of one channel, and kernels (in, out, length) of two channels.
_LINE = np.array([[[1.0, 2.0, 4.0]], [[8.0, 16.0, 32.0]]]).reshape(1, 2, 3)
_KERNEL = np.array([[[1.0, 2.0, 3.0], [5.0, 7.0, 11.0]], [[13.0, 17.0, 19.0], [23.0, 29.0, 31.0]]])


def _both(
    stride: int = 1,
    padding: int = 0,
    kernel: Array = _KERNEL,
    jax_padding: Any = "VALID",
    transpose_kernel: bool = True,
    axes: str = "OIH",
) -> tuple[Array, Array]:
    """PyTorch's transposed convolution, and jax.lax.conv_transpose of the same arrays."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x, w = torch.tensor(_LINE), torch.tensor(_KERNEL)
    ours = torch.nn.functional.conv_transpose1d(x, w, stride=stride, padding=padding)
    with jax.enable_x64(True):
        other = jax.lax.conv_transpose(
            _LINE, kernel, (stride,), jax_padding, transpose_kernel=transpose_kernel,
            dimension_numbers=("NCH", axes, "NCH"),
        )  # fmt: skip
        return ours.numpy(), np.asarray(other)


def _common(ours: Array, other: Array) -> tuple[Array, Array]:
    """Both outputs as far as the shorter one reaches."""
    length = min(ours.shape[-1], other.shape[-1])
    return ours[..., :length], other[..., :length]


LEDGER = (
    Difference(
        "conv-transpose-kernel",
        "ConvTranspose1d",
        "Whether the kernel is flipped.",
        torch="no: each input adds the kernel as it is",
        jax="jax.lax.conv_transpose and flax, by default: it adds the flipped kernel",
        measure=lambda: _both(transpose_kernel=False, axes="IOH"),
        mapping="transpose_kernel=True does as PyTorch; the JAX twin flips for conv_general_dilated",
    ),
    Difference(
        "conv-transpose-channels",
        "ConvTranspose1d",
        "The order of a kernel's channels.",
        torch="(in, out, length)",
        jax="equinox: (out, in, length); flax: (length, in, out), with transpose_kernel=True "
        "(length, out, in)",
        measure=lambda: _both(axes="IOH"),
        mapping="the JAX twin exchanges them within each group",
    ),
    Difference(
        "conv-transpose-padding",
        "ConvTranspose1d",
        "What padding p does.",
        torch="cuts p elements off the output at both ends",
        jax="jax.lax.conv_transpose: adds p zeros to the stretched input at both ends",
        measure=lambda: _common(*_both(padding=0, jax_padding=[(0, 0)])),
        mapping="d (k − 1) − p at the front, and output_padding more at the end",
    ),
    Difference(
        "conv-transpose-same",
        "ConvTranspose1d",
        "Where the output begins whose size is stride times the input's.",
        torch="padding=1 cuts both ends of stride 2, kernel 3; output_padding=1 gives back one",
        jax="'SAME' cuts the end alone",
        measure=lambda: _common(*_both(stride=2, padding=1, jax_padding="SAME")),
        mapping="the JAX twin is given PyTorch's padding as numbers",
    ),
)
