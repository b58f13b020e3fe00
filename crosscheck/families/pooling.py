"""Max and average pooling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.convolution import SPACE, each, of_space
from crosscheck.families.points import extreme, ties
from crosscheck.spec import Array, Layer, Problem, Tensor

_Ints = tuple[int, ...]


def _kernel(p: Problem, n: int) -> _Ints:
    return of_space(p, n, "kernel_")


def _stride(p: Problem, n: int) -> _Ints:
    return _kernel(p, n) if p.stride is None else each(p.stride, n)


def _span(p: Problem, n: int) -> _Ints:
    pairs = zip(_kernel(p, n), each(p.options.get("dilation", 1), n), strict=True)
    return tuple(d * (k - 1) + 1 for k, d in pairs)


def _counts(p: Problem, n: int) -> _Ints:
    """How many windows each axis has."""
    counts = []
    for size, span, s, q in zip(
        of_space(p, n), _span(p, n), _stride(p, n), each(p.padding, n), strict=True
    ):
        free = size + 2 * q - span
        count = free // s + 1
        if p.ceil_mode and free % s and count * s < size + q:
            count += 1
        counts.append(count)
    return tuple(counts)


def _window(p: Problem, n: int, sizes: Sequence[int] | None = None) -> dict[str, Any]:
    """The arguments of jax.lax.reduce_window; what ceil_mode adds is padding at the end."""
    added = []
    for size, count, span, s, q in zip(
        sizes or of_space(p, n), _counts(p, n), _span(p, n), _stride(p, n), each(p.padding, n),
        strict=True,
    ):  # fmt: skip
        added.append((q, max((count - 1) * s + span - size - q, 0)))
    return {
        "window_dimensions": (1, 1, *_kernel(p, n)),
        "window_strides": (1, 1, *_stride(p, n)),
        "padding": ((0, 0), (0, 0), *added),
    }


def _fits(p: Problem, n: int) -> str | None:
    if min(_counts(p, n)) < 1:
        return "the kernel does not fit the input"
    if any(2 * q > span for q, span in zip(each(p.padding, n), _span(p, n), strict=True)):
        return "padding must be at most half the kernel"
    return None


def _max_fits(p: Problem, n: int) -> str | None:
    """As `_fits`; and no window without an element of the input.

    With a dilation there are such windows, of positions on both sides of a small input. PyTorch
    2.13 writes their gradient outside the array.
    """
    for size, k, d, q in zip(
        of_space(p, n), _kernel(p, n), each(p.dilation, n), each(p.padding, n), strict=True
    ):
        if d > 1 and q and size < d * (k - 1) + 1:
            return "a window could miss the input"
    return _fits(p, n)


def _avg_fits(p: Problem, n: int) -> str | None:
    """As `_fits`; avg_pool3d alone refuses a kernel larger than the input without its padding."""
    if n == 3 and any(k > size for k, size in zip(_kernel(p, n), of_space(p, n), strict=True)):
        return "the kernel does not fit the input"
    return _fits(p, n)


def _sizes(n: int) -> dict[str, tuple[int, int]]:
    return {
        "batch": (2, 4),
        "channels": (2, 4),
        **{axis: (5, 8) if n < 3 else (3, 6) for axis in SPACE[n]},
        **{f"kernel_{axis}": (2, 4) if n < 3 else (2, 3) for axis in SPACE[n]},
    }


def _pool(name: str, n: int, **details: Any) -> Layer:
    """What max and average pooling declare alike."""

    def torch(p: Problem) -> Any:
        import torch

        return getattr(torch.nn, name)(_kernel(p, n), **p.options)

    axes = f"batch channels {' '.join(SPACE[n])}"
    return Layer(
        name,
        inputs={"x": axes},
        outputs={"output": Tensor(lambda p: (p.batch, p.channels, *_counts(p, n)))},
        constructor=(lambda p: _kernel(p, n),),
        sizes=_sizes(n),
        torch=torch,
        **details,
    )


def _uneven(n: int) -> tuple[dict[str, Any], ...]:
    """A different number on each axis, which a single one could not tell apart."""
    if n == 1:
        return ()
    rising = tuple(range(1, n + 1))
    return ({"stride": rising}, {"padding": (1, 0, 1)[:n], "stride": 1})


def _max_pool(n: int) -> Layer:
    def jax(p: Problem, x: Any) -> Any:
        import jax

        if each(p.dilation, n) == (1,) * n:
            return jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, **_window(p, n))
        return _jax_dilated(p, n, x)

    return _pool(
        f"MaxPool{n}d",
        n,
        options={"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
        variants=(
            {"stride": 1},
            {"stride": 2},
            {"padding": 1},
            {"dilation": 2},
            {"ceil_mode": True},
            {"stride": 3, "padding": 1, "ceil_mode": True},
            *_uneven(n),
        ),
        valid=lambda p: _max_fits(p, n),
        jax=jax,
        special={"extreme": extreme("x"), "ties": ties("x")},
    )


def _jax_dilated(p: Problem, n: int, x: Any) -> Any:
    """reduce_window has no gradient with a dilation: the first maximum of explicit windows."""
    import jax.numpy as jnp

    padded = jnp.pad(x, _window(p, n)["padding"], constant_values=-jnp.inf)
    seen = []
    for position in product(*map(range, _kernel(p, n))):
        index = tuple(
            slice(k * d, k * d + (count - 1) * s + 1, s)
            for k, d, count, s in zip(
                position, each(p.dilation, n), _counts(p, n), _stride(p, n), strict=True
            )
        )
        seen.append(padded[(..., *index)])
    windows = jnp.stack(seen)
    first = jnp.argmax(windows, axis=0, keepdims=True)
    return jnp.take_along_axis(windows, first, axis=0)[0]


def _avg_pool(n: int) -> Layer:
    def jax(p: Problem, x: Any) -> Any:
        import jax
        import jax.numpy as jnp

        def sums(array: Any, how: dict[str, Any]) -> Any:
            zero = np.zeros((), array.dtype)
            return jax.lax.reduce_window(array, zero, jax.lax.add, **how)

        total = sums(x, _window(p, n))
        if p.options.get("divisor_override") is not None:
            return total / p.divisor_override
        declared = [(0, 0), (0, 0), *((q, q) for q in each(p.padding, n))]
        counted = jnp.ones((1, 1, *x.shape[2:]), x.dtype)
        counted = jnp.pad(counted, declared, constant_values=float(p.count_include_pad))
        how = _window(p, n)
        rest = tuple(
            (0, max(b - q, 0)) for (_, b), (q, _) in zip(how["padding"], declared, strict=True)
        )
        return total / sums(counted, {**how, "padding": rest})

    override = {} if n == 1 else {"divisor_override": None}
    return _pool(
        f"AvgPool{n}d",
        n,
        options={
            "stride": None,
            "padding": 0,
            "ceil_mode": False,
            "count_include_pad": True,
            **override,
        },
        variants=(
            {"stride": 1},
            {"stride": 2},
            {"padding": 1},
            {"padding": 1, "count_include_pad": False},
            {"ceil_mode": True},
            {"stride": 3, "padding": 1, "ceil_mode": True},
            {"stride": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False},
            *({name: 3} for name in override),
            *_uneven(n),
        ),
        valid=lambda p: _avg_fits(p, n),
        jax=jax,
        special={"extreme": extreme("x")},
    )


LAYERS = (*(_max_pool(n) for n in (1, 2, 3)), *(_avg_pool(n) for n in (1, 2, 3)))


def _default_stride() -> tuple[Array, Array]:
    """Windows of 2 over 3 elements: PyTorch's default, and a stride of 1."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.array([[[1.0, 2.0, 4.0]]])
    ours = torch.nn.functional.max_pool1d(torch.tensor(x), 2)
    with jax.enable_x64(True):
        other = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 1, 2), (1, 1, 1), "VALID")
        return ours.numpy(), np.asarray(other)


def _minus_infinity() -> tuple[Array, Array]:
    """The gradient of max pooling of -Inf, with padding."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.full((1, 1, 2), -np.inf)
    leaf = torch.tensor(x, requires_grad=True)
    torch.nn.functional.max_pool1d(leaf, 2, 2, padding=1).sum().backward()

    def pooled(array: Any) -> Any:
        pads = ((0, 0), (0, 0), (1, 1))
        return jax.lax.reduce_window(array, -np.inf, jax.lax.max, (1, 1, 2), (1, 1, 2), pads)

    with jax.enable_x64(True):
        other = jax.vjp(pooled, x)[1](np.ones((1, 1, 2)))[0]
        assert leaf.grad is not None
        return leaf.grad.numpy(), np.asarray(other)


LEDGER = (
    Difference(
        "pool-default-stride",
        "MaxPool1d",
        "The stride of pooling where none is given.",
        torch="the kernel's size: windows that tile the input",
        jax="flax and equinox: 1; jax.lax.reduce_window has no default",
        measure=_default_stride,
        mapping="the JAX twin is always given a stride",
    ),
    Difference(
        "max-pool-of-minus-infinity",
        "MaxPool1d",
        "Where the gradient goes if the largest element is -Inf, as the padding is.",
        torch="to the window's first element of the input",
        jax="to the window's first element, which may be padding: then it is lost",
        measure=_minus_infinity,
        mapping="no case has infinite inputs",
    ),
)
