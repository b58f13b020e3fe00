"""Conventions of what is computed: options with other defaults, and formulas that differ in a term."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from crosscheck.causes.evidence import View
from crosscheck.detective.alternative import Alternative, option, outputs_only, scaled
from crosscheck.evaluation import Evaluation
from crosscheck.spec import Array, Problem

#: Values of an option that somebody has as a default, or that are written often.
VALUES: dict[str, tuple[Any, ...]] = {
    "eps": (1e-5, 1e-6, 1e-3, 1e-8, 1e-7, 1e-12, 0.0, 2.0**-23, 2.0**-52),
    "momentum": (0.1, 0.9, 0.01, 0.99),
    "threshold": (20.0, math.inf),
    "negative_slope": (0.01, 0.1, 0.2, 0.3),
    "alpha": (1.0,),
    "beta": (1.0,),
    "delta": (1.0,),
    "scale": (1.0,),
    "stride": (1, 2, None),
    "align_corners": (True, False, None),
    "mode": ("nearest", "nearest-exact", "bilinear", "linear", "bicubic"),
    "reduction": ("mean", "sum", "batchmean", "none"),
    "approximate": ("none", "tanh"),
    "convention": ("torch", "jax"),
    "margin": (1.0, 0.0),
    "blank": (0,),
    "ignore_index": (-100,),
    "num_groups": (32,),
}
#: Who has a value as the default.
WHO: dict[tuple[str, Any], str] = {
    ("eps", 1e-5): "PyTorch's and equinox's default",
    ("eps", 1e-6): "flax's default for LayerNorm, GroupNorm, InstanceNorm and RMSNorm",
    ("eps", 1e-3): "Keras's default",
    ("eps", 2.0**-23): "PyTorch's RMSNorm in float32",
    ("approximate", "tanh"): "jax.nn.gelu's default",
    ("approximate", "none"): "PyTorch's default",
    ("threshold", math.inf): "jax.nn.softplus, which has no threshold",
    ("threshold", 20.0): "PyTorch's default",
    ("stride", 1): "flax's default for pooling",
    ("stride", None): "PyTorch's default: the kernel's size",
    ("convention", "jax"): "JAX and its libraries",
    ("convention", "torch"): "PyTorch",
    ("count_include_pad", True): "PyTorch's default",
    ("reduction", "none"): "optax, which returns a value per sample",
    ("reduction", "mean"): "PyTorch's default",
    ("negative_slope", 0.2): "TensorFlow 1's default",
    ("negative_slope", 0.3): "Keras's default",
}


def alternatives(problem: Problem) -> Iterator[Alternative]:
    """Those that make sense for a problem: formulas with a name, then every option's other values."""
    name = problem.layer.name
    if "eps" in problem.options and "Norm" in name:
        yield from _normalization(problem)
    if "reduction" in problem.options:
        yield from _losses(problem)
    if name == "GELU":
        yield Alternative(
            "gelu-sigmoid",
            "the approximation x σ(1.702 x)",
            "use the normal distribution function, or its tanh approximation",
            outputs_only(lambda v: v.x / (1 + np.exp(-1.702 * v.x))),
            "Hendrycks and Gimpel name it as a faster one",
        )
    if name in ("GRU", "GRUCell"):
        yield Alternative(
            "gru-reset-before",
            "the reset gate applied before the matrix product, W (r ⊙ h)",
            "multiply by r after the matrix product and its bias: r ⊙ (W h + b)",
            outputs_only(_reset_before),
            "Keras with reset_after=False, ONNX with linear_before_reset=0",
        )
    if name == "KLDivLoss" and not problem.options.get("log_target"):
        yield Alternative(
            "kl-reversed",
            "the divergence the other way round, of the prediction from the target",
            "weigh by the target: sum p (log p − log q), where log q is the prediction",
            _reversed_divergence,
            "PyTorch takes (log q, p) and gives KL(p‖q); papers write both orders",
        )
    if name == "Dropout":
        yield Alternative(
            "dropout-not-inverted",
            "no 1/(1 − p) in training",
            "divide by 1 − p in training, so that nothing has to be scaled in evaluation",
            scaled(lambda v: 1 - v.problem.p if v.problem.training else None),
            "the paper scales in evaluation",
        )
    yield from _groups(problem)
    yield from (a for a in _options(problem) if a.slug != "option-convention")
    yield from _means(problem)
    # It stands for whatever the frameworks do differently: what has a name of its own comes first.
    yield from (a for a in _options(problem) if a.slug == "option-convention")


def _options(problem: Problem) -> Iterator[Alternative]:
    layer = problem.layer
    for name in problem.options:
        present = problem[name]
        declared = [variant[name] for variant in layer.variants if name in variant]
        values = [layer.options[name], *VALUES.get(name, ()), *declared]
        if isinstance(layer.options[name], bool):
            values += [True, False]
        if name == "momentum" and isinstance(present, float):
            values.insert(0, round(1 - present, 12))
        seen = [present]
        for value in values:
            if any(type(value) is type(s) and value == s for s in seen):
                continue
            seen.append(value)
            flipped = name == "momentum" and isinstance(present, float) and math.isclose(
                present, 1 - (value or 0.0)
            )  # fmt: skip
            yield Alternative(
                "momentum-complement" if flipped else f"option-{name}",
                f"{name}={value!r}" + (f", which is 1 − {present}" if flipped else ""),
                f"set {name} to {present!r} here, where {value!r} is in use",
                option(name, value),
                "flax's and Keras's momentum is 1 − PyTorch's" if flipped
                else WHO.get((name, value), ""),
            )  # fmt: skip


def _groups(problem: Problem) -> Iterator[Alternative]:
    groups, size = problem.sizes.get("num_groups"), problem.sizes.get("group_size")
    if groups is None or size is None:
        return
    channels = groups * size
    for other in (g for g in range(1, channels + 1) if channels % g == 0 and g != groups):
        kind = {1: ", all channels together", channels: ", each channel alone"}.get(other, "")
        yield Alternative(
            "number-of-groups",
            f"{other} groups{kind}",
            f"use {groups} groups",
            lambda v, g=other: v.ask(  # type: ignore[misc]
                sizes={
                    "num_groups": g,
                    "group_size": v.problem.num_groups * v.problem.group_size // g,
                }
            ),
            "flax's GroupNorm has 32 groups if it is not told",
        )


# --- normalization ----------------------------------------------------------------------------


def statistics_axes(problem: Problem, x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape in which mean and variance are taken, and the axes over which."""
    name = problem.layer.name
    if name.startswith("Batch"):
        return x.shape, (0, *range(2, x.ndim))
    if name.startswith("Instance"):
        return x.shape, tuple(range(2, x.ndim))
    if name.startswith("Group"):
        return (len(x), problem.num_groups, -1), (2,)
    last = problem.options.get("normalized_axes", 1)
    return x.shape, tuple(range(x.ndim - last, x.ndim))


def _normalization(problem: Problem) -> Iterator[Alternative]:
    if problem.layer.name.startswith(("Batch", "Instance")):
        yield Alternative(
            "running-variance-biased",
            "a running variance that is biased, divided by n",
            "track v n/(n − 1), the unbiased variance",
            _biased_running,
            "flax and equinox; PyTorch tracks the unbiased one",
        )
    if problem.layer.name != "RMSNorm":
        yield Alternative(
            "variance-unbiased",
            "the unbiased variance, divided by n − 1",
            "divide by n: np.var without ddof",
            _unbiased,
            "torch.var and pandas divide by n − 1, np.var and every normalization by n",
        )
    yield Alternative(
        "eps-outside-root",
        "eps added to the standard deviation, outside the root",
        "add eps to the variance, under the root: sqrt(v + eps)",
        outputs_only(_outside),
    )


def _count(view: View) -> int:
    shape, axes = statistics_axes(view.problem, view.x)
    return int(np.prod([view.x.reshape(shape).shape[a] for a in axes]))


def _unbiased(view: View) -> Evaluation | None:
    """(x − μ)/√(k v + ε) = (x − μ)/√(v + ε/k)/√k, with k = n/(n − 1)."""
    n, eps = _count(view), view.problem.options.get("eps")
    if n < 2 or eps is None or view.problem.options.get("training") is False:
        return None
    k = n / (n - 1)
    weights = view.values.get("weights")
    if weights is not None:
        found = view.ask({"weights": weights / math.sqrt(k)}, options={"eps": eps / k})
        if found is None:
            return None
        return Evaluation(
            found.outputs,
            {m: g / math.sqrt(k) if m == "weights" else g for m, g in found.gradients.items()},
        )
    return scaled(lambda v: 1 / math.sqrt(k), eps=eps / k)(view)


def _outside(view: View) -> Array | None:
    eps = view.problem.options.get("eps")
    if eps is None or view.problem.options.get("training") is False:
        return None
    shape, axes = statistics_axes(view.problem, view.x)
    x = view.x.reshape(shape)
    centred = x if view.problem.layer.name == "RMSNorm" else x - x.mean(axes, keepdims=True)
    root = np.sqrt((centred**2).mean(axes, keepdims=True))
    normal = (centred / (root + eps)).reshape(view.x.shape)
    per_channel = view.problem.layer.name.startswith(("Batch", "Instance", "Group"))
    for name, combine in (("weights", np.multiply), ("bias", np.add)):
        array = view.values.get(name)
        if array is not None:
            if per_channel:
                array = array.reshape(1, -1, *(1,) * (view.x.ndim - 2))
            normal = combine(normal, array)
    return np.asarray(normal)


def _biased_running(view: View) -> Evaluation | None:
    found, momentum = view.right, view.problem.options.get("momentum")
    if found is None or "running_var" not in found.outputs or not momentum:
        return None
    n, old, new = _count(view), view.values["running_var"], found.outputs["running_var"]
    if n < 2:
        return None
    observed = (new - (1 - momentum) * old) * (n - 1) / n
    moved = (1 - momentum) * old + observed
    return Evaluation({**found.outputs, "running_var": moved}, found.gradients)


# --- losses and recurrence ----------------------------------------------------------------------


def _losses(problem: Problem) -> Iterator[Alternative]:
    for slug, what, change, factor, who in (
        ("loss-half", "a factor ½", "leave the ½ out", 0.5, "optax.l2_loss has the ½"),
        ("loss-double", "a factor 2", "leave the 2 out", 2.0, ""),
    ):
        yield Alternative(slug, what, change, scaled(lambda v, k=factor: k), who)  # type: ignore[misc]
    for name in ("beta", "delta"):
        if name in problem.options:
            who = "SmoothL1Loss(beta) is huber_loss(delta=beta)/beta"
            yield Alternative(
                "smooth-l1-or-huber",
                f"the other of the two losses: {name} times this one",
                f"divide by {name}",
                scaled(lambda v, n=name: v.problem[n]),  # type: ignore[misc]
                who,
            )
            yield Alternative(
                "smooth-l1-or-huber",
                f"the other of the two losses: this one divided by {name}",
                f"multiply by {name}",
                scaled(lambda v, n=name: 1 / v.problem[n] if v.problem[n] else None),  # type: ignore[misc]
                who,
            )


def _means(problem: Problem) -> Iterator[Alternative]:
    if problem.options.get("reduction") == "mean":
        yield Alternative(
            "mean-over-samples",
            "a mean over the samples, not over weights, elements or lengths",
            "divide by what PyTorch divides by: the sum of the weights of the samples that are "
            "kept, or the target lengths first",
            scaled(_one_over_batch, reduction="sum"),
            "optax: a value per sample, then .mean()",
        )


def _reversed_divergence(view: View) -> Evaluation | None:
    """KL(q‖p), the gradients left to the numeric witness."""
    log_q, p = view.values["prediction"], view.values["target"]
    with np.errstate(all="ignore"):
        found = view.ask({"prediction": np.log(p), "target": np.exp(log_q)})
    return None if found is None else Evaluation(found.outputs, {})


def _one_over_batch(view: View) -> float | None:
    batch = view.problem.sizes.get("batch")
    return 1 / batch if batch else None


def _reset_before(view: View) -> Array | None:
    """A GRU of one layer and direction with n = tanh(W x + b + W (r ⊙ h) + b)."""
    p = view.problem
    if p.options.get("num_layers", 1) != 1 or p.options.get("bidirectional"):
        return None
    suffix = "" if "weight_ih" in p.parameters else "_l0"
    w, u = view.values[f"weight_ih{suffix}"], view.values[f"weight_hh{suffix}"]
    zero = np.zeros(len(w))
    b = view.values.get(f"bias_ih{suffix}", zero)
    c = view.values.get(f"bias_hh{suffix}", zero)
    x, h = (view.values[n] for n in [*p.inputs][:2])
    steps = x[None] if x.ndim == 2 else x.swapaxes(0, 1) if p.options.get("batch_first") else x
    h = h if h.ndim == 2 else h[0]
    size, found = h.shape[-1], []
    for step in steps:
        a, v = step @ w.T + b, h @ u.T + c
        r = 1 / (1 + np.exp(-(a + v)[:, :size]))
        z = 1 / (1 + np.exp(-(a + v)[:, size : 2 * size]))
        n = np.tanh(a[:, 2 * size :] + (r * h) @ u[2 * size :].T + c[2 * size :])
        h = (1 - z) * n + z * h
        found.append(h)
    if x.ndim == 2:
        return h
    output = np.stack(found)
    return output.swapaxes(0, 1) if p.options.get("batch_first") else output
