"""Losses on distances and similarities, most of them hinges."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array
from reference_nn.losses import Loss

__all__ = ["CosineEmbeddingLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss"]


def hinge(x: Array) -> Array:
    """max(x, 0)."""
    return np.asarray(np.where(x > 0, x, 0))


class HingeEmbeddingLoss(Loss):
    r"""ℓ = x where y = 1, max(0, m − x) where y = −1

        ∂ℓ/∂x = 1 where y = 1; −1 where y = −1 and x < m; else 0

    Shapes: prediction and target (±1) alike, any. dtypes: float32 or float64.

    Source: torch.nn.HingeEmbeddingLoss, documentation.
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        return self.reduce(np.where(target > 0, prediction, hinge(self.margin - prediction)))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        below = np.where(self.margin - prediction > 0, -1, 0)
        slope = np.where(target > 0, 1, below).astype(prediction.dtype)
        return slope * self.spread(grad_output, prediction)


class MarginRankingLoss(Loss):
    r"""ℓ = max(0, m − y (x₁ − x₂)): x₁ should exceed x₂ by m where y = 1, and the reverse

        ∂ℓ/∂x₁ = −y where ℓ > 0,   ∂ℓ/∂x₂ = y where ℓ > 0

    Shapes: x1, x2 and target (±1) alike, any. dtypes: float32 or float64.

    Source: torch.nn.MarginRankingLoss, documentation.
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x1: Array, x2: Array, target: Array) -> Array:
        """The loss: shape () or that of x1."""
        return self.reduce(hinge(self.margin - target * (x1 - x2)))

    def backward(
        self, x1: Array, x2: Array, target: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of x1 and x2."""
        active = self.margin - target * (x1 - x2) > 0
        slope = np.where(active, target, 0) * self.spread(grad_output, x1)
        return -slope, slope


class CosineEmbeddingLoss(Loss):
    r"""ℓ_n = 1 − cos_n where y_n = 1, max(0, cos_n − m) where y_n = −1

    with cos = x₁·x₂ / √((|x₁|² + ε)(|x₂|² + ε)), ε = 1e-12. Writing d for the denominator,

        ∂cos/∂x₁ = x₂/d − cos x₁/(|x₁|² + ε)        and with 1 and 2 exchanged,

    times −1, 1 or 0.

    Shapes: x1, x2 (N, D); target (N,) of ±1; output () or (N,). dtypes: float32 or float64.

    Source: torch.nn.CosineEmbeddingLoss, documentation.
    """

    EPS = 1e-12

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def _cosine(self, x1: Array, x2: Array) -> tuple[Array, Array, Array, Array]:
        one = (x1 * x1).sum(axis=-1) + self.EPS
        two = (x2 * x2).sum(axis=-1) + self.EPS
        length = np.sqrt(one * two)
        return (x1 * x2).sum(axis=-1) / length, length, one, two

    def forward(self, x1: Array, x2: Array, target: Array) -> Array:
        """The loss."""
        cosine, *_ = self._cosine(x1, x2)
        return self.reduce(np.where(target > 0, 1 - cosine, hinge(cosine - self.margin)))

    def backward(
        self, x1: Array, x2: Array, target: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of x1 and x2."""
        cosine, length, one, two = self._cosine(x1, x2)
        apart = np.where(cosine - self.margin > 0, 1, 0)
        slope = np.where(target > 0, -1, apart).astype(x1.dtype) * self.spread(grad_output, cosine)
        slope, cosine, length = slope[:, None], cosine[:, None], length[:, None]
        grad_x1 = slope * (x2 / length - cosine * x1 / one[:, None])
        grad_x2 = slope * (x1 / length - cosine * x2 / two[:, None])
        return grad_x1, grad_x2


class TripletMarginLoss(Loss):
    r"""ℓ_n = max(0, d(a, p) − d(a, n) + m), d(u, v) = (Σ_i |u_i − v_i + ε|^q)^{1/q}

    With D = u − v + ε and q the exponent, ∂d/∂u_i = sign(D_i) |D_i|^{q−1} / d^{q−1} = −∂d/∂v_i, so
    where ℓ > 0

        ∂ℓ/∂p = −∂d(a, p)/∂a,   ∂ℓ/∂n = ∂d(a, n)/∂a,   ∂ℓ/∂a = ∂d(a, p)/∂a − ∂d(a, n)/∂a

    With ``swap`` d(a, n) is replaced by d(p, n) where that is smaller, and its gradient goes to p
    instead of a. ε keeps the root differentiable at distance 0.

    Shapes: anchor, positive, negative (N, D); output () or (N,). dtypes: float32 or float64.

    Source: Balntas et al., Learning local feature descriptors with triplets and shallow
    convolutional neural networks, BMVC 2016.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def _distance(self, u: Array, v: Array) -> Array:
        apart = u - v + self.eps
        size = np.where(apart < 0, -apart, apart)
        return np.asarray((size**self.p).sum(axis=-1) ** (1 / self.p))

    def _slope(self, u: Array, v: Array) -> Array:
        """∂d(u, v)/∂u."""
        apart = u - v + self.eps
        ratio = np.abs(apart) / self._distance(u, v)[..., None]
        return np.sign(apart) * ratio ** (self.p - 1)

    def _distances(self, a: Array, p: Array, n: Array) -> tuple[Array, Array, Array]:
        near, far = self._distance(a, p), self._distance(a, n)
        other = self._distance(p, n)
        swapped = other < far if self.swap else np.zeros(far.shape, bool)
        return near, np.where(swapped, other, far), swapped

    def forward(self, anchor: Array, positive: Array, negative: Array) -> Array:
        """The loss."""
        near, far, _ = self._distances(anchor, positive, negative)
        return self.reduce(hinge(near - far + self.margin))

    def backward(
        self, anchor: Array, positive: Array, negative: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array, Array]:
        """Gradients of anchor, positive and negative."""
        near, far, swapped = self._distances(anchor, positive, negative)
        upstream = np.where(near - far + self.margin > 0, self.spread(grad_output, near), 0)[
            :, None
        ]
        pull = upstream * self._slope(anchor, positive)
        from_anchor = np.where(swapped[:, None], 0, upstream * self._slope(anchor, negative))
        from_positive = np.where(swapped[:, None], upstream * self._slope(positive, negative), 0)
        return pull - from_anchor, -pull - from_positive, from_anchor + from_positive
