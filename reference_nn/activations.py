"""Smooth activations: one element in, one element out."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
from reference_nn.special import erfc

__all__ = [
    "GELU",
    "Elementwise",
    "LogSigmoid",
    "Mish",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Tanh",
    "Tanhshrink",
]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), times eˣ / eˣ where x < 0: no exponent is positive, so none overflows."""
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(np.minimum(x, -x))))


def sigmoid_derivative(x: Array) -> Array:
    """σ(x) σ(−x) = e^{−|x|} / (1 + e^{−|x|})²."""
    small = np.exp(np.minimum(x, -x))
    return np.asarray(small / (1 + small) ** 2)


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^{−|x|})."""
    return np.asarray(np.maximum(x, 0) + np.log1p(np.exp(np.minimum(x, -x))))


def require_shape(layer: object, grad_output: Array, output: tuple[int, ...]) -> None:
    """Refuse an upstream gradient that is not of the output's shape, before it is broadcast.

    Raises:
        ValueError: the message names the layer and both shapes.
    """
    if grad_output.shape != output:
        name = type(layer).__name__
        raise ValueError(
            f"{name}: grad_output has shape {grad_output.shape}, expected {output}, the output's"
        )


class Elementwise(Layer):
    r"""Base of the activations that act on every element alone.

    y_i = f(x_i), so ∂y_i/∂x_j = f′(x_i) for i = j and 0 otherwise: the Jacobian is diagonal and

        ∂L/∂x = G ⊙ f′(x)

    A subclass gives ``forward``, which is f, and ``derivative``, which is f′.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError if grad_output is not of
    the shape of x.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.5.
    """

    def forward(self, x: Array) -> Array:
        """f(x), any shape."""
        raise NotImplementedError

    def derivative(self, x: Array) -> Array:
        """f′(x), the shape of x."""
        raise NotImplementedError

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        require_shape(self, grad_output, x.shape)
        return np.asarray(grad_output * self.derivative(x))


class Sigmoid(Elementwise):
    r"""σ(x) = 1 / (1 + e⁻ˣ)

    σ′ = e⁻ˣ / (1 + e⁻ˣ)² = σ(x) (1 − σ(x)) = σ(x) σ(−x). The last form keeps its digits at large
    x, where the difference 1 − σ(x) loses them all.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 3.10.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in (0, 1)."""
        return sigmoid(x)

    def derivative(self, x: Array) -> Array:
        """σ(x) σ(−x)."""
        return sigmoid_derivative(x)


class Tanh(Elementwise):
    r"""tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ),   tanh′ = 1 − tanh²

    by the quotient rule: (cosh² − sinh²) / cosh².

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 4.5.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in (−1, 1)."""
        return np.tanh(x)

    def derivative(self, x: Array) -> Array:
        """1 − tanh²."""
        return 1 - np.tanh(x) ** 2


class Tanhshrink(Elementwise):
    r"""x − tanh(x), whose derivative is tanh²(x).

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.Tanhshrink, documentation.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return x - np.tanh(x)

    def derivative(self, x: Array) -> Array:
        """tanh²."""
        return np.tanh(x) ** 2


class Softsign(Elementwise):
    r"""x / (1 + |x|),   derivative 1 / (1 + |x|)²

    since for x > 0 the quotient rule gives ((1 + x) − x) / (1 + x)², and likewise for x < 0; both
    are 1 at x = 0.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, in (−1, 1)."""
        return np.asarray(x / (1 + np.maximum(x, -x)))

    def derivative(self, x: Array) -> Array:
        """1 / (1 + |x|)², divided first: the square cannot overflow."""
        return np.asarray((1 / (1 + np.maximum(x, -x))) ** 2)


class Softplus(Elementwise):
    r"""log(1 + e^{βx}) / β, and x itself where βx exceeds a threshold

    The derivative of the first is e^{βx} / (1 + e^{βx}) = σ(βx), of the second 1. PyTorch takes
    the second above the threshold, JAX never does: ``threshold=math.inf`` is JAX's function.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Dugas et al., Incorporating second-order functional knowledge for better option
    pricing, NIPS 2000.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, positive."""
        scaled = self.beta * x
        return np.asarray(np.where(scaled > self.threshold, x, softplus(scaled) / self.beta))

    def derivative(self, x: Array) -> Array:
        """σ(βx), 1 above the threshold."""
        scaled = self.beta * x
        return np.asarray(np.where(scaled > self.threshold, 1, sigmoid(scaled)))


class LogSigmoid(Elementwise):
    r"""log σ(x) = −log(1 + e⁻ˣ),   derivative σ(−x)

    since (log σ)′ = σ′/σ = 1 − σ(x). Written as −softplus(−x) nothing overflows.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: torch.nn.LogSigmoid, documentation.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape, negative."""
        return -softplus(-x)

    def derivative(self, x: Array) -> Array:
        """σ(−x)."""
        return sigmoid(-x)


class SiLU(Elementwise):
    r"""x σ(x),   derivative σ(x) + x σ(x) σ(−x), by the product rule.

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, Neural Networks 107 (2018).
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return x * sigmoid(x)

    def derivative(self, x: Array) -> Array:
        """σ(x) + x σ(x) σ(−x)."""
        return np.asarray(sigmoid(x) + x * sigmoid_derivative(x))


class Mish(Elementwise):
    r"""x tanh(softplus(x))

    With t = tanh(softplus(x)) and softplus′ = σ, the product and chain rules give

        t + x (1 − t²) σ(x)

    Shapes: any, kept. dtypes: float32 or float64, kept.

    Source: Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.
    """

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return x * np.tanh(softplus(x))

    def derivative(self, x: Array) -> Array:
        """t + x (1 − t²) σ(x)."""
        t = np.tanh(softplus(x))
        return np.asarray(t + x * (1 - t * t) * sigmoid(x))


class GELU(Elementwise):
    r"""x Φ(x), Φ the distribution function of the normal distribution

    ``approximate="none"``: Φ(x) = (1 + erf(x/√2)) / 2, whose derivative is the density
    φ(x) = e^{−x²/2} / √(2π). Written as erfc(−x/√2) / 2 it keeps its digits where it is small.

    ``approximate="tanh"``: Φ(x) ≈ (1 + tanh u) / 2 with u = √(2/π) (x + 0.044715 x³), whose
    derivative is (1 − tanh² u) / 2 · √(2/π) (1 + 3 · 0.044715 x²).

    By the product rule the derivative of x Φ(x) is Φ(x) + x Φ′(x), for both.

    PyTorch's default is the first, jax.nn.gelu's the second; they are at most 4.8e-4 apart.

    Shapes: any, kept. dtypes: float32 or float64, kept. Raises ValueError for another
    ``approximate``.

    Source: Hendrycks and Gimpel, Gaussian error linear units, arXiv:1606.08415.
    """

    _ROOT = math.sqrt(2 / math.pi)
    _CUBIC = 0.044715

    def __init__(self, approximate: str = "none") -> None:
        require_choice("GELU", "approximate", approximate, ("none", "tanh"))
        self.approximate = approximate

    def _tanh(self, x: Array) -> Array:
        return np.tanh(self._ROOT * (x + self._CUBIC * x * x * x))

    def _distribution(self, x: Array) -> Array:
        """Φ(x)."""
        if self.approximate == "tanh":
            return (1 + self._tanh(x)) / 2
        return erfc(-x / math.sqrt(2)) / 2

    def _density(self, x: Array) -> Array:
        """Φ′(x)."""
        if self.approximate == "tanh":
            return (1 - self._tanh(x) ** 2) / 2 * self._ROOT * (1 + 3 * self._CUBIC * x * x)
        return np.asarray(np.exp(-x * x / 2) / math.sqrt(2 * math.pi))

    def forward(self, x: Array) -> Array:
        """Any shape → the same shape."""
        return np.asarray(x * self._distribution(_near(x)))

    def derivative(self, x: Array) -> Array:
        """Φ(x) + x Φ′(x)."""
        near = _near(x)
        return np.asarray(self._distribution(near) + near * self._density(near))


def _near(x: Array) -> Array:
    """x, brought to ±40, where Φ is 0 and 1 already: its powers stay finite."""
    return np.clip(x, -40, 40)
