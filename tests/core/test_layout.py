"""Layouts are bijections: what goes out comes back, and each mistake in one is refused."""

import numpy as np
import pytest

from crosscheck.errors import UsageError
from crosscheck.implementations.layout import Layout

LAYOUTS = [
    ("weight", (3, 4), {}, (3, 4)),
    ("weight: in out -> out in", (3, 4), {}, (4, 3)),
    ("kernel: o i h w -> h w i o", (2, 3, 4, 5), {}, (4, 5, 3, 2)),
    ("weight: i o h w -> o i ~h ~w", (2, 3, 4, 5), {}, (3, 2, 4, 5)),
    ("weight: (heads dim) in -> in heads dim", (12, 5), {"heads": 4}, (5, 4, 3)),
    ("weight: h d -> (h d)", (4, 3), {"h": 4}, (12,)),
]


@pytest.mark.parametrize(("text", "shape", "sizes", "there"), LAYOUTS)
def test_out_and_back(text, shape, sizes, there):
    layout = Layout.parse(text, **sizes)
    array = np.arange(np.prod(shape), dtype=float).reshape(shape)
    moved = layout.out(array)
    assert moved.shape == there
    assert np.array_equal(layout.back(moved), array)
    assert not np.shares_memory(moved, array)


def test_values_go_where_they_should():
    array = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(Layout.parse("w: a b -> b a").out(array), array.T)
    assert np.array_equal(Layout.parse("w: a b -> a ~b").out(array), array[:, ::-1])


@pytest.mark.parametrize(
    "text", ["w: a b -> a", "w: a b -> a c", "w: a a -> a a", "w: a b", "w: a [b] -> b a"]
)
def test_what_is_no_bijection_is_refused(text):
    with pytest.raises(UsageError):
        Layout.parse(text)


def test_wrong_arrays_are_refused():
    with pytest.raises(UsageError, match="axes"):
        Layout.parse("w: a b -> b a").out(np.zeros(3))
    with pytest.raises(UsageError, match="cannot be told"):
        Layout.parse("w: (a b) -> a b").out(np.zeros(6))
    with pytest.raises(UsageError):
        Layout.parse("w: (a b) -> a b", a=4).out(np.zeros(6))
