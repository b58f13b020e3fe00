"""Optimizers that divide by a running size of the gradient: Adagrad, Adadelta, RMSprop, Adam and kin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.optimizers import Optimizer

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]


class Adagrad(Optimizer):
    r"""Divide by the root of the sum of all squared gradients

        g ← g + λ θ
        s ← s + g²                                     s_0 = initial_accumulator_value
        θ ← θ − lr_t g / (√s + ε)                      lr_t = lr / (1 + (t − 1) lr_decay)

    With ``convention="jax"`` ε stands under the root, g / √(s + ε), as in optax.adagrad, whose
    defaults are also s_0 = 0.1 and ε = 1e-7. The default is torch.optim's.

    Shapes and dtypes: see `Optimizer`.

    Source: Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, JMLR 12 (2011).
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("Adagrad", "convention", convention, ("torch", "jax"))
        self.initial = self.at_least_zero("initial_accumulator_value", initial_accumulator_value)
        super().__init__(parameters, lr, weight_decay, maximize)
        self.lr_decay = self.at_least_zero("lr_decay", lr_decay)
        self.eps, self.convention = self.at_least_zero("eps", eps), convention

    def start(self, p: Array) -> dict[str, Any]:
        """The sum at its initial value."""
        return {**super().start(p), "sum": np.full_like(p, self.initial)}

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.coupled(p, g)
        s = state["sum"] = state["sum"] + g * g
        lr = self.lr / (1 + (state["step"] - 1) * self.lr_decay)
        if self.convention == "jax":
            # Where no gradient has come yet the quotient is 0/√ε or 0/0: 0 in optax.
            p -= lr * np.where(s > 0, g / np.sqrt(np.where(s > 0, s + self.eps, 1)), 0)
        else:
            p -= lr * g / (np.sqrt(s) + self.eps)


class Adadelta(Optimizer):
    r"""Divide by a running size of the gradients, multiply by that of the updates

        g ← g + λ θ
        v ← ρ v + (1 − ρ) g²
        Δ = g √(u + ε) / √(v + ε)
        u ← ρ u + (1 − ρ) Δ²
        θ ← θ − lr Δ

    Δ has the unit of θ, whatever the unit of the loss is. ε starts the process: u_0 = 0.

    Shapes and dtypes: see `Optimizer`.

    Source: Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701 (2012), algorithm 1.
    """

    state_names = ("square_avg", "acc_delta")

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, maximize)
        if not 0 <= rho <= 1:
            raise ValueError(f"Adadelta: invalid rho {rho}: it must be in [0, 1]")
        self.rho, self.eps = rho, self.at_least_zero("eps", eps)

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.coupled(p, g)
        v = state["square_avg"] = self.rho * state["square_avg"] + (1 - self.rho) * g * g
        delta = g * np.sqrt(state["acc_delta"] + self.eps) / np.sqrt(v + self.eps)
        state["acc_delta"] = self.rho * state["acc_delta"] + (1 - self.rho) * delta * delta
        p -= self.lr * delta


class RMSprop(Optimizer):
    r"""Divide by the root of a running mean of squared gradients

        g ← g + λ θ
        v ← α v + (1 − α) g²
        m ← α m + (1 − α) g                            ``centered`` only: v − m² instead of v
        r = g / (√v + ε)
        θ ← θ − lr r,      with momentum μ:  b ← μ b + r,  θ ← θ − lr b

    With ``convention="jax"`` ε stands under the root, g / √(v + ε), as optax.rmsprop has it by
    default (``eps_in_sqrt``), with α = 0.9. The default is torch.optim's. v − m² is zero up to
    rounding after a first step with α = 0, and while the gradient does not change.

    Shapes and dtypes: see `Optimizer`.

    Source: Tieleman and Hinton, Neural networks for machine learning, lecture 6.5 (2012); Graves,
    Generating sequences with recurrent neural networks, arXiv:1308.0850 (2013), centered.
    """

    state_names = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("RMSprop", "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, weight_decay, maximize)
        self.alpha, self.eps = self.at_least_zero("alpha", alpha), self.at_least_zero("eps", eps)
        self.momentum = self.at_least_zero("momentum", momentum)
        self.centered, self.convention = centered, convention

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.coupled(p, g)
        v = state["square_avg"] = self.alpha * state["square_avg"] + (1 - self.alpha) * g * g
        if self.centered:
            m = state["grad_avg"] = self.alpha * state["grad_avg"] + (1 - self.alpha) * g
            v = v - m * m
        r = g / (np.sqrt(v + self.eps) if self.convention == "jax" else np.sqrt(v) + self.eps)
        if self.momentum:
            r = state["momentum_buffer"] = self.momentum * state["momentum_buffer"] + r
        p -= self.lr * r


class _Moments(Optimizer):
    """What Adam and its kin share: running means of the gradient and of its square.

        m ← β₁ m + (1 − β₁) g          exp_avg
        v ← β₂ v + (1 − β₂) g²         exp_avg_sq

    Both start at zero, so after t steps with E[g] constant E[m] = (1 − β₁ᵗ) E[g]: the mean is too
    small by the factor 1 − βᵗ, and dividing by it corrects the bias.
    """

    state_names = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, maximize)
        self.beta1 = self.share("beta parameter at index 0:", betas[0])
        self.beta2 = self.share("beta parameter at index 1:", betas[1])
        self.eps, self.decoupled = self.at_least_zero("eps", eps), decoupled

    def decay(self, p: Array, g: Array) -> Array:
        """Weight decay: decoupled it shrinks `p` at once, else the gradient returned has it."""
        if not self.decoupled:
            return self.coupled(p, g)
        p *= 1 - self.lr * self.weight_decay
        return g

    def moments(self, g: Array, state: dict[str, Any]) -> tuple[Array, Array]:
        """The two running means after one more gradient."""
        m = state["exp_avg"] = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        v = state["exp_avg_sq"] = self.beta2 * state["exp_avg_sq"] + (1 - self.beta2) * g * g
        return m, v


class Adam(_Moments):
    r"""Momentum divided by the root of a running mean of squares, both with the bias corrected

        g ← g + λ θ                                    or as `AdamW`, ``decoupled_weight_decay``
        m ← β₁ m + (1 − β₁) g                          m̂ = m / (1 − β₁ᵗ)
        v ← β₂ v + (1 − β₂) g²                         v̂ = v / (1 − β₂ᵗ)
        θ ← θ − lr m̂ / (√v̂ + ε)                        t counts from 1

    ε is added to the root of the corrected mean. Keras adds it to √v before the correction, and
    optax has besides it an eps_root under the root, 0 by default.

    ``amsgrad`` divides by the largest v so far. ``convention="torch"`` (the default) takes the
    largest v and then corrects the bias; ``"jax"``, as optax.amsgrad, the largest v̂. These differ: the
    correction shrinks with t, so a v̂ of the first steps counts for longer.

    Shapes and dtypes: see `Optimizer`.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1;
    Reddi, Kale, Kumar, On the convergence of Adam and beyond, ICLR 2018, algorithm 2.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice(self.name, "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize)
        self.amsgrad, self.convention = amsgrad, convention

    def start(self, p: Array) -> dict[str, Any]:
        """Also the largest v so far, for amsgrad."""
        return {**super().start(p), "max_exp_avg_sq": np.zeros_like(p)}

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.decay(p, g)
        m, v = self.moments(g, state)
        correct1 = 1 - self.beta1 ** state["step"]
        correct2 = 1 - self.beta2 ** state["step"]
        if self.amsgrad and self.convention == "torch":
            v = state["max_exp_avg_sq"] = np.maximum(state["max_exp_avg_sq"], v)
        v = v / correct2
        if self.amsgrad and self.convention == "jax":
            v = state["max_exp_avg_sq"] = np.maximum(state["max_exp_avg_sq"], v)
        p -= self.lr * (m / correct1) / (np.sqrt(v) + self.eps)


class AdamW(Adam):
    r"""Adam with the weight decay decoupled from the gradient

        θ ← θ − lr λ θ        then a step of `Adam` with λ = 0

    In `Adam` the decay λθ is divided by √v̂ like everything else, so weights with large gradients
    decay less; here all decay alike. λ is 0.01 by default, as in torch.optim; in optax 1e-4.

    Shapes and dtypes: see `Optimizer`.

    Source: Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        super().__init__(
            parameters,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            convention=convention,
        )


class Adamax(Optimizer):
    r"""Adam with the largest magnitude, decayed, instead of a root of squares

        g ← g + λ θ
        m ← β₁ m + (1 − β₁) g
        u ← max(β₂ u, |g| + ε)
        θ ← θ − lr / (1 − β₁ᵗ) · m / u

    u is a maximum, not a mean: it has no bias to correct.

    Shapes and dtypes: see `Optimizer`.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 2.
    """

    state_names = ("exp_avg", "exp_inf")

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, maximize)
        self.beta1 = self.share("beta parameter at index 0:", betas[0])
        self.beta2 = self.share("beta parameter at index 1:", betas[1])
        self.eps = self.at_least_zero("eps", eps)

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.coupled(p, g)
        m = state["exp_avg"] = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        u = state["exp_inf"] = np.maximum(self.beta2 * state["exp_inf"], np.abs(g) + self.eps)
        p -= self.lr / (1 - self.beta1 ** state["step"]) * m / u


class NAdam(_Moments):
    r"""Adam that looks one step of momentum ahead, as Nesterov's

        g ← g + λ θ,    or with ``decoupled_weight_decay``  θ ← θ − lr λ θ
        μ_t = β₁ (1 − ½ · 0.96^(t ψ))                  ψ = momentum_decay
        m ← β₁ m + (1 − β₁) g                          v ← β₂ v + (1 − β₂) g²
        m̄ = μ_{t+1} m / (1 − μ_1 … μ_{t+1}) + (1 − μ_t) g / (1 − μ_1 … μ_t)
        θ ← θ − lr m̄ / (√(v/(1 − β₂ᵗ)) + ε)

    That is ``convention="torch"``, the default. ``"jax"``, as optax.nadam, has no warming up of
    the momentum: μ_t = β₁, which torch.optim has with momentum_decay=math.inf.

    Shapes and dtypes: see `Optimizer`.

    Source: Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016, algorithm 2.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("NAdam", "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize)
        decay = self.at_least_zero("momentum_decay", momentum_decay)
        self.momentum_decay = decay if convention == "torch" else math.inf

    def start(self, p: Array) -> dict[str, Any]:
        """Also the product μ_1 … μ_t."""
        return {**super().start(p), "mu_product": 1.0}

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.decay(p, g)
        m, v = self.moments(g, state)
        t = state["step"]
        mu = self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
        mu_next = self.beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * self.momentum_decay))
        product = state["mu_product"] = state["mu_product"] * mu
        ahead = mu_next / (1 - product * mu_next) * m + (1 - mu) / (1 - product) * g
        p -= self.lr * ahead / (np.sqrt(v / (1 - self.beta2**t)) + self.eps)


class RAdam(_Moments):
    r"""Adam that waits until its mean of squares rests on enough of them

        g ← g + λ θ,    or with ``decoupled_weight_decay``  θ ← θ − lr λ θ
        m, v as in `Adam`,    m̂ = m / (1 − β₁ᵗ)
        ρ∞ = 2/(1 − β₂) − 1,    ρ_t = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)      how many squares v averages
        θ ← θ − lr m̂                                                   while ρ_t ≤ 5
        θ ← θ − lr r m̂ √(1 − β₂ᵗ) / (√v + ε)                           then
        r = √((ρ_t − 4)(ρ_t − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρ_t))

    With ``convention="jax"``, as in optax.radam, ε is added to the corrected root:
    r m̂ / (√(v/(1 − β₂ᵗ)) + ε). The default is torch.optim's.

    Shapes and dtypes: see `Optimizer`.

    Source: Liu et al., On the variance of the adaptive learning rate and beyond, ICLR 2020,
    algorithm 2.
    """

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("RAdam", "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize)
        self.convention = convention

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.decay(p, g)
        m, v = self.moments(g, state)
        t = state["step"]
        mean = m / (1 - self.beta1**t)
        correct = 1 - self.beta2**t
        most = 2 / (1 - self.beta2) - 1
        rho = most - 2 * t * self.beta2**t / correct
        if rho <= 5:
            p -= self.lr * mean
            return
        r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        if self.convention == "jax":
            p -= self.lr * r * mean / (np.sqrt(v / correct) + self.eps)
        else:
            p -= self.lr * r * mean * math.sqrt(correct) / (np.sqrt(v) + self.eps)
