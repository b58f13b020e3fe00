"""Linear maps that act on every axis of space by itself: what averaging and interpolating share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference_nn.layer import Array


def along_axes(x: Array, matrices: Sequence[Array]) -> Array:
    r"""Multiply each of the last axes by its own matrix.

        y[…, i, j] = Σ_{p, q} A[i, p] B[j, q] x[…, p, q]          (matrices A, B)

    One axis after the other: n products of the size of one, instead of a single one whose matrix
    would be the Kronecker product. It is linear in x, so the gradient of x is the same map with the
    matrices transposed.

    Shapes: x (…, *n), matrices (o, n) each → (…, *o). A new array, of the common dtype.
    """
    first = x.ndim - len(matrices)
    for axis, matrix in enumerate(matrices, start=first):
        lead, tail = x.shape[:axis], x.shape[axis + 1 :]
        if tail:
            rows = x.reshape(*lead, x.shape[axis], math.prod(tail))
            x = (matrix @ rows).reshape(*lead, len(matrix), *tail)
        else:
            x = x @ matrix.T
    return x
