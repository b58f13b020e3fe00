"""Losses against classes and probabilities."""

from __future__ import annotations

import numpy as np

from reference_nn.activations import sigmoid, softplus
from reference_nn.layer import Array, require_choice
from reference_nn.losses import CONVENTIONS, REDUCTIONS, Loss, require_same_shape
from reference_nn.softmax import LogSoftmax, softmax

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss", "NLLLoss"]


class _ClassLoss(Loss):
    """Losses against one of C classes: class weights w, an index to ignore, and their mean.

    Both losses have a weighted mean: the sum divided by Σ_n w_{y_n} over the samples that are kept.
    Where all are ignored that is 0/0, NaN.
    """

    def __init__(
        self, weight: Array | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight = weight
        self.ignore_index = ignore_index

    def _weights(self, prediction: Array) -> Array:
        """w (C,) in the prediction's dtype, with an axis of 1 for every axis after the classes."""
        name = type(self).__name__
        if prediction.ndim < 2:
            raise ValueError(
                f"{name}: prediction needs shape (N, C, ...), got {prediction.shape}: "
                "batch and classes, then any others"
            )
        classes, dtype = prediction.shape[1], prediction.real.dtype
        weight = np.ones(classes, dtype) if self.weight is None else np.asarray(self.weight, dtype)
        if weight.shape != (classes,):
            raise ValueError(
                f"{name}: weight has shape {weight.shape}, expected {(classes,)}: one per class"
            )
        return weight.reshape(-1, *(1,) * (prediction.ndim - 2))

    def _right(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """The right classes y_n and their weights w_{y_n}, both (N, 1, …).

        Where a sample is ignored the weight is 0, and the class any.
        """
        weights = self._weights(prediction).ravel()
        name, classes = type(self).__name__, prediction.shape[1]
        expected = (prediction.shape[0], *prediction.shape[2:])
        if target.shape != expected or target.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: class indices need shape {expected} and an integer dtype for a "
                f"prediction of shape {prediction.shape}, got {target.shape} and {target.dtype}"
            )
        kept = target != self.ignore_index
        if np.any(kept & ((target < 0) | (target >= classes))):
            raise IndexError(f"{name}: a class index lies outside 0 … {classes - 1}")
        right = np.where(kept, target, 0)
        return np.expand_dims(right, 1), np.expand_dims(np.where(kept, weights[right], 0), 1)

    def _reduced(self, losses: Array, divisor: Array) -> Array:
        if self.reduction == "mean":
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(losses.sum() / divisor)
        return self.reduce(losses)

    def _per_sample(self, grad_output: Array | float, divisor: Array, prediction: Array) -> Array:
        """The upstream gradient of every ℓ_n: (N, 1, …)."""
        losses = prediction[:, 0]
        upstream = self.upstream(grad_output, losses)
        if self.reduction == "mean":
            with np.errstate(invalid="ignore", divide="ignore"):
                upstream = np.asarray(upstream / divisor)
        return np.expand_dims(np.broadcast_to(upstream, losses.shape), 1)


class NLLLoss(_ClassLoss):
    r"""ℓ_n = −w_{y_n} z_{n, y_n}: the negative log-probability of the right class

        ∂ℓ_n/∂z_nc = −w_c [c = y_n]

    ``"mean"`` is weighted: the sum divided by Σ_n w_{y_n}. Samples whose class is ignore_index count
    in neither; where all are ignored it is 0/0, NaN.

    Shapes: prediction (N, C, …) log-probabilities; target (N, …) integers; weight (C,) or None;
    output () or, for ``"none"``, (N, …). dtypes: float32 or float64. Raises IndexError for a class
    outside 0 … C−1, ValueError for shapes that do not fit.

    Source: torch.nn.NLLLoss, documentation; Bishop, Pattern Recognition and Machine Learning
    (2006), section 4.3.4.
    """

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss."""
        right, weights = self._right(prediction, target)
        z = np.take_along_axis(prediction, right, axis=1)
        losses = -weights * np.where(weights == 0, 0, z)  # 0 · −∞ does not arise
        return self._reduced(losses[:, 0], weights.sum())

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        right, weights = self._right(prediction, target)
        upstream = self._per_sample(grad_output, weights.sum(), prediction)
        grad = np.zeros(prediction.shape, prediction.dtype)
        with np.errstate(invalid="ignore"):  # all ignored: 0/0 here as in the forward
            np.put_along_axis(grad, right, -weights * upstream, axis=1)
        return grad


class CrossEntropyLoss(_ClassLoss):
    r"""ℓ_n = −Σ_c A_nc z_nc with z = log softmax(x): softmax and negative log-likelihood in one

    For plain classes y, A_nc = [c = y_n] is 1 at the right class. With class weights w and label
    smoothing s, or with probabilities t in place of classes,

        A_nc = w_c ((1 − s) t_nc + s/C),   t_nc = [c = y_n] for classes,

    and 0 for an ignored sample. Since ∂z_c/∂x_j = δ_cj − p_j with p = softmax(x),

        ∂ℓ_n/∂x_nj = p_nj Σ_c A_nc − A_nj          which for plain classes is p − onehot(y).

    Nothing is ever divided by a probability, so no logit overflows, and a class switched off by a
    logit of −∞ costs nothing where A is 0. ``"mean"`` divides by the sum of the weights of the
    right classes, ignored samples left out (all ignored: NaN); for probabilities as targets by the
    number of samples. optax has values per sample only.

    Shapes: prediction (N, C, …) logits; target (N, …) integers or (N, C, …) probabilities; weight
    (C,) or None; output () or (N, …). dtypes: float32 or float64. Raises IndexError for a class
    outside 0 … C−1, ValueError for shapes that do not fit and for probabilities with an
    ignore_index.

    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3; Szegedy et al.,
    Rethinking the Inception architecture, CVPR 2016, section 7 for the smoothing.
    """

    def __init__(
        self,
        weight: Array | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, ignore_index, reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"CrossEntropyLoss: label_smoothing={label_smoothing} must lie in [0, 1]"
            )
        self.label_smoothing = float(label_smoothing)

    def _coefficients(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """A, shaped as the prediction, and what ``"mean"`` divides by."""
        w, s = self._weights(prediction), self.label_smoothing
        classes = prediction.shape[1]
        if target.dtype.kind == "f":
            require_same_shape("CrossEntropyLoss", prediction, target)
            if self.ignore_index >= 0:
                raise ValueError(
                    f"CrossEntropyLoss: ignore_index={self.ignore_index} is for class indices; "
                    "the target holds probabilities"
                )
            return w * (target * (1 - s) + s / classes), w.dtype.type(target.size // classes)
        right, weights = self._right(prediction, target)
        a = np.zeros(prediction.shape, w.dtype)
        np.put_along_axis(a, right, (1 - s) * weights, axis=1)
        if s > 0:
            a += (s / classes) * w * np.expand_dims(target != self.ignore_index, 1)
        return a, weights.sum()

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss."""
        a, divisor = self._coefficients(prediction, target)
        z = LogSoftmax(1).forward(prediction)
        losses = -(a * np.where(a == 0, 0, z)).sum(axis=1)  # 0 · −∞ does not arise
        return self._reduced(losses, divisor)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        a, divisor = self._coefficients(prediction, target)
        slope = softmax(prediction, 1) * a.sum(axis=1, keepdims=True) - a
        with np.errstate(invalid="ignore"):  # all ignored: 0/0 here as in the forward
            return np.asarray(slope * self._per_sample(grad_output, divisor, prediction))


class BCELoss(Loss):
    r"""ℓ = −w (t log p + (1 − t) log(1 − p)): a Bernoulli variable of probability p

        ∂ℓ/∂p = w ((1 − t)/(1 − p) − t/p) = w (p − t) / (p (1 − p))

    As in PyTorch the logarithms do not go below −100, so that the loss is finite at p = 0 and 1.
    PyTorch's gradient there is the right-hand form with a denominator of at least 1e-12: 0 for a
    certainty that is right, ±1e12 for one that is wrong. The derivative of the clamped value is the
    other form without the term whose logarithm is clamped: ``convention="jax"`` returns that.

    Shapes: prediction and target alike, any; weight broadcasts to them or is None; output () or,
    for ``"none"``, theirs. dtypes: float32 or float64. Raises ValueError where the shapes differ
    and for a prediction outside [0, 1].

    Source: torch.nn.BCELoss, documentation; Bishop, Pattern Recognition and Machine Learning
    (2006), section 4.3.2.
    """

    LEAST = -100.0

    def __init__(
        self, weight: Array | None = None, reduction: str = "mean", convention: str = "torch"
    ) -> None:
        super().__init__(reduction)
        require_choice("BCELoss", "convention", convention, CONVENTIONS)
        self.weight, self.convention = weight, convention

    def _logarithms(self, prediction: Array, target: Array) -> tuple[Array, Array]:
        """log p and log(1 − p), not clamped yet."""
        require_same_shape("BCELoss", prediction, target)
        if np.any((prediction.real < 0) | (prediction.real > 1)):
            raise ValueError("BCELoss: predictions are probabilities, one lies outside [0, 1]")
        with np.errstate(divide="ignore"):
            return np.log(prediction), np.log1p(-prediction)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        log_p, log_q = (
            np.where(z.real > self.LEAST, z, self.LEAST)
            for z in self._logarithms(prediction, target)
        )
        elements = -(target * log_p + (1 - target) * log_q)
        return self.reduce(elements if self.weight is None else self.weight * elements)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        p, q = prediction, 1 - prediction
        log_p, log_q = self._logarithms(prediction, target)
        if self.convention == "torch":
            slope = (p - target) / np.maximum(p * q, 1e-12)
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                slope = np.where(log_q > self.LEAST, (1 - target) / q, 0)
                slope = slope - np.where(log_p > self.LEAST, target / p, 0)
        if self.weight is not None:
            slope = self.weight * slope
        return np.asarray(slope * self.spread(grad_output, prediction))


class BCEWithLogitsLoss(Loss):
    r"""Binary cross-entropy of p = σ(x), with a weight q for the positive class

        ℓ = w (q t softplus(−x) + (1 − t) softplus(x))

    as −log σ(x) = softplus(−x) and −log(1 − σ(x)) = softplus(x). With softplus′ = σ,

        ∂ℓ/∂x = w ((1 − t) σ(x) − q t σ(−x))             for q = w = 1: σ(x) − t.

    The probability itself is never formed, so no logit is too large.

    Shapes: prediction and target alike, any; weight and pos_weight broadcast to them or are None;
    output () or, for ``"none"``, theirs. dtypes: float32 or float64. Raises ValueError where the
    shapes differ.

    Source: torch.nn.BCEWithLogitsLoss, documentation; Bishop, Pattern Recognition and Machine
    Learning (2006), section 4.3.2.
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
        """w and q, 1 where they are not given."""
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
        require_same_shape("BCEWithLogitsLoss", prediction, target)
        w, q = self._weights()
        slope = (1 - target) * sigmoid(prediction) - q * target * sigmoid(-prediction)
        return np.asarray(w * slope * self.spread(grad_output, prediction))


class KLDivLoss(Loss):
    r"""ℓ = t (log t − x): the terms of the Kullback-Leibler divergence of t from eˣ

        ∂ℓ/∂x = −t

    x holds log-probabilities; so does the target with ``log_target``, and then
    ℓ = eᵗ (t − x), ∂ℓ/∂x = −eᵗ. Where the probability t is 0 the term is 0. Summed over the classes
    the terms are a divergence; ``"mean"`` divides the sum of all by the number of elements,
    ``"batchmean"`` by that of samples, which gives the mean divergence of (N, C) arrays.

    Shapes: prediction and target alike, (N, …); output () or, for ``"none"``, theirs. dtypes:
    float32 or float64. Raises ValueError where the shapes differ.

    Source: Kullback and Leibler, On information and sufficiency, Annals of Mathematical
    Statistics 22 (1951); torch.nn.KLDivLoss, documentation, for the reductions.
    """

    reductions = (*REDUCTIONS, "batchmean")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("KLDivLoss", prediction, target)
        t = np.exp(target) if self.log_target else target
        log_t = target if self.log_target else np.log(np.where(t > 0, t, 1))
        elements = t * (np.where(t > 0, log_t, 0) - np.where(t > 0, prediction, 0))
        if self.reduction == "batchmean":
            return np.asarray(elements.sum() / len(prediction))
        return self.reduce(elements)

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("KLDivLoss", prediction, target)
        slope = -np.exp(target) if self.log_target else -target
        upstream = self.spread(grad_output, prediction)
        if self.reduction == "batchmean":
            upstream = upstream / len(prediction)
        return np.asarray(slope * upstream)
