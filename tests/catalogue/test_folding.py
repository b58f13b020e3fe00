"""Unfold, Fold, PixelShuffle: mistakes people make, JAX, transposes, edges, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.errors import UsageError
from reference_nn.windows import pad, windows

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class AssignsWhereItShouldAdd(nn.Unfold):
    """Overlapping windows: the last one to write wins."""

    def backward(self, x, grad_output):
        place = np.arange(x.size, dtype=np.float64).reshape(x.shape)
        total = np.zeros(x.size)
        total[self._unfold(place).astype(int)] = grad_output
        return total.reshape(x.shape)


class KernelFirst(nn.Unfold):
    """(kernel, channels) for (channels, kernel): the order of channels last."""

    def forward(self, x):
        view = windows(pad(x, self.padding), self.kernel_size, self.stride, self.dilation)
        columns = view.transpose(0, 4, 5, 1, 2, 3)
        return columns.reshape(super().forward(x).shape)


class ColumnsFirst(nn.Unfold):
    """The windows counted down the columns."""

    def forward(self, x):
        view = windows(pad(x, self.padding), self.kernel_size, self.stride, self.dilation)
        columns = view.transpose(0, 1, 4, 5, 3, 2)
        return columns.reshape(super().forward(x).shape)


class PaddingForgotten(nn.Unfold):
    """The gradient of the padded input."""

    def backward(self, x, grad_output):
        ((a, b), (c, d)) = self.padding
        return self._fold_unpadded(grad_output, (x.shape[2] + a + b, x.shape[3] + c + d))

    def _fold_unpadded(self, columns, size):
        kept, self.padding = self.padding, ((0, 0), (0, 0))
        folded = self._fold(columns, size)
        self.padding = kept
        return folded


class Averages(nn.Fold):
    """The mean of what overlaps instead of the sum."""

    def forward(self, x):
        return super().forward(x) / np.maximum(super().forward(np.ones_like(x)), 1)


class FoldOfTheGradient(nn.Fold):
    """The backward divides by how often each element is covered."""

    def backward(self, x, grad_output):
        return super().backward(x, grad_output / np.maximum(super().forward(np.ones_like(x)), 1))


class HeightForWidth(nn.Fold):
    """The kernel's height and width swapped."""

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__(output_size, kernel_size[::-1], dilation, padding, stride)

    def forward(self, x):
        try:
            return super().forward(x)
        except ValueError:
            return np.zeros((len(x), 1, *self.output_size))


class BlocksOfChannels(nn.PixelShuffle):
    """The r² factors are the slow axis: a depth to space of other libraries."""

    def forward(self, x):
        r, (n, c, h, w) = self.upscale_factor, x.shape
        split = x.reshape(n, r, r, c // (r * r), h, w)
        return split.transpose(0, 3, 4, 1, 5, 2).reshape(n, c // (r * r), h * r, w * r).copy()


class ReshapeAlone(nn.PixelShuffle):
    """The right shape, by reshape where a transposition is needed."""

    def forward(self, x):
        return x.reshape(super().forward(x).shape).copy()


class RowsAndColumns(nn.PixelShuffle):
    """i and j swapped."""

    def backward(self, x, grad_output):
        r, (n, _, h, w) = self.upscale_factor, x.shape
        grad = super().backward(x, grad_output).reshape(n, -1, r, r, h, w)
        return grad.swapaxes(2, 3).reshape(x.shape)


class ForwardAgain(nn.PixelUnshuffle):
    """The backward shuffles the same way once more."""

    def backward(self, x, grad_output):
        return self.forward(super().backward(x, grad_output)).reshape(x.shape)


class MeanOfTheBlock(nn.PixelUnshuffle):
    """The gradient shared by the r² elements of a block."""

    def backward(self, x, grad_output):
        return super().backward(x, grad_output) / self.downscale_factor**2


MISTAKES = [
    ("Unfold", AssignsWhereItShouldAdd, {}, "backward-wrong", "grad_x"),
    ("Unfold", KernelFirst, {}, "forward-wrong", "output"),
    ("Unfold", ColumnsFirst, {}, "forward-wrong", "output"),
    ("Unfold", PaddingForgotten, {"padding": 1}, "wrong-shape", "grad_x"),
    ("Fold", Averages, {}, "forward-wrong", "output"),
    ("Fold", FoldOfTheGradient, {}, "backward-wrong", "grad_x"),
    ("Fold", HeightForWidth, {}, "wrong-shape", "output"),
    ("PixelShuffle", BlocksOfChannels, {}, "forward-wrong", "output"),
    ("PixelShuffle", ReshapeAlone, {}, "forward-wrong", "output"),
    ("PixelShuffle", RowsAndColumns, {}, "backward-wrong", "grad_x"),
    ("PixelUnshuffle", ForwardAgain, {}, "backward-wrong", "grad_x"),
    ("PixelUnshuffle", MeanOfTheBlock, {}, "backward-wrong", "grad_x"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[m[1].__name__ for m in MISTAKES],
)
def test_a_planted_mistake_is_found(layer, wrong, options, code, quantity):
    pytest.importorskip("torch")
    report = quick(layer, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_an_assignment_is_right_where_no_windows_overlap():
    pytest.importorskip("torch")
    sizes = {"kernel_height": 2, "kernel_width": 2, "height": 6, "width": 8}
    verdicts = {
        stride: quick(
            "Unfold",
            AssignsWhereItShouldAdd,
            options={"stride": stride},
            sizes=sizes,
            against=("torch", "numeric"),
        ).verdict
        for stride in (1, 2)
    }
    assert verdicts == {1: Verdict.DISAGREE, 2: Verdict.AGREE}


# --- JAX's libraries, and what the layers are for ---------------------------------------------


def test_the_convolution_that_unfold_and_a_matrix_product_make():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 6, 5))
    conv = nn.Conv2d(3, 4, (3, 2), stride=(1, 2), padding=1, dilation=2, rng=rng)
    columns = nn.Unfold((3, 2), stride=(1, 2), padding=1, dilation=2).forward(x)
    output = conv.weights.reshape(4, -1) @ columns + conv.bias[:, None]
    expected = conv.forward(x)
    np.testing.assert_allclose(output, expected.reshape(output.shape), rtol=1e-12)


def test_flax_convolution_with_the_kernel_of_a_shuffle():
    """PixelShuffle as the transposed convolution whose kernel is one 1 for each place."""
    pytest.importorskip("torch")
    linen = pytest.importorskip("flax.linen")
    r, c = 2, 3
    kernel = np.zeros((r, r, r * r * c, c))
    for place in range(r * r):
        for channel in range(c):
            kernel[place // r, place % r, channel * r * r + place, channel] = 1

    def shuffle(x):
        layer = linen.ConvTranspose(
            c, (r, r), (r, r), "VALID", use_bias=False, transpose_kernel=False
        )
        held = {"params": {"kernel": kernel[::-1, ::-1]}}
        return layer.apply(held, x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    sizes = {"batch": 2, "channels": c, "height": 4, "width": 5}
    report = quick("PixelShuffle", shuffle, options={}, sizes=sizes, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("stride", [1, 2])
def test_fold_is_the_transpose_of_unfold(stride):
    rng = np.random.default_rng(0)
    options = {"kernel_size": (2, 3), "padding": (1, 0), "stride": stride}
    unfold, fold = nn.Unfold(**options), nn.Fold((5, 6), **options)
    x = rng.standard_normal((2, 3, 5, 6))
    y = rng.standard_normal(unfold.forward(x).shape)
    np.testing.assert_allclose((unfold.forward(x) * y).sum(), (x * fold.forward(y)).sum())


@pytest.mark.parametrize("r", [1, 2, 3])
def test_the_shuffles_undo_each_other(r):
    x = np.random.default_rng(0).standard_normal((2, 2 * r * r, 3, 4))
    shuffled = nn.PixelShuffle(r).forward(x)
    np.testing.assert_array_equal(nn.PixelUnshuffle(r).forward(shuffled), x)


# --- edges and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [2.0**100, np.inf])
def test_any_number_is_moved_as_it_is(value):
    x = np.full((1, 4, 4, 4), value, np.float32)
    for layer in (nn.Unfold(2), nn.PixelShuffle(2), nn.PixelUnshuffle(2)):
        found = layer.forward(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.full(found.shape, value))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Unfold((2, 2, 2)), "kernel_size"),
        (lambda: nn.Unfold(2).forward(np.zeros((3, 5, 5))), "Unfold: expected"),
        (lambda: nn.Unfold(4).forward(np.zeros((1, 1, 5, 3))), "does not fit"),
        (lambda: nn.Fold((4, 4), 2).forward(np.zeros((1, 4, 8))), "Fold: 8 windows, but .* 3 x 3"),
        (
            lambda: nn.Fold((4, 4), 2).forward(np.zeros((1, 3, 9))),
            r"Fold: 2 x 2 must divide the 3 rows",
        ),
        (lambda: nn.PixelShuffle(2).forward(np.zeros((1, 6, 2, 2))), "2² must divide the channels"),
        (lambda: nn.PixelUnshuffle(2).forward(np.zeros((1, 1, 4, 3))), "2 must divide height and"),
        (lambda: nn.PixelShuffle(2).forward(np.zeros((4, 2, 2))), "PixelShuffle: expected"),
        (lambda: nn.PixelShuffle(0), "PixelShuffle: upscale_factor=0"),
        (lambda: nn.PixelUnshuffle(-1), "PixelUnshuffle: downscale_factor=-1"),
    ],
)
def test_a_wrong_option_or_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("name", ["Unfold", "Fold", "PixelShuffle", "PixelUnshuffle"])
def test_an_option_that_there_is_not_is_named(name):
    with pytest.raises(UsageError, match=f"option of {name}.*groups"):
        crosscheck.check(name, options={"groups": 2})
    with pytest.raises(TypeError, match="groups"):
        getattr(nn, name)(2, groups=2)


def test_the_jax_twin_is_what_jax_calls_patches():
    """Written as slices, for XLA ends the process on the derivative of its own patches."""
    lax = pytest.importorskip("jax.lax")
    options = {"padding": 1, "stride": 2, "dilation": 2}
    sizes = {"batch": 2, "channels": 3, "height": 7, "width": 8}
    problem = crosscheck.catalogue["Unfold"].problem(
        options, {**sizes, "kernel_height": 2, "kernel_width": 3}
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 8)).astype(np.float32)
    ours = crosscheck.catalogue["Unfold"].jax(problem, x=x)
    patches = lax.conv_general_dilated_patches(x, (2, 3), (2, 2), [(1, 1)] * 2, rhs_dilation=(2, 2))
    assert np.allclose(ours, np.asarray(patches).reshape(2, 18, -1), atol=1e-6)
