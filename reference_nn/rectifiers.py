"""Activations with kinks: linear in pieces, or nearly.

At a kink there is no derivative, and what a layer returns there is a choice, between the
derivatives on both sides. Each class says which it makes. Where PyTorch and JAX choose
differently, ``convention="torch"`` (the default) or ``"jax"`` sets it.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reference_nn.activations import Elementwise, require_shape
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
    r"""max(x, 0),   derivative 1 for x > 0, 0 for x < 0

    At the kink, x = 0, every slope in [0, 1] is that of a line that touches the graph from below
    (a subgradient). PyTorch and jax.nn.relu take 0, and so is it here.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Glorot, Bordes, Bengio, Deep sparse rectifier neural networks, AISTATS 2011.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.maximum(x, 0))

    def derivative(self, x: Array) -> Array:
        """1 where x > 0."""
        return (x > 0).astype(x.dtype)


class ReLU6(Elementwise):
    r"""min(max(x, 0), 6),   derivative 1 for 0 < x < 6, else 0

    At both kinks, x = 0 and x = 6, it is 0, in PyTorch and in jax.nn.relu6 too.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., MobileNets, arXiv:1704.04861.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [0, 6]."""
        return np.clip(x, 0, 6)

    def derivative(self, x: Array) -> Array:
        """1 where 0 < x < 6."""
        return ((x > 0) & (x < 6)).astype(x.dtype)


class LeakyReLU(Elementwise):
    r"""max(x, 0) + s min(x, 0),   derivative 1 for x > 0, s for x < 0

    At the kink, x = 0, PyTorch takes s and jax.nn.leaky_relu takes 1: ``convention`` says which.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for another convention.

    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic models,
    ICML 2013.
    """

    def __init__(self, negative_slope: float = 0.01, *, convention: str = "torch") -> None:
        require_choice("LeakyReLU", "convention", convention, CONVENTIONS)
        self.negative_slope = negative_slope
        self.convention = convention

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0))

    def derivative(self, x: Array) -> Array:
        """1 or the slope."""
        upper = x > 0 if self.convention == "torch" else x >= 0
        return np.where(upper, np.ones_like(x), self.negative_slope)


class ELU(Elementwise):
    r"""x for x > 0, α (eˣ − 1) for x ≤ 0,   derivative 1 for x > 0, α eˣ for x < 0

    At x = 0 these meet only if α = 1; otherwise it is a kink, where the derivative here is α, as
    in PyTorch and jax.nn.elu. The exponential is taken of min(x, 0): it cannot overflow, and
    where x > 0 it adds nothing, e⁰ − 1 = 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by exponential
    linear units, ICLR 2016.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, above −α."""
        return np.asarray(np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0)))

    def derivative(self, x: Array) -> Array:
        """1 or α eˣ."""
        return np.asarray(np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0))))


class CELU(Elementwise):
    r"""x for x > 0, α (e^{x/α} − 1) for x ≤ 0,   derivative 1 for x > 0, e^{x/α} for x ≤ 0

    Both derivatives are 1 at x = 0, whatever α: unlike ELU it has no kink.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for α = 0.

    Source: Barron, Continuously differentiable exponential linear units, arXiv:1704.07483.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        if alpha == 0:
            raise ValueError("CELU: alpha=0 divides by zero")
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.maximum(x, 0) + self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))

    def derivative(self, x: Array) -> Array:
        """1 or e^{x/α}."""
        return np.asarray(np.exp(np.minimum(x, 0) / self.alpha))


class SELU(Elementwise):
    r"""λ x for x > 0, λ α (eˣ − 1) for x ≤ 0,   derivative λ for x > 0, λ α eˣ for x < 0

    λ and α are such that activations of mean 0 and variance 1 keep both. As α ≠ 1 there is a kink
    at x = 0; the derivative there is λ α, as in PyTorch and jax.nn.selu.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Klambauer et al., Self-normalizing neural networks, NeurIPS 2017, equation 2 and the
    appendix for the constants.
    """

    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        lower = self.ALPHA * np.expm1(np.minimum(x, 0))
        return np.asarray(self.SCALE * (np.maximum(x, 0) + lower))

    def derivative(self, x: Array) -> Array:
        """λ or λ α eˣ."""
        lower = self.ALPHA * np.exp(np.minimum(x, 0))
        return np.asarray(self.SCALE * np.where(x > 0, 1, lower))


class Hardtanh(Elementwise):
    r"""x clipped to [min_val, max_val],   derivative 1 inside, 0 outside

    At the two bounds PyTorch takes 0, jax.nn.hard_tanh takes 1: ``convention`` says which.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError if max_val ≤ min_val,
    and for another convention.

    Source: Collobert, Large scale machine learning, thesis, Université Paris 6 (2004).
    """

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, *, convention: str = "torch"
    ) -> None:
        require_choice("Hardtanh", "convention", convention, CONVENTIONS)
        if not max_val > min_val:
            raise ValueError(f"Hardtanh: max_val={max_val} must be larger than min_val={min_val}")
        self.min_val, self.max_val, self.convention = min_val, max_val, convention

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [min_val, max_val]."""
        return np.clip(x, self.min_val, self.max_val)

    def derivative(self, x: Array) -> Array:
        """1 inside the bounds."""
        if self.convention == "torch":
            return ((x > self.min_val) & (x < self.max_val)).astype(x.dtype)
        return ((x >= self.min_val) & (x <= self.max_val)).astype(x.dtype)


class Hardsigmoid(Elementwise):
    r"""min(max(x + 3, 0), 6) / 6,   derivative 1/6 for −3 < x < 3, else 0

    At both kinks, x = ±3, it is 0, in PyTorch and in jax.nn.hard_sigmoid too.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in [0, 1]."""
        return np.asarray(np.clip(x + 3, 0, 6) / 6)

    def derivative(self, x: Array) -> Array:
        """1/6 between the kinks."""
        return ((x > -3) & (x < 3)).astype(x.dtype) / 6


class Hardswish(Elementwise):
    r"""x hardsigmoid(x),   derivative 0 for x < −3, 1 for x > 3, (2x + 3)/6 between

    by the product rule on x (x + 3)/6. The last is −1/2 at −3 and 3/2 at 3, so both are kinks;
    there the derivative is 0 and 1, in PyTorch and in jax.nn.hard_swish too.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019, section 5.2.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(x * (np.clip(x + 3, 0, 6) / 6))

    def derivative(self, x: Array) -> Array:
        """0, (2x + 3)/6 or 1."""
        between = (2 * np.clip(x, -3, 3) + 3) / 6
        return np.asarray(np.where(x >= 3, 1, np.where(x <= -3, 0, between)))


class Hardshrink(Elementwise):
    r"""x where |x| > λ, else 0,   derivative 1 where |x| > λ, else 0

    The function itself jumps at ±λ, where both it and the derivative are 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Hardshrink, documentation.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where((x >= -self.lambd) & (x <= self.lambd), 0, x))

    def derivative(self, x: Array) -> Array:
        """1 outside ±λ."""
        return ((x > self.lambd) | (x < -self.lambd)).astype(x.dtype)


class Softshrink(Elementwise):
    r"""x − λ for x > λ, x + λ for x < −λ, else 0,   derivative 1, 1 and 0

    In one formula, x less what of it lies within ±λ. At the kinks, x = ±λ, the derivative is 0.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for a negative λ.

    Source: torch.nn.Softshrink, documentation.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        if lambd < 0:
            raise ValueError(f"Softshrink: lambd={lambd} must not be negative")
        self.lambd = lambd

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(x - np.clip(x, -self.lambd, self.lambd))

    def derivative(self, x: Array) -> Array:
        """1 outside ±λ."""
        return ((x > self.lambd) | (x < -self.lambd)).astype(x.dtype)


class Threshold(Elementwise):
    r"""x where x > threshold, else value,   derivative 1 and 0

    The function jumps at the threshold, where it is the value and its derivative 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Threshold, documentation.
    """

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(np.where(x <= self.threshold, self.value, x))

    def derivative(self, x: Array) -> Array:
        """1 above the threshold."""
        return (x > self.threshold).astype(x.dtype)


class PReLU(Layer):
    r"""max(x, 0) + a min(x, 0), the slope a learned: one for all, or one per channel

    Each element's gradient passes with slope 1 or a; and as ∂y/∂a = min(x, 0) for every element
    that uses this a, the gradient of a is a sum over those:

        ∂L/∂x = G for x > 0, a G for x < 0
        ∂L/∂a = Σ G min(x, 0)

    over everything but the channel axis (axis 1), or over everything if a is shared. At the kink,
    x = 0, PyTorch passes a G; the PReLUs of JAX's libraries (flax, equinox) pass G:
    ``convention`` says which.

    Shapes: x (batch, channels, …), or any if a is shared; output that of x; weights
    (num_parameters,), 1 or the number of channels. dtypes: float32 or float64, that of x and the
    weights. Raises ValueError if the slopes are neither one nor one per channel, if
    grad_output is not of the shape of x, and for another convention.

    Every slope starts at ``init``, 0.25 as in PyTorch.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, equations 1 and 8.
    """

    parameter_names = ("weights",)

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, convention: str = "torch"
    ) -> None:
        require_choice("PReLU", "convention", convention, CONVENTIONS)
        self.convention = convention
        self.weights: Array = np.full(num_parameters, init)
        self.grad_weights: Array = np.zeros(num_parameters)

    def _slope(self, x: Array) -> Array:
        """The slopes, one for each element of x by broadcasting."""
        if self.weights.size == 1:
            return self.weights.reshape((1,) * x.ndim)
        if x.ndim < 2 or x.shape[1] != self.weights.size:
            raise ValueError(
                f"PReLU: {self.weights.size} slopes need an input of shape (batch, "
                f"{self.weights.size}, …), found {x.shape}"
            )
        return self.weights.reshape(-1, *(1,) * (x.ndim - 2))

    def forward(self, x: Array) -> Array:
        """The shape of x."""
        return np.asarray(np.maximum(x, 0) + self._slope(x) * np.minimum(x, 0))

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights."""
        slope = self._slope(x)
        require_shape(self, grad_output, x.shape)
        shared = self.weights.size == 1
        axes = tuple(axis for axis in range(x.ndim) if shared or axis != 1)
        total = (grad_output * np.minimum(x, 0)).sum(axis=axes)
        self.grad_weights = np.asarray(total).reshape(self.weights.shape)
        upper = x > 0 if self.convention == "torch" else x >= 0
        return np.where(upper, grad_output, slope * grad_output)
