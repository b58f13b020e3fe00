"""Losses on distances and similarities, most of them hinges."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.losses import CONVENTIONS, Loss, require_same_shape

__all__ = ["CosineEmbeddingLoss", "HingeEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss"]


class _Hinge(Loss):
    """Losses with max(0, x) in them: zero once a margin is kept.

    The derivative is 1 above 0 and 0 below. At 0 itself, where two scores are exactly a margin
    apart, PyTorch's clamp takes 1 and JAX's relu takes 0: ``convention`` says which.
    """

    def __init__(self, margin: float, reduction: str, convention: str) -> None:
        super().__init__(reduction)
        require_choice(type(self).__name__, "convention", convention, CONVENTIONS)
        self.margin, self.convention = float(margin), convention

    def _hinge(self, x: Array) -> Array:
        return np.where(x > 0, x, 0)

    def _active(self, x: Array) -> Array:
        """The derivative of max(0, x), as booleans."""
        return np.asarray(x >= 0 if self.convention == "torch" else x > 0)


class HingeEmbeddingLoss(_Hinge):
    r"""ℓ = x where y = 1, max(0, m − x) where y = −1

    x is a distance: small for what belongs together, at least m for what does not.

        ∂ℓ/∂x = 1 where y = 1; −1 where y = −1 and x < m; else 0

    At x = m PyTorch takes −1, JAX 0: ``convention``.

    Shapes: prediction and target (±1) alike, any; output () or, for ``"none"``, theirs. dtypes:
    float32 or float64. Raises ValueError where the shapes differ.

    Source: torch.nn.HingeEmbeddingLoss, documentation.
    """

    def __init__(
        self, margin: float = 1.0, reduction: str = "mean", convention: str = "torch"
    ) -> None:
        super().__init__(margin, reduction, convention)

    def forward(self, prediction: Array, target: Array) -> Array:
        """The loss: shape () or that of the prediction."""
        require_same_shape("HingeEmbeddingLoss", prediction, target)
        return self.reduce(np.where(target > 0, prediction, self._hinge(self.margin - prediction)))

    def backward(self, prediction: Array, target: Array, grad_output: Array | float = 1.0) -> Array:
        """Gradient of the prediction."""
        require_same_shape("HingeEmbeddingLoss", prediction, target)
        apart = np.where(self._active(self.margin - prediction), -1, 0)
        slope = np.where(target > 0, 1, apart).astype(prediction.dtype)
        return np.asarray(slope * self.spread(grad_output, prediction))


class MarginRankingLoss(_Hinge):
    r"""ℓ = max(0, m − y (x₁ − x₂)): x₁ should exceed x₂ by m where y = 1, and the reverse

        ∂ℓ/∂x₁ = −y where ℓ > 0,   ∂ℓ/∂x₂ = y where ℓ > 0

    With the default margin of 0 a tie x₁ = x₂ is where max(0, ·) has its kink: PyTorch pushes the
    two apart, JAX does not (``convention``).

    Shapes: x1, x2 and target (±1) alike, any; output () or, for ``"none"``, theirs. dtypes:
    float32 or float64. Raises ValueError where the shapes differ.

    Source: torch.nn.MarginRankingLoss, documentation; Herbrich, Graepel and Obermayer, Large margin
    rank boundaries for ordinal regression (2000).
    """

    def __init__(
        self, margin: float = 0.0, reduction: str = "mean", convention: str = "torch"
    ) -> None:
        super().__init__(margin, reduction, convention)

    def forward(self, x1: Array, x2: Array, target: Array) -> Array:
        """The loss: shape () or that of x1."""
        require_same_shape("MarginRankingLoss", x1, x2, target)
        return self.reduce(self._hinge(self.margin - target * (x1 - x2)))

    def backward(
        self, x1: Array, x2: Array, target: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of x1 and x2."""
        require_same_shape("MarginRankingLoss", x1, x2, target)
        active = self._active(self.margin - target * (x1 - x2))
        slope = np.where(active, target, 0).astype(x1.dtype) * self.spread(grad_output, x1)
        return np.asarray(-slope), np.asarray(slope)


class CosineEmbeddingLoss(_Hinge):
    r"""ℓ = 1 − cos where y = 1, max(0, cos − m) where y = −1

    with cos = x₁·x₂ / d, d = √((|x₁|² + ε)(|x₂|² + ε)), ε = 1e-12. As ∂d/∂x₁ = d x₁ / (|x₁|² + ε),

        ∂cos/∂x₁ = x₂/d − cos x₁/(|x₁|² + ε)        and with 1 and 2 exchanged,

    times −1 where y = 1; 1 where y = −1 and cos > m; else 0. At cos = m PyTorch takes 1, JAX 0:
    ``convention``. ε makes the cosine of a zero vector 0.

    Shapes: x1, x2 (N, D); target (N,) of ±1; output () or (N,); or all of them without N. dtypes:
    float32 or float64. Raises ValueError for other shapes.

    Source: torch.nn.CosineEmbeddingLoss, documentation.
    """

    EPS = 1e-12

    def __init__(
        self, margin: float = 0.0, reduction: str = "mean", convention: str = "torch"
    ) -> None:
        super().__init__(margin, reduction, convention)

    def _cosine(self, x1: Array, x2: Array, target: Array) -> tuple[Array, Array, Array, Array]:
        """The cosine, its denominator, and both squared lengths plus ε."""
        if x1.shape != x2.shape or target.shape != x1.shape[:-1]:
            raise ValueError(
                "CosineEmbeddingLoss: x1 and x2 need one shape (N, D), target (N,); got "
                f"{x1.shape}, {x2.shape} and {target.shape}"
            )
        one = np.asarray((x1 * x1).sum(axis=-1) + self.EPS)
        two = np.asarray((x2 * x2).sum(axis=-1) + self.EPS)
        denominator = np.sqrt(one * two)
        return np.asarray((x1 * x2).sum(axis=-1) / denominator), denominator, one, two

    def forward(self, x1: Array, x2: Array, target: Array) -> Array:
        """The loss."""
        cosine, *_ = self._cosine(x1, x2, target)
        return self.reduce(np.where(target > 0, 1 - cosine, self._hinge(cosine - self.margin)))

    def backward(
        self, x1: Array, x2: Array, target: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array]:
        """Gradients of x1 and x2."""
        cosine, denominator, one, two = self._cosine(x1, x2, target)
        apart = np.where(self._active(cosine - self.margin), 1, 0)
        slope = np.where(target > 0, -1, apart).astype(x1.dtype) * self.spread(grad_output, cosine)
        across = (slope / denominator)[..., None]
        along = slope * cosine
        grad_x1 = across * x2 - (along / one)[..., None] * x1
        grad_x2 = across * x1 - (along / two)[..., None] * x2
        return grad_x1, grad_x2


class TripletMarginLoss(_Hinge):
    r"""ℓ = max(0, d(a, p) − d(a, n) + m), d(u, v) = (Σ_i |u_i − v_i + ε|^q)^{1/q}

    The anchor should be nearer to the positive than to the negative, by m. With D = u − v + ε and q
    the exponent (``p``),

        ∂d/∂u_i = sign(D_i) (|D_i| / d)^{q−1} = −∂d/∂v_i

    so where ℓ > 0

        ∂ℓ/∂p = −∂d(a, p)/∂a,   ∂ℓ/∂n = ∂d(a, n)/∂a,   ∂ℓ/∂a = ∂d(a, p)/∂a − ∂d(a, n)/∂a

    With ``swap`` d(a, n) is replaced by d(p, n) where that is smaller, and its gradient goes to p
    instead of a; where both are equal each gets one half. ε keeps d from being 0 between equal
    vectors; where it is 0 all the same, its gradient is taken to be 0. At ℓ = 0 exactly PyTorch's
    max has the derivative 1, JAX's relu 0: ``convention``.

    Shapes: anchor, positive, negative (N, D); output () or (N,); or all of them without N. dtypes:
    float32 or float64. Raises ValueError where the shapes differ, and unless m > 0 and 0 < q < ∞.

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
        convention: str = "torch",
    ) -> None:
        super().__init__(margin, reduction, convention)
        if not margin > 0:
            raise ValueError(f"TripletMarginLoss: margin={margin} must be positive")
        if not 0 < p < np.inf:
            raise ValueError(f"TripletMarginLoss: p={p} must be positive and finite")
        self.p, self.eps, self.swap = float(p), float(eps), swap

    def _distance(self, u: Array, v: Array) -> Array:
        apart = u - v + self.eps
        size = np.where(apart < 0, -apart, apart)
        return np.asarray((size**self.p).sum(axis=-1) ** (1 / self.p))

    def _slope(self, u: Array, v: Array, distance: Array) -> Array:
        """∂d(u, v)/∂u."""
        apart = u - v + self.eps
        unit = apart / np.where(distance > 0, distance, 1)[..., None]
        if self.p == 2:
            return unit
        size = np.abs(unit)
        return np.sign(unit) * np.where(size > 0, size, 1) ** (self.p - 1)

    def _distances(self, a: Array, p: Array, n: Array) -> tuple[Array, Array, Array]:
        """d(a, p), d(a, n), and d(p, n), infinite without ``swap``."""
        require_same_shape("TripletMarginLoss", a, p, n)
        near, far = self._distance(a, p), self._distance(a, n)
        return near, far, self._distance(p, n) if self.swap else np.full_like(far, np.inf)

    def forward(self, anchor: Array, positive: Array, negative: Array) -> Array:
        """The loss."""
        near, far, other = self._distances(anchor, positive, negative)
        return self.reduce(self._hinge(near - np.where(other < far, other, far) + self.margin))

    def backward(
        self, anchor: Array, positive: Array, negative: Array, grad_output: Array | float = 1.0
    ) -> tuple[Array, Array, Array]:
        """Gradients of anchor, positive and negative."""
        near, far, other = self._distances(anchor, positive, negative)
        active = self._active(near - np.minimum(far, other) + self.margin)
        upstream = np.where(active, self.spread(grad_output, near), 0)[..., None]
        pull = upstream * self._slope(anchor, positive, near)
        push = upstream * self._slope(anchor, negative, far)
        if not self.swap:
            return pull - push, -pull, push
        share = np.where(other < far, 1, np.where(other == far, 0.5, 0)).astype(far.dtype)
        push = (1 - share)[..., None] * push
        aside = share[..., None] * upstream * self._slope(positive, negative, other)
        return pull - push, -pull - aside, push + aside
