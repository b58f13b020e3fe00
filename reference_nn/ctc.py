"""Connectionist temporal classification: the likelihood of a label sequence over all alignments."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.losses import CONVENTIONS, Loss

__all__ = ["CTCLoss"]


class CTCLoss(Loss):
    r"""ℓ_n = −log Σ_π Π_t y_t(π_t), over all paths π that collapse to the target

    A path names a class or the blank at every time; repeated classes, then blanks, are removed.
    With the target stretched by blanks to l′ = (–, l₁, –, l₂, …, –) of length 2S+1, the forward
    variable

        α_t(s) = y_t(l′_s) · (α_{t−1}(s) + α_{t−1}(s−1) + [l′_s ≠ blank, l′_s ≠ l′_{s−2}] α_{t−1}(s−2))

    sums the paths that have come to s at time t; β_t(s), the same from the end, those that go on
    from there (here without y_t). A path ends in the last label or in the blank after it. The
    likelihood is Σ_s α_t(s) β_t(s) at every t, and each path has exactly one factor y_t, so with
    z = log y

        ∂ℓ/∂z_t(k) = −Σ_{s: l′_s = k} α_t(s) β_t(s) / likelihood

    which is minus the probability of being at class k at time t, given the target. Everything is
    computed in logarithms: a product of T probabilities underflows soon.

    That is the derivative of the function as it stands, with respect to the log-probabilities it is
    given. PyTorch returns y_t(k) + ∂ℓ/∂z_t(k) instead. Both give the same gradient once they have
    passed back through the log_softmax that comes before, because that maps the vector y_t to
    y_t − y_t Σ_k y_t(k) = 0; without a log_softmax, PyTorch's is no derivative of its loss. Here the
    derivative is the default, ``convention="jax"``; ``convention="torch"`` returns PyTorch's.

    ``"mean"`` divides each loss by its target length (at least 1) before it takes the mean over
    samples, in PyTorch too. A target that no path collapses to (too long for its input, a blank
    being needed between equal labels) costs Inf and has the gradient NaN; with ``zero_infinity``
    it costs 0 and has the gradient 0.

    Shapes: log_probs (T, N, C); targets (N, S) integers without blanks, what lies beyond the target
    length is not looked at; input_lengths, target_lengths (N,) integers; output () or, for
    ``"none"``, (N,). dtypes: float32 or float64. Raises ValueError for other shapes, lengths
    outside 0 … T and 0 … S, and labels outside 0 … C−1.

    Source: Graves et al., Connectionist temporal classification, ICML 2006, sections 4.1 and 4.2;
    torch.nn.CTCLoss, documentation, for the reductions.
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        convention: str = "jax",
    ) -> None:
        super().__init__(reduction)
        require_choice("CTCLoss", "convention", convention, CONVENTIONS)
        self.blank, self.zero_infinity, self.convention = blank, zero_infinity, convention

    def forward(
        self, log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> Array:
        """The loss."""
        stretched, skips = self._stretched(log_probs, targets, input_lengths, target_lengths)
        alpha = _alpha(_emitted(log_probs, stretched), skips)
        losses = -_log_likelihood(alpha, input_lengths, target_lengths)
        if self.zero_infinity:
            losses = np.where(np.isinf(losses), 0, losses)
        if self.reduction == "mean":
            losses = losses / np.maximum(target_lengths, 1).astype(losses.dtype)
        return self.reduce(losses)

    def backward(
        self,
        log_probs: Array,
        targets: Array,
        input_lengths: Array,
        target_lengths: Array,
        grad_output: Array | float = 1.0,
    ) -> Array:
        """Gradient of log_probs."""
        stretched, skips = self._stretched(log_probs, targets, input_lengths, target_lengths)
        emitted = _emitted(log_probs, stretched)
        alpha = _alpha(emitted, skips)
        beta = _beta(emitted, skips, input_lengths, target_lengths)
        total = _log_likelihood(alpha, input_lengths, target_lengths)

        # The share of the likelihood that passes s at time t, gathered by class.
        possible = np.isfinite(total)
        shares = np.exp(alpha + beta - np.where(possible, total, 0)[:, None])
        classes = np.arange(log_probs.shape[2])
        is_class = (stretched[:, :, None] == classes).astype(shares.dtype)
        occupancy = (shares.transpose(1, 0, 2) @ is_class).transpose(1, 0, 2)

        grad = -occupancy
        if self.convention == "torch":
            grad = np.exp(log_probs) - occupancy
        grad = np.where(possible[:, None], grad, 0 if self.zero_infinity else np.nan)
        inside = np.arange(len(log_probs))[:, None] < input_lengths
        grad = np.where(inside[:, :, None], grad, 0)

        losses = total.astype(log_probs.dtype)
        upstream = self.spread(grad_output, losses)
        if self.reduction == "mean":
            upstream = upstream / np.maximum(target_lengths, 1).astype(losses.dtype)
        return np.asarray(upstream[:, None] * grad)

    def _stretched(
        self, log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> tuple[Array, Array]:
        """l′, shape (N, 2S+1), and where s can be reached from s−2."""
        if log_probs.ndim != 3 or targets.ndim != 2 or len(targets) != log_probs.shape[1]:
            raise ValueError(
                "CTCLoss: log_probs needs shape (T, N, C) and targets (N, S); got "
                f"{log_probs.shape} and {targets.shape}"
            )
        steps, samples, classes = log_probs.shape
        length = targets.shape[1]
        if not 0 <= self.blank < classes:
            raise ValueError(f"CTCLoss: blank={self.blank} lies outside 0 … {classes - 1}")
        for name, lengths, most in (
            ("input_lengths", input_lengths, steps),
            ("target_lengths", target_lengths, length),
        ):
            if lengths.shape != (samples,) or np.any((lengths < 0) | (lengths > most)):
                raise ValueError(
                    f"CTCLoss: {name} needs {samples} lengths in 0 … {most}, got {lengths}"
                )
        used = np.arange(length) < target_lengths[:, None]
        if np.any(used & ((targets < 0) | (targets >= classes))):
            raise ValueError(f"CTCLoss: a label lies outside 0 … {classes - 1}")
        stretched = np.full((samples, 2 * length + 1), self.blank)
        stretched[:, 1::2] = np.where(used, targets, self.blank)
        skips = np.zeros(stretched.shape, dtype=bool)
        skips[:, 2:] = (stretched[:, 2:] != self.blank) & (stretched[:, 2:] != stretched[:, :-2])
        return stretched, skips


def _emitted(z: Array, stretched: Array) -> Array:
    """z_t(l′_s): shape (T, N, 2S+1)."""
    return np.take_along_axis(z, np.broadcast_to(stretched, (len(z), *stretched.shape)), axis=2)


def _alpha(emitted: Array, skips: Array) -> Array:
    """log α_t(s): from the first blank or the first label on, one step, or two, at a time."""
    alpha = np.full_like(emitted, -np.inf)
    alpha[0, :, :2] = emitted[0, :, :2]
    for t in range(1, len(emitted)):
        before = alpha[t - 1]
        two = np.where(skips, _shifted(before, 2), -np.inf)
        alpha[t] = emitted[t] + _log_add(_log_add(before, _shifted(before, 1)), two)
    return alpha


def _beta(emitted: Array, skips: Array, input_lengths: Array, target_lengths: Array) -> Array:
    """log β_t(s): likewise backwards, from a sample's own last time and last two places."""
    places, end = np.arange(emitted.shape[2]), 2 * target_lengths[:, None]
    last = (places == end) | (places == end - 1)
    beta = np.full_like(emitted, -np.inf)
    after = np.full_like(emitted[0], -np.inf)
    for t in range(len(emitted) - 1, -1, -1):
        two = _shifted(np.where(skips, after, -np.inf), -2)
        later = _log_add(_log_add(after, _shifted(after, -1)), two)
        beta[t] = np.where((input_lengths - 1 == t)[:, None], np.where(last, 0, -np.inf), later)
        after = beta[t] + emitted[t]
    return beta


def _log_likelihood(alpha: Array, input_lengths: Array, target_lengths: Array) -> Array:
    """log Σ α over the last two places at each sample's last time; without input, of no labels."""
    samples = np.arange(alpha.shape[1])
    last = alpha[np.maximum(input_lengths, 1) - 1, samples]
    end = last[samples, 2 * target_lengths]
    before = last[samples, np.maximum(2 * target_lengths - 1, 0)]
    total = _log_add(end, np.where(target_lengths > 0, before, -np.inf))
    without = np.where(target_lengths > 0, -np.inf, 0).astype(total.real.dtype)
    return np.where(input_lengths > 0, total, without)


def _shifted(a: Array, by: int) -> Array:
    """a_{s−by} at s: what lies `by` places before (after, if negative), log 0 where nothing does."""
    moved = np.full_like(a, -np.inf)
    if by > 0:
        moved[:, by:] = a[:, :-by]
    else:
        moved[:, :by] = a[:, -by:]
    return moved


def _log_add(a: Array, b: Array) -> Array:
    """log(eᵃ + eᵇ), −∞ included."""
    high, low = np.where(a.real > b.real, a, b), np.where(a.real > b.real, b, a)
    base = np.where(np.isneginf(high.real), 0, high)  # −∞ − −∞ is NaN, −∞ − 0 is not
    return np.asarray(base + np.log1p(np.exp(low - base)) + (high - base))
