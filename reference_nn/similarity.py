"""Cosine similarity: the cosine of the angle between two vectors."""

from __future__ import annotations

import numpy as np

from reference_nn.layer import Array, Layer, require_choice

__all__ = ["CosineSimilarity"]


def sum_to(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an array of `shape` that was broadcast: summed over where it was repeated."""
    lead = gradient.ndim - len(shape)
    repeated = tuple(
        i for i, n in enumerate(gradient.shape) if i < lead or shape[i - lead] == 1 != n
    )
    return np.asarray(gradient.sum(axis=repeated, keepdims=True).reshape(shape))


class CosineSimilarity(Layer):
    r"""cos = u₁·u₂,  u = x/n,  n = max(|x|, ε), along the axis `dim`

    Both vectors are brought to length 1 first, so that no product of large numbers is taken. As
    ∂|x|/∂x = x/|x|, and cos = (x₁·u₂)/n₁ with u₂ and n₂ free of x₁,

        ∂cos/∂x₁ = u₂/n₁ − (x₁·u₂)/n₁² ∂n₁/∂x₁
                 = (u₂ − cos x₁/|x₁|)/n₁        and with 1 and 2 exchanged:

    what is left of u₂ once its part along x₁ is taken away, for a change along x₁ turns nothing.

    A vector shorter than ε has n = ε, a constant, so that the second term is not there:
    ``convention="jax"``. PyTorch keeps it, as if n were |x| (``convention="torch"``); for a zero
    vector it is 0 with both.

    Shapes:
        x1, x2: (…, D, …) with D at the axis `dim`, or shapes that broadcast to that
        output: (…, …), without that axis

    dtypes: float32 or float64. Raises ValueError if the shapes do not broadcast, or have no axis
    `dim`.

    Source: torch.nn.CosineSimilarity, documentation; Manning, Raghavan and Schütze, Introduction to
    Information Retrieval (2008), section 6.3.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8, *, convention: str = "torch") -> None:
        require_choice("CosineSimilarity", "convention", convention, ("torch", "jax"))
        if not eps >= 0:
            raise ValueError(f"CosineSimilarity: eps={eps} must not be negative")
        self.dim, self.eps, self.convention = dim, float(eps), convention

    def _axis(self, x1: Array, x2: Array) -> int:
        """`dim` as an axis of the common shape."""
        try:
            rank = len(np.broadcast_shapes(x1.shape, x2.shape))
        except ValueError:
            raise ValueError(
                f"CosineSimilarity: x1 has shape {x1.shape}, x2 {x2.shape}: they must be the same, "
                "or broadcast"
            ) from None
        if not -rank <= self.dim < rank:
            raise ValueError(
                f"CosineSimilarity: dim={self.dim}, but the inputs have {rank} axes: "
                f"{x1.shape} and {x2.shape}"
            )
        return self.dim % rank

    def _unit(self, x: Array, axis: int) -> tuple[Array, Array, Array]:
        """u, n and |x|."""
        length = np.sqrt(np.square(x).sum(axis=axis, keepdims=True))
        held = np.where(length.real < self.eps, self.eps, length)
        return x / held, held, length

    def forward(self, x1: Array, x2: Array) -> Array:
        """(…, D, …) twice → (…, …)."""
        axis = self._axis(x1, x2)
        x1, x2 = np.broadcast_arrays(x1, x2)
        return np.asarray((self._unit(x1, axis)[0] * self._unit(x2, axis)[0]).sum(axis=axis))

    def backward(self, x1: Array, x2: Array, grad_output: Array) -> tuple[Array, Array]:
        """Gradients of x1 and x2."""
        axis = self._axis(x1, x2)
        wide = np.broadcast_arrays(x1, x2)
        (u1, n1, length1), (u2, n2, length2) = (self._unit(x, axis) for x in wide)
        cosine = (u1 * u2).sum(axis=axis, keepdims=True)
        upstream = np.expand_dims(grad_output, axis)
        along1 = cosine * self._direction(wide[0], length1)
        along2 = cosine * self._direction(wide[1], length2)
        return (
            sum_to(upstream * (u2 - along1) / n1, x1.shape),
            sum_to(upstream * (u1 - along2) / n2, x2.shape),
        )

    def _direction(self, x: Array, length: Array) -> Array:
        """∂n/∂x: x/|x|, and 0 for a zero vector; for one shorter than ε the convention's."""
        zero = length == 0 if self.convention == "torch" else length < self.eps
        return np.where(zero, 0, x / np.where(zero, 1, length))
