"""Dropout: some elements are left out at random, the others made up for it."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, Layer, require_choice

__all__ = ["Dropout"]


class Dropout(Layer):
    r"""y = x m/(1 − p) in training, with a mask m of zeros and ones; y = x in evaluation

    Each element of m is 0 with probability p, independently. The factor 1/(1 − p) keeps the mean
    of every element, E[y] = x, so that nothing has to be scaled in evaluation.

    For a given mask the layer is linear, and its own transpose:

        ∂L/∂x = G m/(1 − p)

    The mask of the backward pass must be that of the forward pass. That is the one thing here that
    a layer has to keep:

    - ``mask`` set to an array of booleans, True for what is kept: both passes use it.
    - ``mask`` None, the default: every forward pass in training draws one from `rng` and leaves it
      in ``drawn``, where the backward pass finds it. So between a forward pass and its backward
      pass the object serves no other place of a network.

    With p = 1 everything is left out, and y = 0.

    Shapes: x, output, mask alike, any. dtypes: float32 or float64, the mask bool. Raises ValueError
    for p outside [0, 1], a mask of another shape, ``inplace=True`` (no layer here writes into its
    input), and for a backward pass in training without any mask.

    Source: Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting,
    Journal of Machine Learning Research 15 (2014); torch.nn.Dropout, documentation.
    """

    buffer_names = ("mask",)

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        training: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        require_choice("Dropout", "inplace", inplace, (False,))
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p={p} is no probability: it must be between 0 and 1")
        self.p, self.training = float(p), training
        self.rng = rng or np.random.default_rng()
        self.mask: Array | None = None
        self.drawn: Array | None = None

    def _keep(self, x: Array, mask: Array) -> Array:
        """x m/(1 − p)."""
        if mask.shape != x.shape:
            raise ValueError(f"Dropout: the mask has shape {mask.shape}, the input {x.shape}")
        scale = 0.0 if self.p == 1 else 1 / (1 - self.p)
        return np.asarray(x * mask * scale)

    def forward(self, x: Array) -> Array:
        """Any shape → the same."""
        if not self.training:
            return x.copy()
        if self.mask is None:
            drawn: Array = np.asarray(self.rng.random(x.shape) >= self.p)
            self.drawn = drawn
            return self._keep(x, drawn)
        return self._keep(x, self.mask)

    def repeat(self, *inputs: Array) -> Array:
        """The forward pass once more, with the mask that was drawn for it."""
        (x,) = inputs
        if self.training and self.mask is None and self.drawn is not None:
            return self._keep(x, self.drawn)
        return self.forward(x)

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x, through the mask of the forward pass."""
        if not self.training:
            return grad_output.copy()
        mask = self.drawn if self.mask is None else self.mask
        if mask is None:
            raise ValueError("Dropout: backward without a mask: set mask, or call forward first")
        return self._keep(grad_output, mask)
