"""Losses on numbers: prediction and target to one number, or one per element."""

from __future__ import annotations

import math
from typing import ClassVar

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
#: Where the frameworks differ at single points, a loss can follow either: see its docstring.
CONVENTIONS = ("torch", "jax")


class Loss(Layer):
    """What losses share: the reduction and its derivative.

    ``"none"`` keeps one value per element, ``"sum"`` adds them, ``"mean"`` divides the sum by
    their number n. So the upstream gradient of each element is G itself, G, or G/n.
    """

    reductions: ClassVar[tuple[str, ...]] = REDUCTIONS

    def __init__(self, reduction: str = "mean") -> None:
        require_choice(type(self).__name__, "reduction", reduction, self.reductions)
        self.reduction = reduction

    def reduce(self, elements: Array) -> Array:
        """One number of the elements' dtype, or the elements themselves."""
        if self.reduction == "none":
            return np.asarray(elements)
        return np.asarray(elements.mean() if self.reduction == "mean" else elements.sum())

    def spread(self, grad_output: Array | float, elements: Array) -> Array:
        """The upstream gradient of every element, in the elements' dtype and shape."""
        upstream = self.upstream(grad_output, elements)
        if self.reduction == "mean":
            upstream = upstream / elements.dtype.type(elements.size)
        return np.broadcast_to(upstream, elements.shape)

    def upstream(self, grad_output: Array | float, elements: Array) -> Array:
        """The upstream gradient as an array of the elements' dtype.

        Raises:
            ValueError: it is neither one number nor, for ``"none"``, one per element.
        """
        upstream = np.asarray(grad_output, dtype=elements.dtype)
        shapes = [(), elements.shape] if self.reduction == "none" else [()]
        if upstream.shape not in shapes:
            raise ValueError(
                f"{type(self).__name__}: grad_output has shape {upstream.shape}, expected "
                f"{shapes[-1]}, the output's with reduction={self.reduction!r}"
            )
        return upstream


def require_same_shape(layer: str, *arrays: Array) -> None:
    """Refuse shapes that would broadcast: (N,) and (N, 1) give the loss of every pair.

    Raises:
        ValueError: the shapes differ.
    """
    shapes = [array.shape for array in arrays]
    if len({*shapes}) > 1:
        raise ValueError(
            f"{layer}: its inputs have shapes {' and '.join(map(str, shapes))}; "
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
        return np.asarray(2 * difference * self.spread(grad_output, difference))


class L1Loss(Loss):
    r"""ℓ = |prediction − target|,   ∂ℓ/∂prediction = sign(prediction − target)

    Where both are equal PyTorch takes 0, JAX's abs takes 1: ``convention`` says which.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError where the shapes differ.

    Source: torch.nn.L1Loss, documentation.
    """

    def __init__(self, reduction: str = "mean", convention: str = "torch") -> None:
        super().__init__(reduction)
        require_choice("L1Loss", "convention", convention, CONVENTIONS)
        self.convention = convention

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("L1Loss", prediction, target)
        difference = prediction - target
        return self.reduce(np.where(difference < 0, -difference, difference))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("L1Loss", prediction, target)
        difference = prediction - target
        sign = np.sign(difference)
        if self.convention == "jax":
            sign = np.where(difference >= 0, 1, -1).astype(difference.dtype)
        return np.asarray(sign * self.spread(grad_output, difference))


class HuberLoss(Loss):
    r"""ℓ = ½ d² for |d| ≤ δ, δ (|d| − ½ δ) beyond, d = prediction − target

    With c = d clipped to [−δ, δ] both pieces are

        ℓ = c (d − ½ c),           ∂ℓ/∂prediction = c

    continuous at |d| = δ, where only the second derivative jumps. Far out the loss grows like |d|,
    so one wild target does not outweigh all others.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError for δ ≤ 0 and where the
    shapes differ.

    Source: Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics
    35 (1964).
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta={delta} must be positive")
        self.delta = float(delta)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("HuberLoss", prediction, target)
        d = prediction - target
        c = np.clip(d, -self.delta, self.delta)
        return self.reduce(c * (d - c / 2))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("HuberLoss", prediction, target)
        d = prediction - target
        return np.asarray(np.clip(d, -self.delta, self.delta) * self.spread(grad_output, d))


class SmoothL1Loss(Loss):
    r"""ℓ = ½ d²/β for |d| < β, |d| − ½ β beyond: the Huber loss with δ = β, divided by β

        ℓ = c (d − ½ c)/β,         ∂ℓ/∂prediction = c/β,         c = d clipped to [−β, β]

    With β = 0 it is |d|, whose derivative at 0 is taken to be 0.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError for β < 0 and where the
    shapes differ.

    Source: Girshick, Fast R-CNN, ICCV 2015, equation 3.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        if not beta >= 0:
            raise ValueError(f"SmoothL1Loss: beta={beta} must not be negative")
        self.beta = float(beta)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("SmoothL1Loss", prediction, target)
        d = prediction - target
        if self.beta == 0:
            return self.reduce(np.where(d < 0, -d, d))
        c = np.clip(d, -self.beta, self.beta)
        return self.reduce(c * (d - c / 2) / self.beta)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("SmoothL1Loss", prediction, target)
        d = prediction - target
        if self.beta == 0:
            slope = np.sign(d)
        else:
            slope = np.clip(d, -self.beta, self.beta) / self.beta
        return np.asarray(slope * self.spread(grad_output, d))


class PoissonNLLLoss(Loss):
    r"""Negative log-likelihood of a count t under a Poisson distribution of rate λ

    The probability is λᵗ e^{−λ} / t!, so up to a term without λ the loss is λ − t log λ. With
    ``log_input`` the prediction x is log λ:

        ℓ = eˣ − t x,              ∂ℓ/∂x = eˣ − t

    else it is λ: ℓ = x − t log(x + ε), ∂ℓ/∂x = 1 − t/(x + ε). ``full`` adds Stirling's
    approximation of log t!, t log t − t + ½ log(2πt), where t > 1; it has no x in it.

    Shapes: as `MSELoss`. dtypes: float32 or float64. Raises ValueError where the shapes differ.
    A logarithm too large for eˣ gives the loss Inf.

    Source: torch.nn.PoissonNLLLoss, documentation; Cameron and Trivedi, Regression Analysis of
    Count Data (1998), section 2.2.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, float(eps)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("PoissonNLLLoss", prediction, target)
        if self.log_input:
            with np.errstate(over="ignore"):
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
        require_same_shape("PoissonNLLLoss", prediction, target)
        if self.log_input:
            with np.errstate(over="ignore"):
                slope = np.exp(prediction) - target
        else:
            slope = 1 - target / (prediction + self.eps)
        return np.asarray(slope * self.spread(grad_output, prediction))


class GaussianNLLLoss(Loss):
    r"""Negative log-likelihood of t under a normal distribution of mean x and variance v

        ℓ = ½ (log v + (x − t)²/v)  [+ ½ log 2π with ``full``]
        ∂ℓ/∂x = (x − t)/v
        ∂ℓ/∂v = ½ (1/v − (x − t)²/v²)

    v is kept from falling below ε. There the value no longer depends on the variance given, and
    ``convention="jax"`` says so with a gradient of 0; PyTorch lets the gradient pass as if ε were
    the variance given, so that a variance that fell too low can rise again.

    Shapes: prediction and target alike, any; var alike too, or shared along one axis: that axis 1,
    or the last one missing. Its gradient is then summed along the axis. Output () or, for
    ``"none"``, the prediction's shape. dtypes: float32 or float64. Raises ValueError for other
    shapes and for a negative variance.

    Source: Nix and Weigend, Estimating the mean and variance of the target probability
    distribution, ICNN 1994.
    """

    def __init__(
        self,
        full: bool = False,
        eps: float = 1e-6,
        reduction: str = "mean",
        convention: str = "torch",
    ) -> None:
        super().__init__(reduction)
        require_choice("GaussianNLLLoss", "convention", convention, CONVENTIONS)
        self.full, self.eps, self.convention = full, float(eps), convention

    def _variance(self, prediction: Array, var: Array) -> tuple[Array, Array]:
        """The variance, its shared axis kept as 1, and the same with ε as its least value."""
        if np.any(var.real < 0):
            raise ValueError("GaussianNLLLoss: var has negative entries")
        given = var[..., None] if var.shape == prediction.shape[:-1] else var
        shared = [(a, b) for a, b in zip(prediction.shape, given.shape, strict=False) if a != b]
        if given.ndim != prediction.ndim or shared and [b for _, b in shared] != [1]:
            raise ValueError(
                f"GaussianNLLLoss: var has shape {var.shape}; for a prediction of shape "
                f"{prediction.shape} it must be the same, or 1 along one axis"
            )
        return given, np.where(given.real < self.eps, self.eps, given)

    def forward(self, prediction: Array, target: Array, var: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("GaussianNLLLoss", prediction, target)
        _, v = self._variance(prediction, var)
        elements = (np.log(v) + np.square(prediction - target) / v) / 2
        if self.full:
            elements = elements + math.log(2 * math.pi) / 2
        return self.reduce(elements)

    def backward(
        self, prediction: Array, target: Array, var: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of the prediction and of the variance."""
        require_same_shape("GaussianNLLLoss", prediction, target)
        given, v = self._variance(prediction, var)
        d = prediction - target
        upstream = self.spread(grad_output, d)
        slope = (1 / v - np.square(d / v)) / 2
        if self.convention == "jax":
            slope = np.where(given < self.eps, 0, slope)
        shared = tuple(i for i in range(d.ndim) if d.shape[i] != given.shape[i])
        grad_var = (slope * upstream).sum(axis=shared, keepdims=True).reshape(var.shape)
        return np.asarray(d / v * upstream), grad_var
