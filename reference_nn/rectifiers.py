"""Activations with kinks: linear in pieces, or nearly. What the derivative is *at* a kink is a choice."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reference_nn.activations import Elementwise
from reference_nn.layer import Array, Layer, require_choice

__all__ = [
    "CELU",
    "ELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "Softshrink",
    "Threshold",
]

CONVENTIONS = ("torch", "jax")


class ReLU(Elementwise):
    r"""max(x, 0),   derivative 1 for x > 0, 0 for x < 0; at the kink 0.

    Any value in [0, 1] is a subgradient at 0; PyTorch and jax.nn.relu take 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Glorot, Bordes, Bengio, Deep sparse rectifier neural networks, AISTATS 2011.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where(x > 0, x, 0))

    def derivative(self, x: Array) -> Array:
        """1 where x > 0."""
        return (x > 0).astype(x.dtype)


class ReLU6(Elementwise):
    r"""min(max(x, 0), 6),   derivative 1 for 0 < x < 6, else 0 (at both kinks too).

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., MobileNets, arXiv:1704.04861.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [0, 6]."""
        return np.asarray(np.where(x > 6, 6, np.where(x > 0, x, 0))).astype(x.dtype, copy=False)

    def derivative(self, x: Array) -> Array:
        """1 where 0 < x < 6."""
        return ((x > 0) & (x < 6)).astype(x.dtype)


class LeakyReLU(Elementwise):
    r"""x for x > 0, s x for x < 0,   derivative 1 and s

    At 0 PyTorch takes s, jax.nn.leaky_relu takes 1: ``convention`` says which.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic models,
    ICML 2013.
    """

    def __init__(self, negative_slope: float = 0.01, convention: str = "torch") -> None:
        require_choice("LeakyReLU", "convention", convention, CONVENTIONS)
        self.negative_slope = negative_slope
        self.convention = convention

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where(x > 0, x, self.negative_slope * x))

    def derivative(self, x: Array) -> Array:
        """1 or the slope."""
        upper = x > 0 if self.convention == "torch" else x >= 0
        return np.where(upper, 1, self.negative_slope).astype(x.dtype)


class ELU(Elementwise):
    r"""x for x > 0, α (eˣ − 1) for x ≤ 0,   derivative 1 and α eˣ.

    Smooth at 0 only if α = 1. The exponential is taken of min(x, 0): it cannot overflow.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by exponential
    linear units, ICLR 2016.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, above −α."""
        return np.asarray(np.where(x > 0, x, self.alpha * np.expm1(np.where(x > 0, 0, x))))

    def derivative(self, x: Array) -> Array:
        """1 or α eˣ."""
        return np.asarray(np.where(x > 0, 1, self.alpha * np.exp(np.where(x > 0, 0, x))))


class CELU(Elementwise):
    r"""x for x > 0, α (e^{x/α} − 1) for x ≤ 0,   derivative 1 and e^{x/α}: smooth at 0 for all α.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for α = 0.

    Source: Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if alpha == 0:
            raise ValueError("CELU: alpha=0 divides by zero")
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        lower = np.expm1(np.where(x > 0, 0, x) / self.alpha)
        return np.asarray(np.where(x > 0, x, self.alpha * lower))

    def derivative(self, x: Array) -> Array:
        """1 or e^{x/α}."""
        return np.asarray(np.where(x > 0, 1, np.exp(np.where(x > 0, 0, x) / self.alpha)))


class SELU(Elementwise):
    r"""λ x for x > 0, λ α (eˣ − 1) for x ≤ 0,   derivative λ and λ α eˣ

    λ and α are such that activations of mean 0 and variance 1 keep both.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Klambauer et al., Self-normalizing neural networks, NeurIPS 2017, equation 2 and the
    appendix for the constants.
    """

    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        lower = self.ALPHA * np.expm1(np.where(x > 0, 0, x))
        return np.asarray(self.SCALE * np.where(x > 0, x, lower))

    def derivative(self, x: Array) -> Array:
        """λ or λ α eˣ."""
        lower = self.ALPHA * np.exp(np.where(x > 0, 0, x))
        return np.asarray(self.SCALE * np.where(x > 0, 1, lower))


class Hardtanh(Elementwise):
    r"""x clipped to [min_val, max_val],   derivative 1 inside, 0 outside

    At the two bounds PyTorch takes 0, jax.nn.hard_tanh takes 1: ``convention`` says which.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError if max_val ≤ min_val.

    Source: Collobert, Large scale machine learning, thesis, Université Paris 6 (2004).
    """

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, convention: str = "torch"
    ) -> None:
        require_choice("Hardtanh", "convention", convention, CONVENTIONS)
        if not max_val > min_val:
            raise ValueError(f"Hardtanh: max_val={max_val} must be larger than min_val={min_val}")
        self.min_val, self.max_val, self.convention = min_val, max_val, convention

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [min_val, max_val]."""
        low = np.where(x < self.min_val, self.min_val, x)
        return np.asarray(np.where(x > self.max_val, self.max_val, low)).astype(x.dtype, copy=False)

    def derivative(self, x: Array) -> Array:
        """1 inside the bounds."""
        if self.convention == "torch":
            return ((x > self.min_val) & (x < self.max_val)).astype(x.dtype)
        return ((x >= self.min_val) & (x <= self.max_val)).astype(x.dtype)


class Hardsigmoid(Elementwise):
    r"""min(max(x + 3, 0), 6) / 6,   derivative 1/6 for −3 < x < 3, else 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [0, 1]."""
        return np.asarray(np.where(x >= 3, 1, np.where(x <= -3, 0, (x + 3) / 6)))

    def derivative(self, x: Array) -> Array:
        """1/6 between the kinks."""
        return np.where((x > -3) & (x < 3), 1 / 6, 0).astype(x.dtype)


class Hardswish(Elementwise):
    r"""x hardsigmoid(x),   derivative 0 for x ≤ −3, 1 for x ≥ 3, (2x + 3)/6 between

    by the product rule on x (x + 3)/6.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where(x >= 3, x, np.where(x <= -3, 0, x * (x + 3) / 6)))

    def derivative(self, x: Array) -> Array:
        """0, (2x + 3)/6 or 1."""
        return np.asarray(np.where(x >= 3, 1, np.where(x <= -3, 0, (2 * x + 3) / 6)))


class Hardshrink(Elementwise):
    r"""x where |x| > λ, else 0,   derivative 1 and 0. It jumps at ±λ.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Hardshrink, documentation.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where((x > self.lambd) | (x < -self.lambd), x, 0))

    def derivative(self, x: Array) -> Array:
        """1 outside ±λ."""
        return ((x > self.lambd) | (x < -self.lambd)).astype(x.dtype)


class Softshrink(Elementwise):
    r"""x − λ for x > λ, x + λ for x < −λ, else 0,   derivative 1, 1 and 0.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for a negative λ.

    Source: torch.nn.Softshrink, documentation.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        if lambd < 0:
            raise ValueError(f"Softshrink: lambd={lambd} must not be negative")
        self.lambd = lambd

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        low = np.where(x < -self.lambd, x + self.lambd, 0)
        return np.asarray(np.where(x > self.lambd, x - self.lambd, low))

    def derivative(self, x: Array) -> Array:
        """1 outside ±λ."""
        return ((x > self.lambd) | (x < -self.lambd)).astype(x.dtype)


class Threshold(Elementwise):
    r"""x where x > threshold, else value,   derivative 1 and 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Threshold, documentation.
    """

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.where(x > self.threshold, x, self.value).astype(x.dtype, copy=False)

    def derivative(self, x: Array) -> Array:
        """1 above the threshold."""
        return (x > self.threshold).astype(x.dtype)


class PReLU(Layer):
    r"""x for x > 0, a x for x ≤ 0, the slope a learned: one for all, or one per channel

        ∂L/∂x = G ⊙ (1 where x > 0, else a)
        ∂L/∂a = Σ G x over the elements with x ≤ 0 that use this a

    the sum over everything but the channel axis (axis 1), or over everything if a is shared.

    Shapes: x (batch, channels, …) or any if a is shared; output that of x; weights
    (num_parameters,), 1 or the number of channels. dtypes: float32 or float64.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, equations 1 and 8.
    """

    parameter_names = ("weights",)

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        self.weights: Array = np.full(num_parameters, init)
        self.grad_weights: Array = np.zeros(num_parameters)

    def _slope(self, x: Array) -> Array:
        if self.weights.size == 1:
            return self.weights.reshape((1,) * x.ndim)
        if x.ndim < 2 or x.shape[1] != self.weights.size:
            raise ValueError(
                f"PReLU: {self.weights.size} slopes need as many channels on axis 1, got shape {x.shape}"
            )
        return self.weights.reshape(1, -1, *(1,) * (x.ndim - 2))

    def forward(self, x: Array) -> Array:
        """The shape of x."""
        return np.asarray(np.where(x > 0, x, self._slope(x) * x))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights."""
        lower = np.where(x > 0, 0, grad_output * x)
        shared = self.weights.size == 1
        axes = tuple(i for i in range(x.ndim) if shared or i != 1)
        self.grad_weights = lower.sum(axis=axes).reshape(self.weights.shape)
        return np.asarray(grad_output * np.where(x > 0, 1, self._slope(x)))
