"""Adaptive pooling."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.families.convolution import SPACE, of_space
from crosscheck.families.points import extreme, ties
from crosscheck.spec import Array, Layer, Problem, Tensor


def _output(p: Problem, n: int) -> tuple[int, ...]:
    """The output's sizes; None keeps the input's."""
    wanted = p.output_size if isinstance(p.output_size, tuple) else (p.output_size,) * n
    return tuple(size if o is None else o for size, o in zip(of_space(p, n), wanted, strict=True))


def _windows(size: int, count: int) -> list[slice]:
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _jax_pool(p: Problem, n: int, x: Any, reduce: str) -> Any:
    """jnp.mean or jnp.max of one window after the other."""
    import jax.numpy as jnp

    shape = _output(p, n)
    axes = [_windows(size, count) for size, count in zip(of_space(p, n), shape, strict=True)]
    space = tuple(range(2, 2 + n))
    pooled = [getattr(jnp, reduce)(x[(..., *where)], axis=space) for where in product(*axes)]
    return jnp.stack(pooled, axis=-1).reshape(*x.shape[:2], *shape)


def _adaptive(kind: str, n: int, **details: Any) -> Layer:
    name = f"Adaptive{kind}Pool{n}d"
    convention = {"convention": "torch"} if kind == "Max" else {}

    def torch(p: Problem) -> Any:
        import torch

        return getattr(torch.nn, name)(p.output_size)

    uneven = (3, 2, 2)[:n]
    more: dict[int, tuple[Any, ...]] = {1: (4, 9), 2: (4, (9, 4), (None, 2)), 3: (2, (2, None, 1))}
    return Layer(
        name,
        inputs={"x": f"batch channels {' '.join(SPACE[n])}"},
        outputs={"output": Tensor(lambda p: (p.batch, p.channels, *_output(p, n)))},
        constructor=("output_size",),
        options={"output_size": uneven if n > 1 else 3, **convention},
        variants=(
            *({"output_size": size} for size in (1, *more[n])),
            *({k: "jax"} for k in convention),
        ),
        sizes={
            "batch": (2, 4),
            "channels": (2, 4),
            **{axis: (4, 8) if n < 3 else (3, 6) for axis in SPACE[n]},
        },
        torch=torch,
        jax=lambda p, x: _jax_pool(p, n, x, "mean" if kind == "Avg" else "max"),
        **details,
    )


LAYERS = (
    *(_adaptive("Avg", n, special={"extreme": extreme("x")}) for n in (1, 2, 3)),
    *(_adaptive("Max", n, special={"extreme": extreme("x"), "ties": ties("x")}) for n in (1, 2, 3)),
)


def _tied(n: int) -> tuple[Array, Array]:
    """The gradient of the maximum of equal elements."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = np.ones((1, 1, *(2,) * n))
    leaf = torch.tensor(x, requires_grad=True)
    getattr(torch.nn, f"AdaptiveMaxPool{n}d")(1)(leaf).sum().backward()
    assert leaf.grad is not None
    with jax.enable_x64(True):
        return leaf.grad.numpy(), np.asarray(jax.grad(jax.numpy.max)(x))


LEDGER = tuple(
    Difference(
        f"adaptive-max-pool{n}d-ties",
        f"AdaptiveMaxPool{n}d",
        "The gradient of a window's maximum where several elements are the largest.",
        torch="the first one takes all",
        jax="jnp.max: equal shares",
        measure=lambda n=n: _tied(n),  # type: ignore[misc]
        option="convention",
        kinds=("ties",),
        quantities=("grad_x",),
    )
    for n in (1, 2, 3)
)
