"""Losses against classes and probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import (
    POSITIVE,
    PROBABILITY,
    custom,
    distribution,
    log_distribution,
    uniform,
)
from crosscheck.families.activations import gradients_at
from crosscheck.families.losses import ELEMENTS, REDUCTIONS, jax_reduce, reduced
from crosscheck.families.points import at_kink, extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, Shape, Tensor


def _torch_weighted(
    name: str, *options: str, tensors: Sequence[str] = ("weight",)
) -> Callable[[Problem], Any]:
    """A torch loss whose weights are registered buffers, filled by the harness."""

    def make(p: Problem) -> Any:
        import torch

        held = {k: torch.ones(p.given[k].shape(p)) for k in tensors if k in p.given}
        return getattr(torch.nn, name)(**held, **{k: p[k] for k in options})

    return make


# --- one class of several -------------------------------------------------------------------


def _classes(p: Problem, log_probabilities: Any, target: Any, weight: Any) -> Any:
    import jax
    import jax.numpy as jnp

    z = jnp.moveaxis(log_probabilities, 1, -1)
    weight = jnp.ones(p.classes, z.dtype) if weight is None else weight
    smoothing = p.options.get("label_smoothing", 0.0)
    if p.options.get("probabilities", False):
        soft = jnp.moveaxis(target, 1, -1) * (1 - smoothing) + smoothing / p.classes
        return jax_reduce(p, -(weight * soft * z).sum(-1))
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


def _axes(o: Mapping[str, Any], *, classes: bool) -> str:
    names = ["batch", "classes" if classes else "", "length" if o["extra_dimension"] else ""]
    return " ".join(filter(None, names))


def _some_kept(rng: np.random.Generator, shape: Shape, p: Problem) -> Array:
    """Classes, not all of them ignored: the mean over nothing is 0/0."""
    classes = rng.integers(0, p.classes, shape)
    if np.all(classes == p.ignore_index):
        classes.flat[0] = (p.ignore_index + 1) % p.classes
    return classes


def _class_inputs(o: Mapping[str, Any], prediction: Tensor) -> dict[str, Tensor]:
    target = Tensor(_axes(o, classes=False), custom("classes", _some_kept, differentiable=False))
    if o.get("probabilities", False):
        target = Tensor(_axes(o, classes=True), distribution(1), differentiable=False)
    return {"prediction": prediction, "target": target}


def _class_output(p: Problem) -> tuple[int, ...]:
    return Tensor(_axes(p.options, classes=False)).shape(p) if p.reduction == "none" else ()


#: What NLLLoss and CrossEntropyLoss share; `weighted`, `extra_dimension` and `probabilities` say
#: what they are given and are no arguments of their constructors.
_OPTIONS = {"reduction": "mean", "ignore_index": -100, "weighted": False, "extra_dimension": False}
_VARIANTS = (*REDUCTIONS, {"weighted": True}, {"ignore_index": 1}, {"extra_dimension": True})
_WEIGHT = {"weight": Tensor("classes", POSITIVE, when="weighted")}


# --- yes or no, and distributions -----------------------------------------------------------


def _bce(p: Problem, prediction: Any, target: Any, weight: Any = 1) -> Any:
    import jax.numpy as jnp

    def log(q: Any) -> Any:
        """Not below -100. Without the inner where the gradient at 0 is 0 · Inf = NaN."""
        usable = q > jnp.exp(-100.0)
        return jnp.where(usable, jnp.log(jnp.where(usable, q, 1)), -100)

    return jax_reduce(p, -weight * (target * log(prediction) + (1 - target) * log(1 - prediction)))


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


def _certain(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Predictions of exactly 0 and 1, where the logarithm is clamped, all of them right.

    Where they are wrong PyTorch divides by a float32 of 1e-12, in float64 too, whose last digits
    nobody else should have to know.
    """
    sure = np.where(rng.random(values["prediction"].shape) < 0.5, 0.0, 1.0)
    return {**values, "prediction": sure, "target": sure.copy()}


def _one_hot(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
    """Targets with a probability of 1, the others 0: 0 log 0 is 0."""
    classes = rng.integers(0, p.features, p.batch)
    return {**values, "target": np.eye(p.features)[classes]}


_BINARY_TARGET = Tensor(ELEMENTS, PROBABILITY, differentiable=False)

LAYERS = (
    Layer(
        "CrossEntropyLoss",
        inputs=lambda o: _class_inputs(o, Tensor(_axes(o, classes=True))),
        buffers=_WEIGHT,
        outputs={"output": Tensor(_class_output)},
        options={**_OPTIONS, "label_smoothing": 0.0, "probabilities": False},
        variants=(
            *_VARIANTS,
            {"label_smoothing": 0.1},
            {"probabilities": True},
            {"label_smoothing": 0.1, "weighted": True, "ignore_index": 1},
            {"probabilities": True, "label_smoothing": 0.2, "weighted": True},
        ),
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
        inputs=lambda o: _class_inputs(o, Tensor(_axes(o, classes=True), log_distribution(1))),
        buffers=_WEIGHT,
        outputs={"output": Tensor(_class_output)},
        options=_OPTIONS,
        variants=_VARIANTS,
        sizes={"batch": (4, 7)},
        torch=_torch_weighted("NLLLoss", "reduction", "ignore_index"),
        jax=_nll,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
    Layer(
        "BCELoss",
        inputs={
            # Away from 0 and 1, so that a numeric derivative's steps do not leave [0, 1]: PyTorch
            # refuses what does. The ends themselves are special points.
            "prediction": Tensor(ELEMENTS, uniform(0.05, 0.95)),
            "target": _BINARY_TARGET,
        },
        buffers={"weight": Tensor("features", POSITIVE, when="weighted")},
        outputs=reduced(ELEMENTS),
        options={"reduction": "mean", "weighted": False, "convention": "torch"},
        variants=(*REDUCTIONS, {"weighted": True}, {"convention": "jax"}),
        torch=_torch_weighted("BCELoss", "reduction"),
        jax=_bce,
        group="losses",
        special={"certain": at_kink(_certain)},
    ),
    Layer(
        "BCEWithLogitsLoss",
        inputs={"prediction": ELEMENTS, "target": _BINARY_TARGET},
        buffers={
            "weight": Tensor("features", POSITIVE, when="weighted"),
            "pos_weight": Tensor("features", POSITIVE, when="pos_weighted"),
        },
        outputs=reduced(ELEMENTS),
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
            "prediction": Tensor(ELEMENTS, log_distribution()),
            "target": Tensor(
                ELEMENTS,
                log_distribution() if o["log_target"] else distribution(),
                differentiable=False,
            ),
        },
        outputs=reduced(ELEMENTS),
        options={"reduction": "mean", "log_target": False},
        variants=(
            *REDUCTIONS,
            {"reduction": "batchmean"},
            {"log_target": True},
            {"reduction": "batchmean", "log_target": True},
        ),
        torch=torch_module("KLDivLoss", **same("reduction", "log_target")),
        jax=_kl,
        group="losses",
        special={"extreme": extreme("prediction"), "one-hot": _one_hot},
    ),
)


def _weighted_means() -> tuple[Array, Array]:
    import torch

    logits = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    target, weight = torch.tensor([0, 1]), torch.tensor([1.0, 3.0], dtype=torch.float64)
    ours = torch.nn.functional.cross_entropy(logits, target, weight=weight)
    each = torch.nn.functional.cross_entropy(logits, target, weight=weight, reduction="none")
    return ours.numpy(), each.mean().numpy()  # what a mean over optax's per-sample values gives


def _kl_means() -> tuple[Array, Array]:
    import torch

    q = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64))
    t = torch.tensor([[0.1, 0.9], [0.6, 0.4]], dtype=torch.float64)
    with warnings.catch_warnings():  # that "mean" will come to mean "batchmean" one day
        warnings.simplefilter("ignore")
        mean = torch.nn.functional.kl_div(q, t, reduction="mean").numpy()
    summed = (t * (torch.log(t) - q)).sum(-1)  # optax.kl_divergence, per sample
    return mean, summed.mean().numpy()


LEDGER = (
    Difference(
        "weighted-mean",
        "CrossEntropyLoss",
        "What the mean of a class-weighted loss divides by.",
        torch="the sum of the weights of the right classes",
        jax="optax gives values per sample: their mean divides by the number of samples",
        measure=_weighted_means,
        mapping="the JAX twin divides as PyTorch does",
    ),
    Difference(
        "bce-at-0-and-1",
        "BCELoss",
        "The gradient of binary cross-entropy at predictions of exactly 0 and 1.",
        torch="(p - t) over at least 1e-12: 0 where the prediction is right, ±1e12 where wrong",
        jax="that of the clamped logarithms: ±1 and 0; NaN unless their argument is clamped too",
        measure=gradients_at(
            lambda t, x: t.nn.functional.binary_cross_entropy(x, t.ones_like(x)),
            lambda j, x: -j.numpy.maximum(j.numpy.log(j.numpy.maximum(x, 1e-44)), -100),
            0.0,
        ),
        option="convention",
        kinds=("certain",),
        quantities=("grad_prediction",),
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
