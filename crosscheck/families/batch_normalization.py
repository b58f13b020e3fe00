"""Batch and instance normalization, in training and evaluation, running statistics included."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import POSITIVE, indices
from crosscheck.families.normalization import (
    POINTS_OF_EPS,
    SPACES,
    affine,
    few,
    jax_standardize,
    without_bias,
)
from crosscheck.families.twins import chosen
from crosscheck.spec import Array, Layer, Problem, Tensor

_PARAMETERS = {
    "weights": Tensor("num_features", when="affine"),
    "bias": Tensor("num_features", when=lambda p: p.affine and p.bias),
}
_STATISTICS = {
    "running_mean": Tensor("num_features", when="track_running_stats"),
    "running_var": Tensor("num_features", POSITIVE, when="track_running_stats"),
}
_COUNT = {"num_batches_tracked": Tensor("", indices(5), when="track_running_stats", optional=True)}
_SPACE_SIZES = {"depth": (2, 3), "height": (2, 3), "width": (2, 4)}


def _torch(name: str) -> Any:
    def make(p: Problem) -> Any:
        import torch

        options = ("eps", "momentum", "affine", "track_running_stats")
        module = getattr(torch.nn, name)(p.num_features, **{k: p[k] for k in options})
        return without_bias(module, p).train(p.training)

    return make


def _by_tracked(p: Problem, x: Any, mean: Any, variance: Any) -> Any:
    """Normalized by running statistics, as flax and equinox do it in evaluation."""
    import jax

    shape = (-1, *(1,) * (x.ndim - 2))
    return jax.nn.standardize(
        x, mean=mean.reshape(shape), variance=variance.reshape(shape), epsilon=p.eps
    )


def _moved(old: Any, new: Any, share: Any) -> Any:
    return old * (1 - share) + new * share


def _jax_batch(
    p: Problem,
    x: Any,
    weights: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    num_batches_tracked: Any = None,
) -> dict[str, Any]:
    shape = (-1, *(1,) * (x.ndim - 2))
    if p.track_running_stats and not p.training:
        normal = _by_tracked(p, x, running_mean, running_var)
        return {"output": affine(normal, weights, bias, shape)}
    axes = (0, *range(2, x.ndim))
    found = {"output": affine(jax_standardize(x, axes, p.eps), weights, bias, shape)}
    if p.track_running_stats:
        count = num_batches_tracked + 1
        share = (1 / count).astype(x.dtype) if p.momentum is None else p.momentum
        found["running_mean"] = _moved(running_mean, x.mean(axes), share)
        found["running_var"] = _moved(running_var, x.var(axes), share)  # biased: see LEDGER
        found["num_batches_tracked"] = count
    return found


def _jax_instance(
    p: Problem,
    x: Any,
    weights: Any = None,
    bias: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
) -> dict[str, Any]:
    shape = (-1, *(1,) * (x.ndim - 2))
    if p.track_running_stats and not p.training:
        normal = _by_tracked(p, x, running_mean, running_var)
        return {"output": affine(normal, weights, bias, shape)}
    axes = tuple(range(2, x.ndim))
    found = {"output": affine(jax_standardize(x, axes, p.eps), weights, bias, shape)}
    if p.track_running_stats and p.momentum is not None:
        variances = x.var(axes, ddof=1)  # no library of JAX tracks them: PyTorch's convention
        found["running_mean"] = _moved(running_mean, x.mean(axes).mean(0), p.momentum)
        found["running_var"] = _moved(running_var, variances.mean(0), p.momentum)
    return found


def _norm(
    kind: str,
    n: int,
    jax: Callable[..., Any],
    buffers: Mapping[str, Tensor],
    options: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    shared: str,
) -> Layer:
    """A normalization per channel over n axes of space, or as many as the option `space` says.

    Args:
        shared: the axes, besides those of space, whose numbers share a mean.
    """

    spaces = {0: SPACES[0], 1: SPACES[1]} if n == 1 else SPACES

    def space(options: Mapping[str, Any]) -> str:
        return str(chosen({"space": n, **options}, "space", spaces))

    def valid(p: Problem) -> str | None:
        if p.track_running_stats and not p.training:
            return None
        return few(math.prod(Tensor(f"{shared} {space(p.options)}").shape(p)))

    def axes(options: Mapping[str, Any]) -> str:
        return f"batch num_features {space(options)}"

    name = f"{kind}{n}d"
    return Layer(
        name,
        inputs=lambda o: {"x": axes(o)},
        parameters=_PARAMETERS,
        buffers=buffers,
        outputs=lambda o: {"output": axes(o)},
        constructor=("num_features",),
        forms=("space",) if n == 1 else (),
        options={"eps": 1e-5, "momentum": 0.1, **options, "bias": True, "training": True},
        variants=variants,
        sizes={"num_features": (2, 4), **{k: _SPACE_SIZES[k] for k in SPACES[n].split() if n > 1}},
        valid=valid,
        torch=_torch(name),
        torch_layout={"weights": "weight"},
        jax=jax,
        special=POINTS_OF_EPS,
    )


def _batch_norm(n: int) -> Layer:
    flat: tuple[Mapping[str, Any], ...] = (
        {"eps": 0.1},
        {"momentum": 0.3},
        {"bias": False},
        {"space": 0},
        {"training": False, "track_running_stats": False},
    )
    return _norm(
        "BatchNorm",
        n,
        _jax_batch,
        {**_STATISTICS, **_COUNT},
        {
            "affine": True,
            "track_running_stats": True,
            "convention": "torch",
            **({"space": 1} if n == 1 else {}),
        },
        (
            {"training": False},
            {"momentum": None},
            {"affine": False},
            {"track_running_stats": False},
            {"convention": "jax"},
            *(flat if n == 1 else ()),
        ),
        "batch",
    )


def _instance_norm(n: int) -> Layer:
    tracked = {"track_running_stats": True}
    flat: tuple[Mapping[str, Any], ...] = (
        {"eps": 0.1},
        {"affine": True, "bias": False},
        {"training": False},
        {**tracked, "momentum": None},
    )
    return _norm(
        "InstanceNorm",
        n,
        _jax_instance,
        _STATISTICS,
        {"affine": False, "track_running_stats": False},
        ({"affine": True}, tracked, {**tracked, "training": False}, *(flat if n == 1 else ())),
        "",
    )


LAYERS = (*(_batch_norm(n) for n in (1, 2, 3)), *(_instance_norm(n) for n in (1, 2, 3)))


# --- where the frameworks differ --------------------------------------------------------------

#: A batch of one channel: mean 2, variance 1 of the numbers themselves and 2 as an estimate.
_BATCH = np.array([[1.0], [3.0]])


def _after_one_batch(momentum: float | None = None) -> tuple[float, float]:
    """Running mean and variance of PyTorch, from 0 and 1."""
    import torch

    given = {} if momentum is None else {"momentum": momentum}
    module = torch.nn.BatchNorm1d(1, **given).double()
    module(torch.tensor(_BATCH))
    return module.running_mean.item(), module.running_var.item()


def _momentum() -> tuple[Array, Array]:
    """The running mean with momentum=0.9."""
    theirs = 0.9 * 0.0 + (1 - 0.9) * _BATCH.mean()  # flax.linen.BatchNorm, equinox.nn.BatchNorm
    return np.asarray(_after_one_batch(0.9)[0]), np.asarray(theirs)


def _default_momentum() -> tuple[Array, Array]:
    """The running mean with the default momentum."""
    theirs = 0.99 * 0.0 + (1 - 0.99) * _BATCH.mean()  # flax.linen.BatchNorm, equinox.nn.BatchNorm
    return np.asarray(_after_one_batch()[0]), np.asarray(theirs)


def _running_variance() -> tuple[Array, Array]:
    """The running variance with a share of 0.1 for the batch's."""
    theirs = 0.9 * 1.0 + 0.1 * _BATCH.var()  # flax.linen.BatchNorm, equinox.nn.BatchNorm
    return np.asarray(_after_one_batch()[1]), np.asarray(theirs)


def _one_sample() -> tuple[Array, Array]:
    """The output for a batch of one number per channel; NaN where it is refused."""
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    try:
        ours = torch.nn.BatchNorm1d(1)(torch.ones(1, 1)).detach().numpy()
    except ValueError:
        ours = np.full((1, 1), np.nan)
    return ours, np.asarray(jax.nn.standardize(jax.numpy.ones((1, 1)), axis=0))


def _dtype_of_statistics() -> tuple[Array, Array]:
    """A running mean in a network of float64: a third of a batch's, which is 1."""
    import torch

    module = torch.nn.BatchNorm1d(1, momentum=1 / 3).double()
    module(torch.tensor(_BATCH - 1))
    theirs = np.float32(1 / 3)  # flax.nnx.BatchNorm, of float64 inputs and parameters
    return module.running_mean.numpy(), np.asarray([theirs], np.float64)


def _instance_norm_affine() -> tuple[Array, Array]:
    import torch

    return np.asarray(torch.nn.InstanceNorm1d(1).affine), np.asarray(True)  # flax.linen


def _instance_norm_eps() -> tuple[Array, Array]:
    import torch

    return np.asarray(torch.nn.InstanceNorm1d(1).eps), np.asarray(1e-6)  # flax.linen


LEDGER = (
    Difference(
        "batch-norm-momentum",
        "BatchNorm1d",
        "What is called momentum.",
        torch="the share of the newest batch; None: the plain average of all batches",
        jax="flax, equinox: the share of what was there, 1 minus PyTorch's",
        measure=_momentum,
        mapping="the JAX twin takes PyTorch's",
    ),
    Difference(
        "batch-norm-default-momentum",
        "BatchNorm1d",
        "The share of the newest batch by default.",
        torch="0.1",
        jax="flax, equinox: 0.01, as their momentum is 0.99",
        measure=_default_momentum,
        mapping="the JAX twin takes PyTorch's",
    ),
    *(
        Difference(
            f"batch-norm{n}d-running-variance",
            f"BatchNorm{n}d",
            "The variance that the running one follows, n numbers a channel.",
            torch="the estimate, the sum of squares divided by n - 1",
            jax="flax, equinox: that of the batch, divided by n",
            measure=_running_variance,
            option="convention",
            kinds=(ANY,),
            quantities=("running_var",),
        )
        for n in (1, 2, 3)
    ),
    Difference(
        "batch-norm-of-one",
        "BatchNorm1d",
        "A batch with a single number per channel, in training.",
        torch="refused",
        jax="0: a number is its own mean",
        measure=_one_sample,
        mapping="no such case is drawn; reference_nn refuses it",
    ),
    Difference(
        "batch-norm-statistics-dtype",
        "BatchNorm1d",
        "The dtype of running statistics in a network of float64.",
        torch="float64",
        jax="flax.nnx: float32; flax.linen: float32 until the first batch, then float64",
        measure=_dtype_of_statistics,
        mapping="the JAX twin has the input's",
    ),
    Difference(
        "instance-norm-affine",
        "InstanceNorm1d",
        "Whether there are a scale and a shift by default.",
        torch="no",
        jax="flax: yes",
        measure=_instance_norm_affine,
        mapping="whether there are is an option",
    ),
    Difference(
        "instance-norm-eps",
        "InstanceNorm1d",
        "The default of eps.",
        torch="1e-5",
        jax="flax: 1e-6",
        measure=_instance_norm_eps,
        mapping="the JAX twin is given PyTorch's eps",
    ),
)
