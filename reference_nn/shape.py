"""Layers that change the shape alone, or nothing."""

from __future__ import annotations

from typing import Any

from reference_nn.layer import Array, Layer

__all__ = ["Flatten", "Identity"]


class Identity(Layer):
    r"""y = x, ∂L/∂x = G: what stands where a layer might be

    Takes and ignores any arguments, so that it can replace any layer's constructor.

    Shapes: any. dtypes: any; output and gradient are copies, which share no memory with what was
    given.

    Source: torch.nn.Identity, documentation.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Array) -> Array:
        """Any shape → the same."""
        return x.copy()

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return grad_output.copy()


class Flatten(Layer):
    r"""The axes start_dim to end_dim, both included, joined into one; by default all but the first

    The elements keep their order, the last axis running fastest: with the two axes (h, w) of sizes
    (H, W), y[n, h W + w] = x[n, h, w]. Each element of x appears once in y, so its gradient is the
    element of G at that place:

        ∂L/∂x = G in the shape of x

    Shapes:
        x: (n₀, …, n_k); output: (n₀, …, n_start · … · n_end, …, n_k). Negative axes count from the
        end. A number without axes becomes an array of one element.

    dtypes: any; output and gradient are copies. Raises ValueError for an axis that the input does
    not have, and for a start_dim behind the end_dim.

    Source: torch.nn.Flatten, documentation.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def _axis(self, x: Array, name: str) -> int:
        """An option as an axis of x counted from the start."""
        axis, rank = getattr(self, name), max(x.ndim, 1)
        if not -rank <= axis < rank:
            raise ValueError(f"Flatten: {name}={axis}, but the input has shape {x.shape}")
        return int(axis % rank)

    def forward(self, x: Array) -> Array:
        """(…, n_start, …, n_end, …) → (…, n_start · … · n_end, …)."""
        start, end = self._axis(x, "start_dim"), self._axis(x, "end_dim")
        if start > end:
            raise ValueError(
                f"Flatten: start_dim={self.start_dim} lies behind end_dim={self.end_dim} "
                f"in an input of shape {x.shape}"
            )
        joined = 1
        for size in x.shape[start : end + 1]:
            joined *= size
        return x.reshape(*x.shape[:start], joined, *x.shape[end + 1 :]).copy()

    def backward(self, x: Array, grad_output: Array) -> Array:
        """Gradient of x."""
        return grad_output.reshape(x.shape).copy()
