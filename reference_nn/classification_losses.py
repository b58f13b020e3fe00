"""Losses against classes and probabilities."""

from __future__ import annotations

import numpy as np

from reference_nn.activations import sigmoid, softplus
from reference_nn.layer import Array, require_choice
from reference_nn.losses import REDUCTIONS, Loss, require_same_shape
from reference_nn.softmax import LogSoftmax, softmax

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss", "NLLLoss"]


class _ClassLoss(Loss):
    """Losses of the form ℓ_n = −Σ_c A_nc z_nc with log-probabilities z and fixed coefficients A.

    Class indices y_n with weights w, an index to ignore and label smoothing s give

        A_nc = (1 − s) w_c [c = y_n] + (s/C) w_c,   or 0 where y_n is ignored,

    and ``"mean"`` divides by Σ_n w_{y_n} over the samples that are kept.
    """

    def __init__(
        self,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            name = type(self).__name__
            raise ValueError(f"{name}: label_smoothing={label_smoothing} must lie in [0, 1]")
        self.weight = weight
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def _coefficients(
        self, shape: tuple[int, ...], target: Array, dtype: object
    ) -> tuple[Array, Array]:
        """A, with classes on axis 1, and what ``"mean"`` divides by."""
        classes = shape[1]
        weight = np.ones(classes) if self.weight is None else self.weight
        columns = weight.astype(dtype).reshape(1, -1, *(1,) * (len(shape) - 2))  # type: ignore[call-overload]
        s = self.label_smoothing
        if target.dtype.kind == "f":  # probabilities
            require_same_shape(type(self).__name__, np.empty(shape), target)
            soft = target * (1 - s) + s / classes if s else target
            return columns * soft, np.asarray(target.size / classes, dtype=dtype)  # type: ignore[call-overload]
        if target.shape != (shape[0], *shape[2:]):
            raise ValueError(
                f"{type(self).__name__}: class indices need shape {(shape[0], *shape[2:])} "
                f"for a prediction of shape {shape}, got {target.shape}"
            )
        kept = target != self.ignore_index
        if np.any(kept & ((target < 0) | (target >= classes))):
            raise IndexError(f"{type(self).__name__}: a class index lies outside 0 … {classes - 1}")
        safe = np.where(kept, target, 0)
        hot = np.expand_dims(safe, 1) == np.arange(classes).reshape(columns.shape)
        coefficients = np.where(hot, (1 - s) * columns, 0) + (s / classes) * columns
        coefficients = np.where(np.expand_dims(kept, 1), coefficients, 0)
        per_sample = np.where(kept, columns.ravel()[safe], 0)
        return coefficients.astype(columns.dtype), per_sample.sum()

    def _reduced(self, losses: Array, divisor: Array) -> Array:
        if self.reduction == "mean":
            with np.errstate(invalid="ignore"):  # everything ignored: 0/0 is NaN, as in PyTorch
                return np.asarray(losses.sum() / divisor)
        return self.reduce(losses)

    def _upstream(self, grad_output: Array | float, divisor: Array, like: Array) -> Array:
        """The upstream gradient of every ℓ_n, with the class axis kept as 1."""
        upstream = np.asarray(grad_output, dtype=like.dtype)
        if self.reduction == "none":
            return np.expand_dims(upstream, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return upstream / divisor if self.reduction == "mean" else upstream


class NLLLoss(_ClassLoss):
    r"""ℓ_n = −w_{y_n} z_{n, y_n}: the negative log-probability of the right class

        ∂ℓ_n/∂z_nc = −w_c [c = y_n]

    ``"mean"`` is weighted: the sum divided by Σ_n w_{y_n}. Samples whose class is ignore_index count
    in neither.

    Shapes: prediction (N, C, …) log-probabilities; target (N, …) int64; weight (C,) or None;
    output () or, for ``"none"``, (N, …). dtypes: float32 or float64. Raises IndexError for a class
    outside 0 … C−1.

    Source: torch.nn.NLLLoss, documentation.
    """

    def __init__(
        self, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, ignore_index, reduction)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss."""
        a, divisor = self._coefficients(prediction.shape, target, prediction.real.dtype)
        return self._reduced(-(a * prediction).sum(axis=1), divisor)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        a, divisor = self._coefficients(prediction.shape, target, prediction.dtype)
        return -a * self._upstream(grad_output, divisor, prediction)


class CrossEntropyLoss(_ClassLoss):
    r"""ℓ_n = −Σ_c A_nc z_nc with z = log softmax(x): softmax and negative log-likelihood in one

    A is one at the right class, times class weights, smoothed; or given probabilities. Since
    ∂z_c/∂x_j = δ_cj − p_j with p = softmax(x),

        ∂ℓ_n/∂x_nj = p_nj Σ_c A_nc − A_nj          which for plain classes is p − onehot(y).

    Nothing is ever divided by a probability, so no logit overflows. ``"mean"`` divides by the sum
    of the weights of the right classes; for probabilities as targets by their number.

    Shapes: prediction (N, C, …) logits; target (N, …) int64 or (N, C, …) probabilities; weight
    (C,) or None; output () or (N, …). dtypes: float32 or float64. Raises IndexError for a class
    outside 0 … C−1, ValueError for shapes that do not fit.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3; Szegedy et al.,
    Rethinking the Inception architecture, CVPR 2016, section 7 for the smoothing.
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss."""
        a, divisor = self._coefficients(prediction.shape, target, prediction.real.dtype)
        losses = -(a * LogSoftmax(1).forward(prediction)).sum(axis=1)
        return self._reduced(losses, divisor)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        a, divisor = self._coefficients(prediction.shape, target, prediction.dtype)
        slope = softmax(prediction, 1) * a.sum(axis=1, keepdims=True) - a
        return slope * self._upstream(grad_output, divisor, prediction)


class BCELoss(Loss):
    r"""ℓ = −w (t log p + (1 − t) log(1 − p)),   ∂ℓ/∂p = w (p − t) / (p (1 − p))

    As in PyTorch the logarithms are not below −100, and the denominator not below 1e-12: at p = 0
    or 1 loss and gradient stay finite.

    Shapes: prediction and target alike, any; weight broadcasts to them or is None. dtypes:
    float32 or float64.

    Source: torch.nn.BCELoss, documentation.
    """

    def __init__(self, weight: Array | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = weight

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("BCELoss", prediction, target)
        with np.errstate(divide="ignore"):
            log_p, log_q = np.log(prediction), np.log1p(-prediction)
        log_p = np.where(log_p.real < -100, -100, log_p)
        log_q = np.where(log_q.real < -100, -100, log_q)
        elements = -(target * log_p + (1 - target) * log_q)
        return self.reduce(elements if self.weight is None else self.weight * elements)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        floor = prediction.dtype.type(1e-12)
        slope = (prediction - target) / np.maximum(prediction * (1 - prediction), floor)
        if self.weight is not None:
            slope = self.weight * slope
        return slope * self.spread(grad_output, prediction)


class BCEWithLogitsLoss(Loss):
    r"""Binary cross-entropy of p = σ(x), with a weight q for the positive class

        ℓ = w (q t softplus(−x) + (1 − t) softplus(x))

    as −log σ(x) = softplus(−x) and −log(1 − σ(x)) = softplus(x). With softplus′ = σ,

        ∂ℓ/∂x = w ((1 − t) σ(x) − q t σ(−x))             for q = w = 1: σ(x) − t.

    Shapes: prediction and target alike, any; weight and pos_weight broadcast to them or are None.
    dtypes: float32 or float64.

    Source: torch.nn.BCEWithLogitsLoss, documentation.
    """

    def __init__(
        self,
        weight: Array | None = None,
        reduction: str = "mean",
        pos_weight: Array | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def _weights(self) -> tuple[Array | float, Array | float]:
        return (
            1.0 if self.weight is None else self.weight,
            1.0 if self.pos_weight is None else self.pos_weight,
        )

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("BCEWithLogitsLoss", prediction, target)
        w, q = self._weights()
        positive = q * target * softplus(-prediction)
        return self.reduce(w * (positive + (1 - target) * softplus(prediction)))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        w, q = self._weights()
        slope = (1 - target) * sigmoid(prediction) - q * target * sigmoid(-prediction)
        return w * slope * self.spread(grad_output, prediction)


class KLDivLoss(Loss):
    r"""ℓ = t (log t − x): the terms of the Kullback-Leibler divergence of t from eˣ

        ∂ℓ/∂x = −t

    x holds log-probabilities; so does the target with ``log_target``, and then
    ℓ = eᵗ (t − x), ∂ℓ/∂x = −eᵗ. Where t = 0 the term is 0. ``"mean"`` divides by the number of
    elements, ``"batchmean"`` by that of samples, which gives the divergence itself.

    Shapes: prediction and target alike, (N, …). dtypes: float32 or float64.

    Source: Kullback and Leibler, On information and sufficiency, Annals of Mathematical
    Statistics 22 (1951); torch.nn.KLDivLoss, documentation, for the reductions.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        require_choice("KLDivLoss", "reduction", reduction, (*REDUCTIONS, "batchmean"))
        super().__init__("sum" if reduction == "batchmean" else reduction)
        self.batchmean = reduction == "batchmean"
        self.log_target = log_target

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("KLDivLoss", prediction, target)
        if self.log_target:
            elements = np.exp(target) * (target - prediction)
        else:
            logarithm = np.log(np.where(target > 0, target, 1))
            elements = target * logarithm - target * prediction
        total = self.reduce(elements)
        return np.asarray(total / len(prediction)) if self.batchmean else total

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        slope = -np.exp(target) if self.log_target else -target
        upstream = self.spread(grad_output, prediction)
        return slope * (upstream / len(prediction) if self.batchmean else upstream)
