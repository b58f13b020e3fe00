"""Batch and instance normalization: mean and variance of each channel, which may be tracked."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from reference_nn.layer import Array, require_choice
from reference_nn.normalization import Affine, Axes, standardize, standardize_gradient

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
]


class _PerChannel(Affine):
    """Normalization per channel, by the statistics of the input or by tracked ones.

    In training the statistics are the input's, and the tracked ones move towards them. In
    evaluation the tracked ones are used, constants that do not depend on the input; without any
    the input's are used then too.
    """

    ranks: ClassVar[tuple[int, ...]]
    buffer_names: ClassVar[tuple[str, ...]] = ("running_mean", "running_var")

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
        training: bool,
    ) -> None:
        super().__init__((num_features,), eps, affine, bias)
        self.num_features, self.eps, self.momentum = num_features, float(eps), momentum
        self.track_running_stats, self.training = track_running_stats, training
        self.running_mean: Array | None = np.zeros(num_features) if track_running_stats else None
        self.running_var: Array | None = np.ones(num_features) if track_running_stats else None

    def _axes(self, x: Array) -> Axes:
        """The axes over which mean and variance of the input are taken."""
        raise NotImplementedError

    def _require(self, x: Array) -> None:
        """Refuse an input of another rank or number of channels."""
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            space = [f"{n - 2} more" for n in self.ranks if n > 2]
            either = "(batch, channels) or " if 2 in self.ranks else ""
            raise ValueError(
                f"{type(self).__name__}: expected {either}(batch, channels, {space[0]}) with "
                f"{self.num_features} channels, got shape {x.shape}"
            )

    def _tracked(self, x: Array) -> tuple[Array, Array] | None:
        """Running mean and deviation, ready to broadcast over x, where they are what counts."""
        if self.training or self.running_mean is None or self.running_var is None:
            return None
        shape = (1, -1, *(1,) * (x.ndim - 2))
        return self.running_mean.reshape(shape), np.sqrt(self.running_var + self.eps).reshape(shape)

    def _require_several(self, x: Array) -> Axes:
        """The axes of the statistics; refuse a single number, which is its own mean."""
        axes = self._axes(x)
        if all(x.shape[axis] == 1 for axis in axes):
            raise ValueError(
                f"{type(self).__name__}: expected more than one value per channel to take a mean "
                f"and variance of, got shape {x.shape}"
            )
        return axes

    def _track(self, mean: Array, variance: Array, n: int) -> None:
        """Replace the running statistics, after a forward pass in training."""
        raise NotImplementedError

    def _move(self, mean: Array, variance: Array, factor: float) -> None:
        """running ← (1 − factor) running + factor observed, the samples' average if they differ."""
        assert self.running_mean is not None and self.running_var is not None
        observed = [a.mean(axis=0).reshape(-1) for a in (mean, variance)]
        self.running_mean = (1 - factor) * self.running_mean + factor * observed[0]
        self.running_var = (1 - factor) * self.running_var + factor * observed[1]

    def forward(self, x: Array) -> Array:
        """(batch, channels, ...) → the same; in training the running statistics are replaced."""
        self._require(x)
        tracked = self._tracked(x)
        if tracked is not None:
            mean, deviation = tracked
            return self._affine((x - mean) / deviation)
        normal, _, mean, variance = standardize(x, self._require_several(x), self.eps)
        if self.training and self.track_running_stats:
            self._track(mean, variance, x.size // mean.size)
        return self._affine(normal)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x; leaves grad_weights and grad_bias. Running statistics stay as they are."""
        self._require(x)
        tracked = self._tracked(x)
        if tracked is not None:
            mean, deviation = tracked
            return self._affine_gradient((x - mean) / deviation, grad_output) / deviation
        axes = self._require_several(x)
        normal, deviation, *_ = standardize(x, axes, self.eps)
        grad_normal = self._affine_gradient(normal, grad_output)
        return standardize_gradient(normal, deviation, grad_normal, axes)


class _BatchNorm(_PerChannel):
    r"""y = w x̂ + b, x̂ = (x − μ)/√(v + ε), per channel, over the samples of a batch and all of space

    **Training.** μ and v are mean and variance of the n numbers of a channel in this batch. Each
    input moves them, so the gradient has their part in it (`standardize_gradient`); with
    σ = √(v + ε) and Ĝ = w G

        ∂L/∂x = (Ĝ − mean(Ĝ) − x̂ mean(Ĝ x̂))/σ
        ∂L/∂w[c] = Σ G x̂,   ∂L/∂b[c] = Σ G        over samples and space

    Summed over a channel the gradient of x is zero: a shift of all its numbers changes nothing.

    **Running statistics**, for the time after training, follow the batches:

        running ← (1 − m) running + m observed,      m = ``momentum``, the share of the newest batch

    or, with ``momentum=None``, are the plain average over all batches: m = 1/k in the k-th, which
    `num_batches_tracked` counts. The observed variance is unbiased here, v n/(n − 1), although x̂ is
    made with the biased v: so PyTorch does it (``convention="torch"``). JAX's libraries, flax and
    equinox, track v itself (``convention="jax"``); they also call 1 − m the momentum.

    **Evaluation** (``training=False``). μ and v are the running ones, constants, and so

        ∂L/∂x = Ĝ/σ

    Without ``track_running_stats`` evaluation is done with the batch's statistics, as training.

    Shapes:
        x, output: (batch, num_features, ...)
        weights, bias: (num_features,); None without ``affine``, or ``bias``
        running_mean, running_var: (num_features,); num_batches_tracked: (), int64

    dtypes: float32 or float64, that of the input, the parameters and the running statistics.
    Raises ValueError for an input of another rank or number of channels, and where a batch has a
    single number per channel: its variance is 0 and says nothing.

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015; torch.nn.BatchNorm2d, documentation.
    """

    buffer_names: ClassVar[tuple[str, ...]] = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        training: bool = True,
        convention: str = "torch",
    ) -> None:
        require_choice(type(self).__name__, "convention", convention, ("torch", "jax"))
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, training)
        self.convention = convention
        self.num_batches_tracked: Array | None = np.asarray(0) if track_running_stats else None

    def _axes(self, x: Array) -> Axes:
        return (0, *range(2, x.ndim))

    def _track(self, mean: Array, variance: Array, n: int) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked = np.asarray(self.num_batches_tracked + 1)
        factor = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        bessel = n / (n - 1) if self.convention == "torch" else 1.0
        self._move(mean, variance * bessel, factor)


class BatchNorm1d(_BatchNorm):
    """Batch normalization; `_BatchNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features) or (batch, num_features, length); parameters and running statistics (num_features,).

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization; `_BatchNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features, height, width); parameters and running statistics (num_features,).

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalization; `_BatchNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features, depth, height, width); parameters and running statistics (num_features,).

    Source: Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    ranks = (5,)


class _InstanceNorm(_PerChannel):
    r"""y = w x̂ + b, x̂ = (x − μ)/√(v + ε), for each channel of each sample alone, over space

    The samples of a batch do not meet, so training and evaluation are alike, unless
    ``track_running_stats`` asks for statistics to evaluate with; and w and b are an option, off by
    default. The gradient is that of BatchNorm, with the means over space:

        ∂L/∂x = (Ĝ − mean(Ĝ) − x̂ mean(Ĝ x̂))/σ,   Ĝ = w G
        ∂L/∂w[c] = Σ G x̂,   ∂L/∂b[c] = Σ G        over samples and space

    Running statistics move by the share m = ``momentum`` towards the average over the batch of the
    samples' means, and of their unbiased variances, v n/(n − 1) with n the size of space. With
    ``momentum=None`` they stay as they are. In evaluation they are constants: ∂L/∂x = Ĝ/σ.

    Shapes:
        x, output: (batch, num_features, ...)
        weights, bias: (num_features,); None without ``affine``, or ``bias``
        running_mean, running_var: (num_features,); None without ``track_running_stats``

    dtypes: float32 or float64, that of the input, the parameters and the running statistics.
    Raises ValueError for an input of another rank or number of channels, and where the space whose
    mean is to be taken has a single position.

    Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization, arXiv:1607.08022 (2016);
    torch.nn.InstanceNorm2d, documentation.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        training: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, training)

    def _axes(self, x: Array) -> Axes:
        return tuple(range(2, x.ndim))

    def _track(self, mean: Array, variance: Array, n: int) -> None:
        factor = 0.0 if self.momentum is None else self.momentum
        self._move(mean, variance * (n / (n - 1)), factor)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization; `_InstanceNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features, length); parameters and running statistics (num_features,).

    Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization, 2016.
    """

    ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization; `_InstanceNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features, height, width); parameters and running statistics (num_features,).

    Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization, 2016.
    """

    ranks = (4,)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization; `_InstanceNorm` has the formula and the derivation of its gradient.

    Shapes: x, output (batch, num_features, depth, height, width); parameters and running statistics (num_features,).

    Source: Ulyanov, Vedaldi and Lempitsky, Instance normalization, 2016.
    """

    ranks = (5,)
