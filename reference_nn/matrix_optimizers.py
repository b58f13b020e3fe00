"""Optimizers that look at a matrix as a matrix: Adafactor, Muon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.optimizers import Optimizer

__all__ = ["Adafactor", "Muon"]


class Adafactor(Optimizer):
    r"""Adam's second moment from its row and column means alone, and steps relative to the weights

    For a matrix G of gradients (n × m), with the mean over a row and over a column

        β_t = 1 − t^c                                  c = beta2_decay = −0.8
        r ← β_t r + (1 − β_t) mean_j(G²)               n numbers
        c ← β_t c + (1 − β_t) mean_i(G²)               m numbers
        V = r cᵀ / max(mean(r), ε₁)                    the closest matrix of rank one (in divergence)
        U = G / √max(V, ε₁²)

    A vector keeps V itself. Then the update is clipped to a root mean square of d, and scaled by
    that of the weights:

        θ ← θ − lr λ θ
        α = max(ε₂, RMS(θ)) · min(lr, 1/√t)            RMS(θ) before the decay
        θ ← θ − α U / max(1, RMS(U)/d)

    An array of more axes is a stack of matrices of its last two. ε₁ is the rounding unit
    (np.finfo.eps) where None.

    That is ``convention="torch"``, the default. ``"jax"`` is optax.adafactor: ε₁² (1e-30 where
    None) is added to G² instead of bounding V and mean(r); the factors are those of the two
    longest axes (optax: only if both have 128 elements or more); lr is not bounded by 1/√t; the
    weight decay is λ θ, not lr λ θ. optax rounds β_t to float32 whatever the dtype of the weights;
    here it is not.

    Shapes and dtypes: see `Optimizer`.

    Source: Shazeer and Stern, Adafactor: adaptive learning rates with sublinear memory cost, ICML
    2018, algorithms 4 and 5.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("Adafactor", "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, weight_decay, maximize)
        if not beta2_decay <= 0:
            raise ValueError(f"Adafactor: invalid beta2_decay {beta2_decay}: it must be ≤ 0")
        if not d >= 1:
            raise ValueError(f"Adafactor: invalid clipping threshold d {d}: it must be ≥ 1")
        if eps[0] is not None:
            self.at_least_zero("eps[0]", eps[0])
        self.at_least_zero("eps[1]", eps[1])
        self.beta2_decay, self.eps, self.d, self.convention = beta2_decay, eps, d, convention

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        t = state["step"]
        torch = self.convention == "torch"
        eps1 = self.eps[0]
        if eps1 is None:
            eps1 = float(np.finfo(p.dtype).eps) if torch else 1e-15
        new = t**self.beta2_decay  # 1 − β_t
        squares = g * g if torch else g * g + eps1**2
        if g.ndim > 1:
            row, column = (-1, -2) if torch else _longest(g.shape)
            r = _mean(state, "row_var", squares.mean(axis=row, keepdims=True), new)
            c = _mean(state, "col_var", squares.mean(axis=column, keepdims=True), new)
            middle = r.mean(axis=column, keepdims=True)
            v = r * c / (np.maximum(middle, eps1) if torch else middle)
        else:
            v = _mean(state, "variance", squares, new)
        u = g / np.sqrt(np.maximum(v, eps1**2) if torch else v)
        u = u / max(1.0, _rms(u) / self.d)
        size = max(self.eps[1], _rms(p))
        if torch:
            p *= 1 - self.lr * self.weight_decay
            p -= size * min(self.lr, 1 / math.sqrt(t)) * u
        else:
            p -= self.lr * size * u + self.weight_decay * p


def _mean(state: dict[str, Any], name: str, value: Array, new: float) -> Array:
    """Put a value into a running mean with weight `new`, which is 1 at the first step."""
    before = state.get(name, np.zeros_like(value))
    found: Array = before + new * (value - before)
    state[name] = found
    return found


def _rms(array: Array) -> float:
    return math.sqrt(float(np.mean(array * array)))


def _longest(shape: tuple[int, ...]) -> tuple[int, int]:
    """The longest axis and the one before it, as optax sorts them."""
    order = np.argsort(shape)
    return int(order[-1]), int(order[-2])


class Muon(Optimizer):
    r"""Momentum, made orthogonal: every direction of the update gets the same length

    For a matrix (n × m) of weights and its gradient G:

        b ← μ b + (1 − μ) G
        x = (1 − μ) G + μ b                            (``nesterov``; else x = b)
        X = x / max(‖x‖_F, ε)
        repeat ns_steps times:  A = X Xᵀ,   X ← a X + (b A + c A²) X
        θ ← θ − lr λ θ − lr f X                        f = √max(1, n/m)

    If x = U S Vᵀ, an iteration is U p(S) Vᵀ with p(s) = a s + b s³ + c s⁵, so it acts on the
    singular values alone. The coefficients make p steep at 0; after five iterations most singular
    values lie in about [0.7, 1.2], and X is near U Vᵀ, the orthogonal matrix closest to x. Where
    n > m the transposes are multiplied, which are smaller. f is the choice of ``adjust_lr_fn``:
    None or ``"original"`` as above, ``"match_rms_adamw"`` for 0.2 √max(n, m).

    That is torch.optim.Muon, but for one thing: torch iterates in bfloat16 whatever the dtype of
    the weights is, with errors of about a hundredth; here the iteration has the weights' dtype.

    With ``convention="jax"``, as in optax.contrib.muon, the bias of the momentum is corrected (b
    divided by 1 − μ^{t+1} and G by 1 − μ^t with nesterov, else b by 1 − μ^t), ε is added to the
    norm, and f = √max(1, m/n), because a weight matrix is (in, out) there. optax's defaults are
    λ = 0 and ε = 1e-8 (torch 0.1 and 1e-7).

    Shapes: every parameter is a matrix; others raise ValueError. dtypes: see `Optimizer`.

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024); Liu et al.,
    Muon is scalable for LLM training, arXiv:2502.16982 (2025), for ``match_rms_adamw``.
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        convention: str = "torch",
    ) -> None:
        require_choice("Muon", "convention", convention, ("torch", "jax"))
        require_choice("Muon", "adjust_lr_fn", adjust_lr_fn, (None, "original", "match_rms_adamw"))
        super().__init__(parameters, lr, weight_decay)
        for i, p in enumerate(self.parameters):
            if p.ndim != 2:
                raise ValueError(f"Muon: parameter {i} has shape {p.shape}: only matrices will do")
        if len(ns_coefficients) != 3:
            raise ValueError(f"Muon: invalid ns_coefficients {ns_coefficients}: three numbers")
        if not 0 <= ns_steps < 100:
            raise ValueError(f"Muon: invalid ns_steps {ns_steps}: 0 to 99")
        self.momentum = self.at_least_zero("momentum", momentum)
        self.nesterov, self.ns_coefficients = nesterov, ns_coefficients
        self.eps, self.ns_steps = eps, ns_steps
        self.adjust_lr_fn, self.convention = adjust_lr_fn, convention

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        mu, t = self.momentum, state["step"]
        b = state["momentum_buffer"] = mu * state["momentum_buffer"] + (1 - mu) * g
        if self.convention == "jax":
            # (1 − μ) G / (1 − μ^t) is what one gradient weighs in a mean of t.
            x = (
                mu * b / (1 - mu ** (t + 1)) + (1 - mu) * g / (1 - mu**t)
                if self.nesterov
                else b / (1 - mu**t)
            )
        else:
            x = mu * b + (1 - mu) * g if self.nesterov else b
        direction = self._factor(p.shape) * self._orthogonal(x)
        p *= 1 - self.lr * self.weight_decay
        p -= self.lr * direction

    def _orthogonal(self, x: Array) -> Array:
        """x with all its singular values brought close to 1."""
        a, b, c = self.ns_coefficients
        norm = np.sqrt(np.sum(x * x))
        y: Array = x / (norm + self.eps if self.convention == "jax" else max(norm, self.eps))
        if x.shape[0] > x.shape[1]:
            y = y.T
        for _ in range(self.ns_steps):
            gram = y @ y.T
            y = a * y + (b * gram + c * gram @ gram) @ y
        return y.T if x.shape[0] > x.shape[1] else y

    def _factor(self, shape: tuple[int, ...]) -> float:
        n, m = shape
        if self.adjust_lr_fn == "match_rms_adamw":
            return 0.2 * math.sqrt(max(n, m))
        return math.sqrt(max(1.0, m / n if self.convention == "jax" else n / m))
