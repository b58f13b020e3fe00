"""Optimizers: what every one shares, and those without a memory of squares: SGD, Rprop.

An optimizer holds the parameters, changes them in place and is given the gradients::

    parameters, _ = network.get_params()
    optimizer = SGD(parameters, lr=0.1, momentum=0.9)
    ...
    network.backward(x, grad_output)
    _, gradients = network.get_params()        # backward leaves new arrays: read them every time
    optimizer.step(gradients)

There is no ``zero_grad``: a backward pass here overwrites the gradients and never adds to them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from reference_nn.layer import Array, require_choice

__all__ = ["SGD", "Optimizer", "Rprop"]


class Optimizer:
    r"""Base of every optimizer: parameters, checks, and one state per parameter

        θ_t = θ_{t−1} − update(g_t, state),    g_t = ∂L/∂θ at θ_{t−1}

    With ``maximize`` g is −∂L/∂θ. A state belongs to one parameter and counts that parameter's
    steps, from 1: a gradient that is None leaves its parameter and its count alone, as in
    torch.optim.

    Shapes: the gradients' are the parameters', which may have any.

    dtypes: float32 or float64; a gradient has its parameter's. All arithmetic is done in it.

    Raises ValueError, as torch.optim does: no parameters, the same one twice, an integer or
    read-only one; a learning rate, a decay or any other number out of its range, or NaN; another
    number of gradients than parameters, or another shape or dtype. A step without any gradient
    changes nothing and warns: no backward pass has run.

    Source: torch.optim.Optimizer's documentation, for the rules.
    """

    #: Arrays of the parameter's shape in its state, zero at the start.
    state_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float,
        weight_decay: float = 0.0,
        maximize: bool = False,
    ) -> None:
        self.parameters = _parameters(self.name, parameters)
        self.lr = self.at_least_zero("learning rate", lr)
        self.weight_decay = self.at_least_zero("weight_decay", weight_decay)
        self.maximize = maximize
        self.state: list[dict[str, Any]] = [self.start(p) for p in self.parameters]

    @property
    def name(self) -> str:
        """The name of the class, for messages."""
        return type(self).__name__

    def start(self, p: Array) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {"step": 0, **{name: np.zeros_like(p) for name in self.state_names}}

    def step(self, gradients: Sequence[Array | None]) -> None:
        """Change every parameter that has a gradient, in place.

        Args:
            gradients: one per parameter, in order; None where there is none.
        """
        gradients = list(gradients)
        self._require_gradients(gradients)
        if all(g is None for g in gradients):
            warnings.warn(
                f"{self.name}.step: no parameter has a gradient, so nothing was changed: "
                "call backward first",
                stacklevel=2,
            )
        for p, g, state in zip(self.parameters, gradients, self.state, strict=True):
            if g is not None:
                state["step"] += 1
                self.update(p, -g if self.maximize else g, state)

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """One step of one parameter: changes `p` and `state`, never `g`."""
        raise NotImplementedError

    def coupled(self, p: Array, g: Array) -> Array:
        """The gradient of L + λ/2 ‖θ‖²: weight decay that passes through the whole update."""
        return g + self.weight_decay * p if self.weight_decay else g

    # --- what is refused --------------------------------------------------------------------

    def at_least_zero(self, what: str, value: float) -> float:
        """The value, if it is a number ≥ 0."""
        if not value >= 0:  # NaN is neither
            raise ValueError(f"{self.name}: invalid {what} {value}: it must be 0 or larger")
        return value

    def share(self, what: str, value: float) -> float:
        """The value, if it is in [0, 1)."""
        if not 0 <= value < 1:
            raise ValueError(f"{self.name}: invalid {what} {value}: it must be in [0, 1)")
        return value

    def _require_gradients(self, gradients: Sequence[Array | None]) -> None:
        if len(gradients) != len(self.parameters):
            raise ValueError(
                f"{self.name}.step: {len(gradients)} gradients for {len(self.parameters)} parameters"
            )
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            if g is None:
                continue
            if not isinstance(g, np.ndarray) or g.shape != p.shape or g.dtype != p.dtype:
                found = (
                    f"shape {g.shape} and dtype {g.dtype}"
                    if isinstance(g, np.ndarray)
                    else f"type {type(g).__name__}"
                )
                raise ValueError(
                    f"{self.name}.step: gradient {i} has {found}, its parameter has shape "
                    f"{p.shape} and dtype {p.dtype}"
                )

    def __repr__(self) -> str:
        return f"{self.name}(lr={self.lr}, {len(self.parameters)} parameters)"


def _parameters(name: str, parameters: Sequence[Array]) -> list[Array]:
    if isinstance(parameters, np.ndarray):
        raise ValueError(f"{name}: the parameters must be a list of arrays, not one array")
    found = list(parameters)
    if not found:
        raise ValueError(f"{name}: the list of parameters is empty")
    for i, p in enumerate(found):
        if not isinstance(p, np.ndarray) or p.dtype.kind != "f":
            kind = p.dtype if isinstance(p, np.ndarray) else type(p).__name__
            raise ValueError(f"{name}: parameter {i} is no array of real numbers but {kind}")
        if not p.flags.writeable:
            raise ValueError(f"{name}: parameter {i} is read-only: it cannot be changed in place")
        if any(p is other for other in found[:i]):
            raise ValueError(f"{name}: parameter {i} appears twice: it would be changed twice")
    return found


class SGD(Optimizer):
    r"""Gradient descent, with momentum μ, dampening τ and weight decay λ

        g ← g + λ θ
        b_1 = g_1,    b_t = μ b_{t−1} + (1 − τ) g_t
        θ ← θ − lr · b             (``nesterov``: θ − lr (g + μ b); without momentum: θ − lr g)

    Frameworks put lr in other places: here it multiplies last, so a change of lr acts at once on
    all of b. The first gradient is not dampened, as in torch.optim.SGD; optax has no dampening.

    Shapes and dtypes: see `Optimizer`. Raises ValueError for nesterov without momentum, or with
    dampening.

    Source: Polyak, Some methods of speeding up the convergence of iteration methods (1964);
    Sutskever et al., On the importance of initialization and momentum in deep learning, ICML
    2013; torch.optim.SGD's documentation.
    """

    state_names = ("momentum_buffer",)

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay, maximize)
        self.momentum = self.at_least_zero("momentum", momentum)
        self.dampening, self.nesterov = dampening, nesterov
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        g = self.coupled(p, g)
        if self.momentum:
            first = state["step"] == 1
            b = g if first else self.momentum * state["momentum_buffer"] + (1 - self.dampening) * g
            state["momentum_buffer"] = b
            g = g + self.momentum * b if self.nesterov else b
        p -= self.lr * g


class Rprop(Optimizer):
    r"""A step size Δ for every element, which grows while the sign of the gradient stays

        s = sign(g_t g_{t−1})
        Δ ← clip(Δ · (η₊ if s > 0, η₋ if s < 0, 1 if s = 0), smallest, largest),   Δ_0 = lr
        g_t ← 0 where s < 0        so the step after a turn neither grows nor shrinks
        θ ← θ − sign(g_t) Δ

    That is ``convention="torch"``, the default. ``"jax"`` is what optax.rprop does: each update
    is applied one step late (the first step changes nothing), and dropped where the sign has
    turned meanwhile; a step size is not clipped while s = 0.

    Shapes and dtypes: see `Optimizer`. Raises ValueError unless 0 < η₋ < 1 < η₊.

    Source: Riedmiller and Braun, A direct adaptive method for faster backpropagation learning,
    ICNN 1993; Igel and Hüsken, Empirical evaluation of the improved Rprop learning algorithms,
    Neurocomputing 50 (2003), iRprop−, which this is.
    """

    state_names = ("prev",)

    def __init__(
        self,
        parameters: Sequence[Array],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
        convention: str = "torch",
    ) -> None:
        require_choice("Rprop", "convention", convention, ("torch", "jax"))
        super().__init__(parameters, lr, maximize=maximize)
        if not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(f"Rprop: invalid etas {etas}: 0 < η₋ < 1 < η₊ must hold")
        self.etas, self.step_sizes, self.convention = etas, step_sizes, convention

    def start(self, p: Array) -> dict[str, Any]:
        """Step sizes of lr, no gradient before."""
        return {**super().start(p), "step_size": np.full_like(p, self.lr)}

    def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
        """See the class."""
        smaller, larger = self.etas
        s = np.sign(g * state["prev"])
        size = state["step_size"]
        grown = np.clip(size * np.where(s > 0, larger, smaller).astype(p.dtype), *self.step_sizes)
        if self.convention == "jax":
            size = np.where(s == 0, size, grown)
            late = np.where(s < 0, 0, state["prev"])  # `prev` is the update, not the gradient
            state["prev"] = np.where(s < 0, 0, size * np.sign(g))
            p -= late
        else:
            size = np.where(s == 0, np.clip(size, *self.step_sizes), grown)
            state["prev"] = g = np.where(s < 0, 0, g)
            p -= np.sign(g) * size
        state["step_size"] = size
