"""Gradient clipping, by the norm of all gradients together and by value."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reference_nn.layer import Array, require_choice

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(
    gradients: Sequence[Array],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    convention: str = "torch",
) -> float:
    r"""Scale all gradients together so that their common norm is at most `max_norm`, in place

        n = ‖(g_1, g_2, …)‖_p                 over all elements of all gradients
        g_i ← g_i · min(1, max_norm / (n + 1e-6))

    The 1e-6 is torch.nn.utils.clip_grad_norm_'s; it scales gradients just below the limit too. With
    ``convention="jax"``, as optax.clip_by_global_norm, it is not there.

    Args:
        gradients: arrays of any shape, float32 or float64; changed.
        max_norm: the largest norm.
        norm_type: p, ``math.inf`` for the largest magnitude.
        error_if_nonfinite: raise where the norm is NaN or infinite, instead of spreading it.

    Returns:
        The norm before.

    Raises:
        ValueError: a negative or NaN `max_norm`; a norm that is not finite, if that is asked for.

    Source: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, ICML
    2013, algorithm 1.
    """
    require_choice("clip_grad_norm_", "convention", convention, ("torch", "jax"))
    _require_limit("clip_grad_norm_", "max_norm", max_norm)
    norms = np.array([_norm(g, norm_type) for g in gradients])
    total = _norm(norms, norm_type) if norms.size else 0.0
    if error_if_nonfinite and not math.isfinite(total):
        raise ValueError(f"clip_grad_norm_: the norm of the gradients is {total}: nothing clipped")
    small = 1e-6 if convention == "torch" else 0.0
    if convention == "jax" and total < max_norm:
        return total
    factor = min(1.0, max_norm / (total + small)) if total + small else 1.0
    for g in gradients:
        g *= factor if not math.isnan(total) else math.nan
    return total


def clip_grad_value_(gradients: Sequence[Array], clip_value: float) -> None:
    r"""Clip every element of every gradient to [−clip_value, clip_value], in place

    This changes the direction of the gradient, where `clip_grad_norm_` does not.

    Args:
        gradients: arrays of any shape, float32 or float64; changed.
        clip_value: the largest magnitude.

    Raises:
        ValueError: a negative or NaN `clip_value`.

    Source: torch.nn.utils.clip_grad_value_'s documentation.
    """
    _require_limit("clip_grad_value_", "clip_value", clip_value)
    for g in gradients:
        np.clip(g, -clip_value, clip_value, out=g)


def _norm(array: Array, norm_type: float) -> float:
    if norm_type == math.inf:
        return float(np.max(np.abs(array), initial=0.0))
    return float(np.sum(np.abs(array) ** norm_type) ** (1 / norm_type))


def _require_limit(name: str, what: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name}: invalid {what} {value}: it must be 0 or larger")
