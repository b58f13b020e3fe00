"""Real data: scikit-learn's handwritten digits, which the package ships; and the order of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from crosscheck.errors import MissingFramework
from crosscheck.sampling import generator
from crosscheck.spec import Array
from crosscheck.versions import installed


@dataclass(frozen=True)
class Digits:
    """1797 images of 8 × 8 pixels, a fifth of them for testing.

    Attributes:
        train_x, test_x: (samples, 8, 8), float64, pixels in [0, 1] in steps of 1/16: exact in
            float32.
        train_y, test_y: (samples,), int64, the digit.
    """

    train_x: Array
    train_y: Array
    test_x: Array
    test_y: Array


@cache
def digits() -> Digits:
    """The data, always split alike.

    Raises:
        MissingFramework: scikit-learn is not installed.
    """
    if not installed("sklearn"):
        raise MissingFramework(
            "the digits come with scikit-learn, which is not installed: "
            "pip install 'crosscheck[train]'"
        )
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = found.images / 16.0, found.target.astype(np.int64)
    order = generator(0, "digits", "split").permutation(len(x))
    test, training = order[: len(x) // 5], order[len(x) // 5 :]
    return Digits(x[training], y[training], x[test], y[test])


def batches(data: Digits, seed: int, size: int) -> Iterator[tuple[Array, Array]]:
    """Batches without end: every epoch in a new order, an incomplete last batch left out."""
    rng = generator(seed, "digits", "batches")
    while True:
        order = rng.permutation(len(data.train_x))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            yield data.train_x[chosen], data.train_y[chosen]
