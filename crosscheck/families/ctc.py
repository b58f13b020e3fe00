"""CTCLoss."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import ANY, Difference
from crosscheck.domains import custom, log_distribution
from crosscheck.families.losses import REDUCTIONS, jax_reduce, reduced
from crosscheck.families.points import extreme
from crosscheck.families.twins import same, torch_module
from crosscheck.spec import Array, Layer, Problem, Tensor


def _labels(rng: np.random.Generator, shape: tuple[int, ...], p: Problem) -> Array:
    """Classes other than the blank, with repetitions."""
    found = rng.integers(0, p.classes - 1, shape)
    return np.where(found >= p.blank, found + 1, found)


def _input_lengths(rng: np.random.Generator, shape: tuple[int, ...], p: Problem) -> Array:
    """Long enough for any target; with ``zero_infinity`` the last sample's is too short."""
    lengths = rng.integers(2 * p.target_length, p.time + 1, shape)
    lengths[0] = p.time
    if p.zero_infinity:
        lengths[-1] = 1
    return lengths


def _target_lengths(rng: np.random.Generator, shape: tuple[int, ...], p: Problem) -> Array:
    lengths = rng.integers(1, p.target_length + 1, shape)
    if p.zero_infinity:
        lengths[-1] = p.target_length
    return lengths


def _nothing_said(
    rng: np.random.Generator, p: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """The first target is empty: one path, all blanks."""
    lengths = values["target_lengths"].copy()
    lengths[0] = 0
    return {**values, "target_lengths": lengths}


def _ctc(p: Problem, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
    """The forward variable in logarithms, one sample at a time under vmap."""
    import jax
    import jax.numpy as jnp

    width = 2 * p.target_length + 1
    low = -1e30  # log 0, without the NaN of -Inf - -Inf

    def one(z: Any, labels: Any, steps: Any, length: Any) -> Any:
        stretched = jnp.full(width, p.blank).at[1::2].set(labels)
        skip = jnp.arange(width) >= 2
        skip &= (stretched != p.blank) & (stretched != jnp.roll(stretched, 2))

        def shifted(a: Any, by: int) -> Any:
            return jnp.concatenate([jnp.full(by, low, a.dtype), a[:-by]])

        def step(alpha: Any, emitted: Any) -> tuple[Any, Any]:
            ways = [alpha, shifted(alpha, 1), jnp.where(skip, shifted(alpha, 2), low)]
            alpha = emitted + jax.scipy.special.logsumexp(jnp.stack(ways), axis=0)
            return alpha, alpha

        emitted = z[:, stretched]
        first = jnp.where(jnp.arange(width) < 2, emitted[0], low)
        _, rest = jax.lax.scan(step, first, emitted[1:])
        alpha = jnp.concatenate([first[None], rest])[steps - 1]
        in_label = jnp.where(length > 0, alpha[2 * length - 1], low)
        loss = -jnp.logaddexp(alpha[2 * length], in_label)
        return jnp.where(loss < -low / 2, loss, 0.0 if p.zero_infinity else jnp.inf)

    losses = jax.vmap(one, (1, 0, 0, 0))(log_probs, targets, input_lengths, target_lengths)
    if p.reduction == "mean":
        losses = losses / jnp.maximum(target_lengths, 1)
    return jax_reduce(p, losses)


LAYERS = (
    Layer(
        "CTCLoss",
        inputs={
            "log_probs": Tensor("time batch classes", log_distribution()),
            "targets": Tensor("batch target_length", custom("labels", _labels, False)),
            "input_lengths": Tensor("batch", custom("lengths", _input_lengths, False)),
            "target_lengths": Tensor("batch", custom("lengths", _target_lengths, False)),
        },
        outputs=reduced("batch"),
        options={"blank": 0, "reduction": "mean", "zero_infinity": False, "convention": "jax"},
        variants=(
            *REDUCTIONS,
            {"blank": 1},
            {"zero_infinity": True},
            {"convention": "torch"},
            {"convention": "torch", "zero_infinity": True},
        ),
        sizes={"time": (7, 9), "batch": (2, 5), "classes": (3, 6), "target_length": (2, 3)},
        valid=lambda p: (
            "the input must be twice as long as the target, and one class besides the blank"
            if p.time < 2 * p.target_length or p.classes < 2 + p.blank
            else None
        ),
        torch=torch_module("CTCLoss", **same("blank", "reduction", "zero_infinity")),
        jax=_ctc,
        group="losses",
        special={"extreme": extreme("log_probs", scale=5), "nothing said": _nothing_said},
        follows="jax",
    ),
)


def _gradients() -> tuple[Array, Array]:
    """PyTorch's gradient and the derivative, at one time of one sample."""
    import torch

    z = torch.log_softmax(torch.arange(12, dtype=torch.float64).reshape(4, 1, 3), -1)
    z.requires_grad_(True)
    lengths = torch.tensor([4]), torch.tensor([1])
    loss = torch.nn.functional.ctc_loss(z, torch.tensor([[1]]), *lengths, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, z)
    shifted = torch.zeros(3, dtype=torch.float64)
    for k in range(3):
        moved = []
        for sign in (1, -1):
            other = z.detach().clone()
            other[0, 0, k] += sign * 1e-5
            args = (other, torch.tensor([[1]]), *lengths)
            moved.append(torch.nn.functional.ctc_loss(*args, reduction="sum"))
        shifted[k] = (moved[0] - moved[1]) / 2e-5
    return gradient[0, 0].numpy(), shifted.numpy()


def _means() -> tuple[Array, Array]:
    """PyTorch's mean, and that of its losses per sample, for a target of two labels."""
    import torch

    z = torch.log_softmax(torch.arange(12, dtype=torch.float64).reshape(4, 1, 3), -1)
    args = z, torch.tensor([[1, 2]]), torch.tensor([4]), torch.tensor([2])
    mean = torch.nn.functional.ctc_loss(*args, reduction="mean")
    each = torch.nn.functional.ctc_loss(*args, reduction="none")
    return mean.numpy(), each.mean().numpy()


LEDGER = (
    Difference(
        "ctc-gradient",
        "CTCLoss",
        "What the gradient of CTC is the derivative of.",
        torch="exp(log_probs) plus the derivative: right only after a log_softmax",
        jax="the derivative with respect to log_probs",
        measure=_gradients,
        follows="jax",
        option="convention",
        kinds=(ANY,),
        quantities=("grad_log_probs",),
    ),
    Difference(
        "ctc-mean",
        "CTCLoss",
        "What the mean of CTC losses divides by.",
        torch="each loss by its target length, then by the number of samples",
        jax="optax gives values per sample: their mean divides by the number of samples",
        measure=_means,
        mapping="the JAX twin divides as PyTorch does",
    ),
)
