"""Losses: prediction, target, and a reduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import (
    POSITIVE,
    PROBABILITY,
    custom,
    distribution,
    indices,
    log_distribution,
)
from crosscheck.families.points import at_kink, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, SpecialCase, Tensor

REDUCTIONS = ({"reduction": "sum"}, {"reduction": "none"})


def reduced(axes: str) -> dict[str, Tensor]:
    """The output of a loss: of the elements' axes with reduction "none", else a scalar."""
    return {"output": Tensor(lambda p: Tensor(axes).shape(p) if p.reduction == "none" else ())}


def jax_reduce(p: Problem, elements: Any) -> Any:
    """The reduction of a problem applied to JAX elements."""
    return {"mean": elements.mean, "sum": elements.sum, "none": lambda: elements}[p.reduction]()


def _pairwise(
    name: str,
    jax: Any,
    options: Mapping[str, Any] | None = None,
    variants: Sequence[Mapping[str, Any]] = (),
    prediction: Tensor | str = "batch features",
    target: Tensor | None = None,
    special: Mapping[str, SpecialCase] | None = None,
    torch_options: Sequence[str] = (),
) -> Layer:
    """A loss of elements: prediction and target of one shape."""
    return Layer(
        name,
        inputs={
            "prediction": prediction,
            "target": target or Tensor("batch features", differentiable=False),
        },
        outputs=reduced("batch features"),
        options={"reduction": "mean", **(options or {})},
        variants=(*REDUCTIONS, *variants),
        torch=torch_module(name, **same("reduction", *torch_options)),
        jax=jax,
        group="losses",
        special=special or {"extreme": extreme("prediction")},
    )


def _mse(p: Problem, prediction: Any, target: Any) -> Any:
    return jax_reduce(p, (prediction - target) ** 2)


def _l1(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    return jax_reduce(p, jnp.abs(prediction - target))


def _huber(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    d = prediction - target
    size = jnp.abs(d)
    return jax_reduce(p, jnp.where(size <= p.delta, d * d / 2, p.delta * (size - p.delta / 2)))


def _smooth_l1(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    d = prediction - target
    size = jnp.abs(d)
    return jax_reduce(p, jnp.where(size < p.beta, d * d / (2 * p.beta), size - p.beta / 2))


def _poisson(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp

    if p.log_input:
        elements = jnp.exp(prediction) - target * prediction
    else:
        elements = prediction - target * jnp.log(prediction + 1e-8)
    if p.full:
        many = jnp.where(target > 1, target, 1)
        stirling = many * jnp.log(many) - many + jnp.log(2 * jnp.pi * many) / 2
        elements = elements + jnp.where(target > 1, stirling, 0)
    return jax_reduce(p, elements)


def _gaussian(p: Problem, prediction: Any, target: Any, var: Any) -> Any:
    import jax.numpy as jnp

    elements = (jnp.log(var) + (prediction - target) ** 2 / var) / 2
    return jax_reduce(p, elements + (jnp.log(2 * jnp.pi) / 2 if p.full else 0))


def _bce(p: Problem, prediction: Any, target: Any, weight: Any = 1) -> Any:
    import jax.numpy as jnp

    log_p = jnp.maximum(jnp.log(prediction), -100)
    log_q = jnp.maximum(jnp.log1p(-prediction), -100)
    return jax_reduce(p, -weight * (target * log_p + (1 - target) * log_q))


def _bce_logits(
    p: Problem, prediction: Any, target: Any, weight: Any = 1, pos_weight: Any = 1
) -> Any:
    import jax

    log_p, log_q = jax.nn.log_sigmoid(prediction), jax.nn.log_sigmoid(-prediction)
    return jax_reduce(p, -weight * (pos_weight * target * log_p + (1 - target) * log_q))


def _kl(p: Problem, prediction: Any, target: Any) -> Any:
    import jax.numpy as jnp
    from jax.scipy.special import xlogy

    if p.log_target:
        elements = jnp.exp(target) * (target - prediction)
    else:
        elements = xlogy(target, target) - target * prediction
    if p.reduction == "batchmean":
        return elements.sum() / p.batch
    return jax_reduce(p, elements)


def _classes(p: Problem, log_probabilities: Any, target: Any, weight: Any) -> Any:
    import jax
    import jax.numpy as jnp

    z = jnp.moveaxis(log_probabilities, 1, -1)
    weight = jnp.ones(p.classes, z.dtype) if weight is None else weight
    smoothing = p.options.get("label_smoothing", 0.0)
    if p.options.get("probabilities", False):
        soft = jnp.moveaxis(target, 1, -1) * (1 - smoothing) + smoothing / p.classes
        losses = -(weight * soft * z).sum(-1)
        return losses.mean() if p.reduction == "mean" else jax_reduce(p, losses)
    kept = target != p.ignore_index
    safe = jnp.where(kept, target, 0)
    hot = jax.nn.one_hot(safe, p.classes, dtype=z.dtype)
    soft = hot * (1 - smoothing) + smoothing / p.classes
    losses = -jnp.where(kept, (weight * soft * z).sum(-1), 0)
    if p.reduction == "mean":
        return losses.sum() / jnp.where(kept, weight[safe], 0).sum()
    return jax_reduce(p, losses)


def _cross_entropy(p: Problem, prediction: Any, target: Any, weight: Any = None) -> Any:
    import jax

    return _classes(p, jax.nn.log_softmax(prediction, axis=1), target, weight)


def _nll(p: Problem, prediction: Any, target: Any, weight: Any = None) -> Any:
    return _classes(p, prediction, target, weight)


def _torch_weighted(name: str, *options: str, tensors: Sequence[str] = ("weight",)) -> Any:
    """A torch loss whose weights are registered buffers, filled by the harness."""

    def make(p: Problem) -> Any:
        import torch

        held = {k: torch.ones(p.given[k].shape(p)) for k in tensors if k in p.given}
        return getattr(torch.nn, name)(**held, **{k: p[k] for k in options})

    return make


def _class_axes(o: Mapping[str, Any], with_classes: bool) -> str:
    classes = " classes" if with_classes else ""
    return f"batch{classes}" + (" length" if o["extra_dimension"] else "")


def _class_output(p: Problem) -> tuple[int, ...]:
    return Tensor(_class_axes(p.options, False)).shape(p) if p.reduction == "none" else ()


_CLASS_VARIANTS = (
    *REDUCTIONS,
    {"weighted": True},
    {"ignore_index": 1},
    {"extra_dimension": True},
)
_CLASS_OPTIONS = {
    "reduction": "mean",
    "ignore_index": -100,
    "weighted": False,
    "extra_dimension": False,
}
_CLASS_WEIGHT = {"weight": Tensor("classes", domain=POSITIVE, when="weighted")}


def _cross_entropy_inputs(o: Mapping[str, Any]) -> dict[str, Tensor]:
    index = Tensor(_class_axes(o, False), domain=indices("classes"))
    soft = Tensor(_class_axes(o, True), domain=distribution(1), differentiable=False)
    return {
        "prediction": Tensor(_class_axes(o, True)),
        "target": soft if o["probabilities"] else index,
    }


def _counts(rng: np.random.Generator, shape: tuple[int, ...], p: Problem) -> Array:
    return rng.poisson(3.0, shape).astype(np.float64)


def _equal(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Some predictions equal to their target: the kink of the absolute value."""
    same_value = rng.random(values["target"].shape) < 0.5
    return {**values, "prediction": np.where(same_value, values["target"], values["prediction"])}


def _saturated(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Predictions of exactly 0 and 1, where the logarithm is clamped, with the right target."""
    sure = rng.integers(0, 2, values["prediction"].shape).astype(np.float64)
    return {**values, "prediction": sure, "target": sure.copy()}


_VECTOR = "batch features"

LAYERS = (
    _pairwise("MSELoss", _mse),
    _pairwise(
        "L1Loss",
        _l1,
        {"convention": "torch"},
        ({"convention": "jax"},),
        special={"extreme": extreme("prediction"), "equal": at_kink(_equal)},
    ),
    _pairwise("HuberLoss", _huber, {"delta": 1.0}, ({"delta": 0.4},), torch_options=("delta",)),
    _pairwise("SmoothL1Loss", _smooth_l1, {"beta": 1.0}, ({"beta": 0.4},), torch_options=("beta",)),
    Layer(
        "CrossEntropyLoss",
        inputs=_cross_entropy_inputs,  # type: ignore[arg-type]
        buffers=_CLASS_WEIGHT,
        outputs={"output": Tensor(_class_output)},
        options={**_CLASS_OPTIONS, "label_smoothing": 0.0, "probabilities": False},
        variants=(*_CLASS_VARIANTS, {"label_smoothing": 0.1}, {"probabilities": True}),
        sizes={"batch": (4, 7)},
        valid=lambda p: (
            "probabilities cannot be ignored" if p.probabilities and p.ignore_index >= 0 else None
        ),
        torch=_torch_weighted("CrossEntropyLoss", "reduction", "ignore_index", "label_smoothing"),
        jax=_cross_entropy,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    Layer(
        "NLLLoss",
        inputs=lambda o: {
            "prediction": Tensor(_class_axes(o, True), domain=log_distribution(1)),
            "target": Tensor(_class_axes(o, False), domain=indices("classes")),
        },
        buffers=_CLASS_WEIGHT,
        outputs={"output": Tensor(_class_output)},
        options=_CLASS_OPTIONS,
        variants=_CLASS_VARIANTS,
        sizes={"batch": (4, 7)},
        torch=_torch_weighted("NLLLoss", "reduction", "ignore_index"),
        jax=_nll,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    Layer(
        "BCELoss",
        inputs={
            "prediction": Tensor(_VECTOR, domain=PROBABILITY),
            "target": Tensor(_VECTOR, domain=PROBABILITY, differentiable=False),
        },
        buffers={"weight": Tensor("features", domain=POSITIVE, when="weighted")},
        outputs=reduced(_VECTOR),
        options={"reduction": "mean", "weighted": False},
        variants=(*REDUCTIONS, {"weighted": True}),
        torch=_torch_weighted("BCELoss", "reduction"),
        jax=_bce,
        group="losses",
        special={"saturated": at_kink(_saturated)},
    ),
    Layer(
        "BCEWithLogitsLoss",
        inputs={
            "prediction": _VECTOR,
            "target": Tensor(_VECTOR, domain=PROBABILITY, differentiable=False),
        },
        buffers={
            "weight": Tensor("features", domain=POSITIVE, when="weighted"),
            "pos_weight": Tensor("features", domain=POSITIVE, when="pos_weighted"),
        },
        outputs=reduced(_VECTOR),
        options={"reduction": "mean", "weighted": False, "pos_weighted": False},
        variants=(*REDUCTIONS, {"weighted": True}, {"pos_weighted": True}),
        torch=_torch_weighted("BCEWithLogitsLoss", "reduction", tensors=("weight", "pos_weight")),
        jax=_bce_logits,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    Layer(
        "KLDivLoss",
        inputs=lambda o: {
            "prediction": Tensor(_VECTOR, domain=log_distribution()),
            "target": Tensor(
                _VECTOR,
                domain=log_distribution() if o["log_target"] else distribution(),
                differentiable=False,
            ),
        },
        outputs=reduced(_VECTOR),
        options={"reduction": "mean", "log_target": False},
        variants=(*REDUCTIONS, {"reduction": "batchmean"}, {"log_target": True}),
        torch=torch_module("KLDivLoss", **same("reduction", "log_target")),
        jax=_kl,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    _pairwise(
        "PoissonNLLLoss",
        _poisson,
        {"log_input": True, "full": False},
        ({"log_input": False}, {"full": True}),
        prediction=Tensor(_VECTOR, domain=POSITIVE),
        target=Tensor(_VECTOR, domain=custom("counts", _counts), differentiable=False),
        torch_options=("log_input", "full"),
        special={"large": extreme("prediction", scale=20)},
    ),
    Layer(
        "GaussianNLLLoss",
        inputs={
            "prediction": _VECTOR,
            "target": Tensor(_VECTOR, differentiable=False),
            "var": Tensor(_VECTOR, domain=POSITIVE),
        },
        outputs=reduced(_VECTOR),
        options={"reduction": "mean", "full": False},
        variants=(*REDUCTIONS, {"full": True}),
        torch=torch_module("GaussianNLLLoss", **same("reduction", "full")),
        jax=_gaussian,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
)


def _l1_at_zero() -> tuple[Array, Array]:
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    torch.nn.functional.l1_loss(x, torch.zeros((), dtype=torch.float64)).backward()
    with jax.enable_x64(True):
        return x.grad.numpy(), np.asarray(jax.grad(jax.numpy.abs)(np.float64(0)))


def _bce_at_one() -> tuple[Array, Array]:
    import torch

    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    one = torch.ones((), dtype=torch.float64)
    x = one.clone().requires_grad_(True)
    torch.nn.functional.binary_cross_entropy(x, one).backward()
    with jax.enable_x64(True):
        clamped = jax.grad(
            lambda p: -(jax.numpy.log(p) + 0 * jax.numpy.maximum(jax.numpy.log1p(-p), -100.0))
        )
        return x.grad.numpy(), np.asarray(clamped(np.float64(1)))


def _weighted_mean() -> tuple[Array, Array]:
    import torch

    logits = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    target, weight = torch.tensor([0, 1]), torch.tensor([1.0, 3.0], dtype=torch.float64)
    ours = torch.nn.functional.cross_entropy(logits, target, weight=weight)
    each = torch.nn.functional.cross_entropy(logits, target, weight=weight, reduction="none")
    return ours.numpy(), each.mean().numpy()  # what a mean over optax's per-sample values gives


def _l2_half() -> tuple[Array, Array]:
    import torch

    one = torch.ones((), dtype=torch.float64)
    ours = torch.nn.functional.mse_loss(2 * one, one).numpy()
    return ours, np.asarray(0.5 * (2.0 - 1.0) ** 2)  # optax.l2_loss


def _kl_means() -> tuple[Array, Array]:
    import torch

    q = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64))
    t = torch.tensor([[0.1, 0.9], [0.6, 0.4]], dtype=torch.float64)
    kl = torch.nn.functional.kl_div
    return kl(q, t, reduction="mean").numpy(), kl(q, t, reduction="batchmean").numpy()


LEDGER = (
    Difference(
        "l1-at-zero",
        "L1Loss",
        "The derivative of the absolute value at 0.",
        torch="0",
        jax="1",
        measure=_l1_at_zero,
        option="convention",
        kinds=("equal",),
        quantities=("grad_prediction",),
    ),
    Difference(
        "bce-at-0-and-1",
        "BCELoss",
        "The gradient of binary cross-entropy at predictions of exactly 0 and 1.",
        torch="finite: logarithms are clamped at -100, the denominator at 1e-12",
        jax="a clamped logarithm has the gradient 0 · Inf = NaN",
        measure=_bce_at_one,
        kinds=("saturated",),
        quantities=("grad_prediction",),
    ),
    Difference(
        "weighted-mean",
        "CrossEntropyLoss",
        "What the mean of a class-weighted loss divides by.",
        torch="the sum of the weights of the right classes",
        jax="optax gives values per sample: their mean divides by the number of samples",
        measure=_weighted_mean,
        mapping="the JAX twin divides as PyTorch does",
    ),
    Difference(
        "l2-half",
        "MSELoss",
        "The factor of the squared error.",
        torch="(x - y)²",
        jax="optax.l2_loss: ½ (x - y)²; optax.squared_error agrees",
        measure=_l2_half,
        mapping="the JAX twin is the square",
    ),
    Difference(
        "kl-mean",
        "KLDivLoss",
        "What the mean of the Kullback-Leibler terms divides by.",
        torch="reduction='mean': the number of elements, which is no divergence",
        jax="optax sums over classes: its mean is PyTorch's 'batchmean'",
        measure=_kl_means,
        mapping="both reductions are options",
    ),
)
