"""Connectionist temporal classification: the likelihood of a label sequence over all alignments."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.losses import Loss

__all__ = ["CTCLoss"]


class CTCLoss(Loss):
    r"""ℓ_n = −log Σ_π Π_t y_t(π_t), over all paths π that collapse to the target

    A path names a class or the blank at every time; repeated classes, then blanks, are removed.
    With the target stretched by blanks to l′ of length 2S+1, the forward variable

        α_t(s) = y_t(l′_s) · (α_{t−1}(s) + α_{t−1}(s−1) + [l′_s ≠ blank, l′_s ≠ l′_{s−2}] α_{t−1}(s−2))

    sums the paths that have come to s at time t; β_t(s), the same from the end, those that go on
    from there (here without y_t). The likelihood is Σ_s α_t(s) β_t(s) at every t, and each path has
    exactly one factor y_t, so with z = log y

        ∂ℓ/∂z_t(k) = −Σ_{s: l′_s = k} α_t(s) β_t(s) / likelihood

    All of it in logarithms. That is the derivative of the function as it stands. PyTorch returns
    y_t(k) + ∂ℓ/∂z_t(k) instead, which is the same only after the log_softmax that it assumes to
    come before: ``convention="torch"`` does likewise.

    ``"mean"`` divides each loss by its target length first. With ``zero_infinity`` impossible
    targets (longer than their input) cost 0.

    Shapes: log_probs (T, N, C); targets (N, S) int64, padded; input_lengths, target_lengths (N,)
    int64; output () or (N,). dtypes: float32 or float64.

    Source: Graves et al., Connectionist temporal classification, ICML 2006, sections 4.1 and 4.2.
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        convention: str = "derivative",
    ) -> None:
        super().__init__(reduction)
        require_choice("CTCLoss", "convention", convention, ("derivative", "torch"))
        self.blank, self.zero_infinity, self.convention = blank, zero_infinity, convention

    def forward(
        self, log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array
    ) -> Array:
        """The loss."""
        alpha, _, stretched, _ = self._alpha(log_probs, targets)
        losses = -self._total(alpha, input_lengths, target_lengths)
        if self.zero_infinity:
            losses = np.where(np.isinf(losses), 0, losses)
        if self.reduction == "mean":
            return np.asarray((losses / np.maximum(target_lengths, 1).astype(losses.dtype)).mean())
        return self.reduce(losses)

    def _alpha(self, z: Array, targets: Array) -> tuple[Array, Array, Array, Array]:
        """log α (T, N, 2S+1), the emissions z_t(l′_s), l′, and where two steps may be skipped."""
        steps, samples, _ = z.shape
        length = 2 * targets.shape[1] + 1
        stretched = np.full((samples, length), self.blank, dtype=np.int64)
        stretched[:, 1::2] = targets
        skips = np.zeros((samples, length), dtype=bool)
        skips[:, 2:] = (stretched[:, 2:] != self.blank) & (stretched[:, 2:] != stretched[:, :-2])
        emitted = np.take_along_axis(
            z, np.broadcast_to(stretched, (steps, samples, length)), axis=2
        )
        alpha = np.full(emitted.shape, -np.inf, dtype=z.dtype)
        alpha[0, :, :2] = emitted[0, :, :2]
        for t in range(1, steps):
            alpha[t] = emitted[t] + _arrive(alpha[t - 1], skips)
        return alpha, emitted, stretched, skips

    def _total(self, alpha: Array, input_lengths: Array, target_lengths: Array) -> Array:
        """log likelihood: α at the last time, ending in the last label or the blank after it."""
        samples = np.arange(alpha.shape[1])
        last = alpha[input_lengths - 1, samples]
        end = last[samples, 2 * target_lengths]
        before = last[samples, np.maximum(2 * target_lengths - 1, 0)]
        return _log_add(end, np.where(target_lengths > 0, before, -np.inf).astype(end.dtype))

    def backward(
        self,
        log_probs: Array,
        targets: Array,
        input_lengths: Array,
        target_lengths: Array,
        grad_output: Array | float = 1.0,
    ) -> Array:
        """Gradient of log_probs."""
        alpha, emitted, stretched, skips = self._alpha(log_probs, targets)
        total = self._total(alpha, input_lengths, target_lengths)
        steps, samples, length = alpha.shape
        beta = np.full(alpha.shape, -np.inf, dtype=alpha.dtype)
        places = np.arange(length)
        ends = (places == 2 * target_lengths[:, None]) | (
            (places == 2 * target_lengths[:, None] - 1) & (target_lengths[:, None] > 0)
        )
        start = np.where(ends, 0, -np.inf).astype(alpha.dtype)
        later = np.full(beta.shape[1:], -np.inf, dtype=beta.dtype)
        for t in range(steps - 1, -1, -1):
            if t + 1 < steps:
                later = _leave(beta[t + 1] + emitted[t + 1], skips)
            beta[t] = np.where((input_lengths - 1 == t)[:, None], start, later)
            beta[t] = np.where((t < input_lengths)[:, None], beta[t], -np.inf)
        possible = np.isfinite(total)
        shares = np.exp(alpha + beta - np.where(possible, total, 0)[:, None])
        shares = np.where(possible[:, None], shares, 0 if self.zero_infinity else np.nan)
        shares = np.where((np.arange(steps)[:, None] < input_lengths)[:, :, None], shares, 0)
        hot = stretched[:, :, None] == np.arange(log_probs.shape[2])
        occupancy = np.einsum("tns,nsc->tnc", shares, hot.astype(shares.dtype))
        grad = -occupancy
        if self.convention == "torch":
            inside = np.arange(steps)[:, None] < input_lengths
            inside = inside & (possible | (not self.zero_infinity))
            grad = grad + np.where(inside[:, :, None], np.exp(log_probs), 0)
        upstream = np.asarray(grad_output, dtype=log_probs.dtype)
        if self.reduction == "mean":
            lengths = np.maximum(target_lengths, 1).astype(log_probs.dtype)
            upstream = upstream / (lengths * log_probs.dtype.type(samples))
        return np.asarray(np.broadcast_to(upstream, (samples,))[:, None] * grad)


def _log_add(a: Array, b: Array) -> Array:
    """log(eᵃ + eᵇ), −∞ included."""
    high = np.where(a.real > b.real, a, b)
    low = np.where(a.real > b.real, b, a)
    safe = np.where(np.isneginf(high.real), 0, high)
    low = np.where(np.isneginf(low.real), -1e300 if a.dtype.itemsize > 4 else -1e30, low)
    return np.asarray(np.where(np.isneginf(high.real), high, safe + np.log1p(np.exp(low - safe))))


def _arrive(before: Array, skips: Array) -> Array:
    """log of α(s) + α(s−1) + α(s−2) where the last is allowed."""
    one = np.full_like(before, -np.inf)
    one[:, 1:] = before[:, :-1]
    two = np.full_like(before, -np.inf)
    two[:, 2:] = before[:, :-2]
    return _log_add(_log_add(before, one), np.where(skips, two, -np.inf).astype(before.dtype))


def _leave(after: Array, skips: Array) -> Array:
    """log of the same sum seen from the other end: to s, s+1, and s+2 where that may be skipped to."""
    one = np.full_like(after, -np.inf)
    one[:, :-1] = after[:, 1:]
    two = np.full_like(after, -np.inf)
    two[:, :-2] = np.where(skips, after, -np.inf)[:, 2:]
    return _log_add(_log_add(after, one), two)
