"""Learning-rate schedules: a function from the number of steps taken to a learning rate.

    schedule = StepLR(0.1, step_size=30)
    for step in range(100):
        optimizer.lr = schedule(step)
        ...

The closed forms of torch.optim.lr_scheduler's, which steps from one rate to the next instead.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from reference_nn.layer import require_choice

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "Schedule",
    "StepLR",
]


class Schedule:
    r"""Base of every schedule: lr_t = lr(t), t = 0 before the first step

    Shapes and dtypes: a whole number to a Python float.

    Raises ValueError for a learning rate that is negative or NaN, for a step that is negative or
    no whole number, and, where a schedule has an end that torch.optim.lr_scheduler enforces
    (`OneCycleLR`), for one past it. The others go on past their end, as torch's do; each says how.

    Source: torch.optim.lr_scheduler's documentation.
    """

    def __init__(self, lr: float) -> None:
        if not lr >= 0:
            raise ValueError(f"{type(self).__name__}: invalid learning rate {lr}: 0 or larger")
        self.lr = lr

    def __call__(self, step: int) -> float:
        """The rate after `step` steps."""
        if isinstance(step, bool) or int(step) != step or step < 0:
            raise ValueError(f"{type(self).__name__}: step {step}: a whole number, 0 or larger")
        return self.rate(int(step))

    def rate(self, t: int) -> float:
        """The formula."""
        raise NotImplementedError

    def count(self, what: str, value: int) -> int:
        """The value, if it is a whole number ≥ 1."""
        if int(value) != value or value < 1:
            raise ValueError(f"{type(self).__name__}: invalid {what} {value}: 1 or larger")
        return int(value)

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v}" for k, v in vars(self).items())
        return f"{type(self).__name__}({values})"


class ConstantLR(Schedule):
    r"""lr_t = factor · lr for t < total_iters, then lr

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.ConstantLR's documentation.
    """

    def __init__(self, lr: float, factor: float = 1 / 3, total_iters: int = 5) -> None:
        super().__init__(lr)
        if not 0 <= factor <= 1:
            raise ValueError(f"ConstantLR: invalid factor {factor}: it must be in [0, 1]")
        self.factor, self.total_iters = factor, total_iters

    def rate(self, t: int) -> float:
        """See the class."""
        return self.lr * (self.factor if t < self.total_iters else 1.0)


class LinearLR(Schedule):
    r"""lr_t = lr · (start + (end − start) · min(t, T)/T),   T = total_iters

    Past its end the rate stays.

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.LinearLR's documentation.
    """

    def __init__(
        self,
        lr: float,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        super().__init__(lr)
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(
                f"LinearLR: invalid factors {start_factor} and {end_factor}: the first must be in "
                "(0, 1], the second in [0, 1]"
            )
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = self.count("total_iters", total_iters)

    def rate(self, t: int) -> float:
        """See the class."""
        done = min(t, self.total_iters) / self.total_iters
        return self.lr * (self.start_factor + (self.end_factor - self.start_factor) * done)


class ExponentialLR(Schedule):
    r"""lr_t = lr · γᵗ

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.ExponentialLR's documentation.
    """

    def __init__(self, lr: float, gamma: float = 0.9) -> None:
        super().__init__(lr)
        self.gamma = gamma

    def rate(self, t: int) -> float:
        """See the class."""
        return float(self.lr * self.gamma**t)


class StepLR(Schedule):
    r"""lr_t = lr · γ^⌊t/step_size⌋

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.StepLR's documentation.
    """

    def __init__(self, lr: float, step_size: int = 3, gamma: float = 0.1) -> None:
        super().__init__(lr)
        self.step_size, self.gamma = self.count("step_size", step_size), gamma

    def rate(self, t: int) -> float:
        """See the class."""
        return float(self.lr * self.gamma ** (t // self.step_size))


class MultiStepLR(Schedule):
    r"""lr_t = lr · γ^(number of milestones ≤ t)

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.MultiStepLR's documentation.
    """

    def __init__(self, lr: float, milestones: Sequence[int] = (3, 7), gamma: float = 0.1) -> None:
        super().__init__(lr)
        self.milestones, self.gamma = tuple(sorted(milestones)), gamma

    def rate(self, t: int) -> float:
        """See the class."""
        return float(self.lr * self.gamma ** bisect_right(self.milestones, t))


class PolynomialLR(Schedule):
    r"""lr_t = lr · (1 − min(t, T)/T)^power,   T = total_iters

    Past its end the rate is 0.

    Shapes and dtypes: see `Schedule`.

    Source: torch.optim.lr_scheduler.PolynomialLR's documentation.
    """

    def __init__(self, lr: float, total_iters: int = 5, power: float = 1.0) -> None:
        super().__init__(lr)
        self.total_iters, self.power = self.count("total_iters", total_iters), power

    def rate(self, t: int) -> float:
        """See the class."""
        return float(self.lr * (1 - min(t, self.total_iters) / self.total_iters) ** self.power)


class CosineAnnealingLR(Schedule):
    r"""lr_t = lr_min + ½ (lr − lr_min)(1 + cos(π t/T_max))

    Past T_max the cosine goes on (``convention="torch"``, the default): the rate rises again, to lr
    at 2 T_max. With ``"jax"``, as optax.cosine_decay_schedule, it stays at lr_min.

    Shapes and dtypes: see `Schedule`.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017,
    equation 5, without restarts.
    """

    def __init__(
        self, lr: float, T_max: int = 5, eta_min: float = 0.0, *, convention: str = "torch"
    ) -> None:
        super().__init__(lr)
        require_choice("CosineAnnealingLR", "convention", convention, ("torch", "jax"))
        self.T_max, self.eta_min = self.count("T_max", T_max), eta_min
        self.convention = convention

    def rate(self, t: int) -> float:
        """See the class."""
        if self.convention == "jax":
            t = min(t, self.T_max)
        return _cosine(self.lr, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(Schedule):
    r"""The cosine of `CosineAnnealingLR`, begun anew after T_0, T_0 T_mult, T_0 T_mult², … steps

    Shapes and dtypes: see `Schedule`.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017,
    equation 5.
    """

    def __init__(self, lr: float, T_0: int = 4, T_mult: int = 1, eta_min: float = 0.0) -> None:
        super().__init__(lr)
        self.T_0, self.T_mult = self.count("T_0", T_0), self.count("T_mult", T_mult)
        self.eta_min = eta_min

    def rate(self, t: int) -> float:
        """See the class."""
        period = self.T_0
        while t >= period:
            t -= period
            period *= self.T_mult
        return _cosine(self.lr, self.eta_min, t / period)


class OneCycleLR(Schedule):
    r"""Up from lr/div_factor to lr, then down to lr/(div_factor · final_div_factor)

    With N = total_steps the rise ends at step s N − 1 and the fall at N − 1, s = pct_start; between
    two rates a and b the way is b + ½ (a − b)(1 + cos(π u)), u from 0 to 1, or with
    ``anneal_strategy="linear"`` a + (b − a) u.

    With ``convention="jax"``, as optax.cosine_onecycle_schedule with N transition steps, the rise
    ends at step ⌊s N⌋ and the fall at N, and past its end the rate stays. The default is torch.optim's:
    step N, one past the end, goes on along the curve, and a later one raises ValueError.

    Shapes and dtypes: see `Schedule`.

    Source: Smith and Topin, Super-convergence, arXiv:1708.07120 (2017); torch.optim.lr_scheduler's
    OneCycleLR for two phases and the cosine.
    """

    def __init__(
        self,
        lr: float,
        total_steps: int = 12,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        *,
        convention: str = "torch",
    ) -> None:
        super().__init__(lr)
        require_choice("OneCycleLR", "convention", convention, ("torch", "jax"))
        require_choice("OneCycleLR", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: invalid pct_start {pct_start}: it must be in [0, 1]")
        self.total_steps = self.count("total_steps", total_steps)
        self.pct_start, self.anneal_strategy = pct_start, anneal_strategy
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.convention = convention

    def rate(self, t: int) -> float:
        """See the class."""
        first = self.lr / self.div_factor
        last = first / self.final_div_factor
        top: float
        if self.convention == "jax":
            top, end = int(self.pct_start * self.total_steps), self.total_steps
            t = min(t, end)
        else:
            top, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
            if t > self.total_steps:
                raise ValueError(
                    f"OneCycleLR: step {t} is past its end: it has {self.total_steps} steps, "
                    f"0 to {end}"
                )
        between = _cosine if self.anneal_strategy == "cos" else _line
        if t <= top and top > 0:
            return between(first, self.lr, t / top)
        return between(self.lr, last, (t - top) / (end - top))


def _cosine(a: float, b: float, u: float) -> float:
    """From a at u = 0 to b at u = 1 along half a cosine."""
    return b + (a - b) * (1 + math.cos(math.pi * u)) / 2


def _line(a: float, b: float, u: float) -> float:
    return a + (b - a) * u
