"""Losses on numbers: prediction and target to one number, or one per element."""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array, Layer, require_choice

__all__ = [
    "GaussianNLLLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
]

REDUCTIONS = ("mean", "sum", "none")


class Loss(Layer):
    """What losses share: the reduction and its derivative.

    ``"none"`` keeps one value per element, ``"sum"`` adds them, ``"mean"`` divides the sum by
    their number n. So the upstream gradient of each element is G itself, G, or G/n.
    """

    def __init__(self, reduction: str = "mean") -> None:
        require_choice(type(self).__name__, "reduction", reduction, REDUCTIONS)
        self.reduction = reduction

    def reduce(self, elements: Array) -> Array:
        """One number of the elements' dtype, or the elements themselves."""
        if self.reduction == "none":
            return np.asarray(elements)
        return np.asarray(elements.mean() if self.reduction == "mean" else elements.sum())

    def spread(self, grad_output: Array | float, elements: Array) -> Array:
        """The upstream gradient of every element, in the elements' dtype and shape."""
        upstream = np.asarray(grad_output, dtype=elements.dtype)
        if self.reduction == "mean":
            upstream = upstream / elements.dtype.type(elements.size)
        return np.broadcast_to(upstream, elements.shape)


def require_same_shape(layer: str, prediction: Array, target: Array) -> None:
    """Refuse shapes that would broadcast: (N,) and (N, 1) give the loss of every pair.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"{layer}: prediction has shape {prediction.shape}, target {target.shape}; "
            "they must be the same, or every pair would be compared"
        )


class MSELoss(Loss):
    r"""ℓ = (prediction − target)², then the mean, the sum or neither

        ∂ℓ/∂prediction = 2 (prediction − target)

    times the upstream gradient of the element (see `Loss`): with ``"mean"`` over n elements the
    factor is 2/n.

    Shapes: prediction and target alike, any; output () or, for ``"none"``, that of the inputs.
    dtypes: float32 or float64. Raises ValueError where the shapes differ.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 1.1.
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("MSELoss", prediction, target)
        return self.reduce(np.square(prediction - target))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("MSELoss", prediction, target)
        difference = prediction - target
        return 2 * difference * self.spread(grad_output, difference)


class L1Loss(Loss):
    r"""ℓ = |prediction − target|,   ∂ℓ/∂prediction = sign(prediction − target)

    Where both are equal PyTorch takes 0, JAX's abs takes 1: ``convention`` says which.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError where the shapes differ.

    Source: torch.nn.L1Loss, documentation.
    """

    def __init__(self, reduction: str = "mean", convention: str = "torch") -> None:
        super().__init__(reduction)
        require_choice("L1Loss", "convention", convention, ("torch", "jax"))
        self.convention = convention

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("L1Loss", prediction, target)
        difference = prediction - target
        return self.reduce(np.where(difference < 0, -difference, difference))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        difference = prediction - target
        sign = np.sign(difference)
        if self.convention == "jax":
            sign = np.where(difference >= 0, 1, -1).astype(difference.dtype)
        return sign * self.spread(grad_output, difference)


class HuberLoss(Loss):
    r"""ℓ = ½ d² for |d| ≤ δ, δ (|d| − ½ δ) beyond, d = prediction − target

        ∂ℓ/∂prediction = d clipped to [−δ, δ]

    continuous at |d| = δ, where only the second derivative jumps.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError for δ ≤ 0.

    Source: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics
    35 (1964).
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta={delta} must be positive")
        self.delta = delta

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("HuberLoss", prediction, target)
        d = prediction - target
        size = np.where(d < 0, -d, d)
        linear = self.delta * (size - self.delta / 2)
        return self.reduce(np.where(size <= self.delta, d * d / 2, linear))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        d = prediction - target
        return np.clip(d, -self.delta, self.delta) * self.spread(grad_output, d)


class SmoothL1Loss(Loss):
    r"""ℓ = ½ d²/β for |d| < β, |d| − ½ β beyond: the Huber loss with δ = β, divided by β

        ∂ℓ/∂prediction = d/β clipped to [−1, 1]

    With β = 0 it is |d|.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError for β < 0.

    Source: Girshick, Fast R-CNN, ICCV 2015, equation 3.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if beta < 0:
            raise ValueError(f"SmoothL1Loss: beta={beta} must not be negative")
        self.beta = beta

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("SmoothL1Loss", prediction, target)
        d = prediction - target
        size = np.where(d < 0, -d, d)
        if self.beta == 0:
            return self.reduce(size)
        return self.reduce(
            np.where(size < self.beta, d * d / (2 * self.beta), size - self.beta / 2)
        )

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        d = prediction - target
        slope = np.sign(d) if self.beta == 0 else np.clip(d / self.beta, -1, 1)
        return slope * self.spread(grad_output, d)


class PoissonNLLLoss(Loss):
    r"""Negative log-likelihood of a count t under a Poisson distribution

    With ``log_input`` the prediction x is the logarithm of the rate:

        ℓ = eˣ − t x,              ∂ℓ/∂x = eˣ − t

    else it is the rate: ℓ = x − t log(x + ε), ∂ℓ/∂x = 1 − t/(x + ε). ``full`` adds Stirling's
    approximation of log t!, t log t − t + ½ log(2πt) for t > 1, which has no x in it.

    Shapes: as `MSELoss`. dtypes: float32 or float64.

    Source: torch.nn.PoissonNLLLoss, documentation.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("PoissonNLLLoss", prediction, target)
        if self.log_input:
            elements = np.exp(prediction) - target * prediction
        else:
            elements = prediction - target * np.log(prediction + self.eps)
        if self.full:
            many = np.where(target > 1, target, 1)
            stirling = many * np.log(many) - many + np.log(2 * math.pi * many) / 2
            elements = elements + np.where(target > 1, stirling, 0)
        return self.reduce(elements)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        if self.log_input:
            slope = np.exp(prediction) - target
        else:
            slope = 1 - target / (prediction + self.eps)
        return slope * self.spread(grad_output, prediction)


class GaussianNLLLoss(Loss):
    r"""Negative log-likelihood of t under a normal distribution of mean x and variance v

        ℓ = ½ (log v + (x − t)²/v)  [+ ½ log 2π with ``full``]
        ∂ℓ/∂x = (x − t)/v
        ∂ℓ/∂v = ½ (1/v − (x − t)²/v²)

    v is clamped to ε from below in the value, and the gradient passes as if it were not.

    Shapes: prediction, target and var alike. dtypes: float32 or float64. Raises ValueError for a
    negative variance.

    Source: Nix and Weigend, Estimating the mean and variance of the target probability
    distribution, ICNN 1994.
    """

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def _variance(self, var: Array) -> Array:
        if np.any(np.real(var) < 0):
            raise ValueError("GaussianNLLLoss: var has negative entries")
        return np.asarray(np.where(var < self.eps, self.eps, var)).astype(var.dtype, copy=False)

    def forward(self, prediction: Array, target: Array, var: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("GaussianNLLLoss", prediction, target)
        v = self._variance(var)
        elements = (np.log(v) + np.square(prediction - target) / v) / 2
        if self.full:
            elements = elements + math.log(2 * math.pi) / 2
        return self.reduce(elements)

    def backward(
        self, prediction: Array, target: Array, var: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of the prediction and of the variance."""
        v = self._variance(var)
        d = prediction - target
        upstream = self.spread(grad_output, d)
        return d / v * upstream, (1 / v - np.square(d / v)) / 2 * upstream
