"""Pooling, padding, upsampling: mistakes people make, JAX's libraries, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.differences import ledger
from reference_nn.windows import add_windows, windows

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class PadsWithZeros(nn.MaxPool2d):
    """Zero padding: it wins wherever all of a window is negative."""

    def forward(self, x):
        (a, b), (c, d) = self._pads(x)
        padded = np.pad(x, [(0, 0), (0, 0), (a, b), (c, d)])
        view = windows(padded, self.kernel_size, self.stride, self.dilation)
        return view.max(axis=(-2, -1))


class EveryMaximumTakesAll(nn.MaxPool2d):
    """Ties: the mask of equal elements, instead of one of them."""

    def backward(self, x, grad_output):
        view = windows(x, self.kernel_size, self.stride, self.dilation)
        mask = view == self.forward(x)[..., None, None]
        patches = mask * grad_output[..., None, None]
        return add_windows(patches, x.shape[2:], self.stride, self.dilation)


class TiesAreShared(nn.MaxPool1d):
    """A subgradient too, but neither framework's."""

    def backward(self, x, grad_output):
        view = windows(x, self.kernel_size, self.stride, self.dilation)
        mask = view == self.forward(x)[..., None]
        patches = mask / mask.sum(axis=-1, keepdims=True) * grad_output[..., None]
        return add_windows(patches, x.shape[2:], self.stride, self.dilation)


class AssignsWhereItShouldAdd(nn.MaxPool1d):
    """Overlapping windows: the last one to write wins."""

    def backward(self, x, grad_output):
        total = np.zeros_like(x)
        view = windows(x, self.kernel_size, self.stride, self.dilation)
        start = np.arange(view.shape[2]) * self.stride[0]
        np.put_along_axis(total, start + view.argmax(axis=-1), grad_output, axis=-1)
        return total


class HeightForWidth(nn.MaxPool2d):
    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        square = (kernel_size[0], kernel_size[0])
        super().__init__(square, stride, padding, dilation, ceil_mode=ceil_mode)


class SumInsteadOfMean(nn.AvgPool2d):
    """The backward hands on the whole gradient, not the elements' share of it."""

    def backward(self, x, grad_output):
        return super().backward(x, grad_output) * np.prod(self.kernel_size)


class PaddingAlwaysCounts(nn.AvgPool1d):
    def _divisor(self, x, pads):
        return np.asarray(self.kernel_size[0], x.dtype)


class EqualWindows(nn.AdaptiveAvgPool1d):
    """Windows of ⌊n/o⌋ elements: what is left at the end is not seen."""

    def _bounds(self, x):
        size, count = x.shape[2], self.output_size[0]
        start = np.arange(count) * (size // count)
        return [(start, start + size // count)]


class EmptySlice(nn.ZeroPad1d):
    """x[p:-p] where p is 0."""

    def backward(self, x, grad_output):
        ((before, after),) = self.padding
        return grad_output[:, :, before:-after].copy()


class CopiesCollectNothing(nn.ReflectionPad1d):
    """The gradient of the mirror image is dropped."""

    def backward(self, x, grad_output):
        ((before, _),) = self.padding
        return grad_output[:, :, before : before + x.shape[2]].copy()


class EdgeTwice(nn.ReflectionPad1d):
    """Symmetric: the edge is repeated."""

    def source(self, q, size):
        return np.where(q < 0, -1 - q, np.where(q >= size, 2 * size - 1 - q, q))


class FirstAxisFirst(nn.ConstantPad2d):
    """(top, bottom, left, right): the frameworks' orders mixed up."""

    def __init__(self, padding, value):
        super().__init__((*padding[2:], *padding[:2]), value)


class OneOfTheCopies(nn.Upsample):
    """Each input gets the gradient of one of its copies."""

    def backward(self, x, grad_output):
        return grad_output[:, :, ::2, ::2].copy()


class CornersAligned(nn.Upsample):
    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None):
        super().__init__(size, scale_factor, mode, True)


MISTAKES = [
    ("MaxPool2d", PadsWithZeros, {"padding": 1}, "forward-wrong", "output"),
    ("MaxPool2d", EveryMaximumTakesAll, {}, "backward-wrong-by-oracles", "grad_x"),
    ("MaxPool1d", TiesAreShared, {}, "backward-wrong-by-oracles", "grad_x"),
    ("MaxPool1d", AssignsWhereItShouldAdd, {"stride": 1}, "backward-wrong", "grad_x"),
    ("MaxPool2d", HeightForWidth, {}, "wrong-shape", "output"),
    ("AvgPool2d", SumInsteadOfMean, {}, "backward-wrong", "grad_x"),
    (
        "AvgPool1d",
        PaddingAlwaysCounts,
        {"padding": 1, "count_include_pad": False},
        "forward-wrong",
        "output",
    ),
    ("AdaptiveAvgPool1d", EqualWindows, {}, "forward-wrong", "output"),
    ("ZeroPad1d", EmptySlice, {"padding": 0}, "wrong-shape", "grad_x"),
    ("ReflectionPad1d", CopiesCollectNothing, {}, "backward-wrong", "grad_x"),
    ("ReflectionPad1d", EdgeTwice, {}, "forward-wrong", "output"),
    ("ConstantPad2d", FirstAxisFirst, {}, "wrong-shape", "output"),
    ("Upsample", OneOfTheCopies, {}, "backward-wrong", "grad_x"),
    ("Upsample", CornersAligned, {"mode": "bilinear"}, "forward-wrong", "output"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(layer, wrong, options, code, quantity):
    pytest.importorskip("torch")
    report = quick(layer, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_a_share_of_ties_that_is_nobodys_shows_at_ties_only():
    pytest.importorskip("torch")
    for layer, wrong in (("MaxPool2d", EveryMaximumTakesAll), ("MaxPool1d", TiesAreShared)):
        report = quick(layer, wrong, options={}, against=("torch", "numeric"))
        wrong_in = {c.case.kind for c in report.comparisons if c.verdict is Verdict.DISAGREE}
        assert wrong_in == {"ties"}


def test_a_missing_mean_is_named_by_the_kernel():
    pytest.importorskip("torch")
    (finding,) = quick("AvgPool2d", SumInsteadOfMean, options={}, against=("torch",)).findings
    assert finding.cause == "multiplied-by-size"
    assert "kernel_height" in finding.explanation and "kernel_width" in finding.explanation


# --- where the frameworks differ --------------------------------------------------------------


@pytest.mark.parametrize("convention", ["torch", "jax"])
def test_either_share_of_ties_in_adaptive_max_pooling_is_known(convention):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    report = quick("AdaptiveMaxPool2d", options={"convention": convention})
    assert report.verdict is Verdict.AGREE, str(report)
    assert {c.known for c in report.comparisons if c.known} == {"adaptive-max-pool2d-ties"}
    assert {c.case.kind for c in report.comparisons if c.known} == {"ties"}


def test_a_window_of_minus_infinity_hands_its_gradient_to_the_input_as_in_torch():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    theirs, _ = ledger()["max-pool-of-minus-infinity"].measure()
    x = np.full((1, 1, 2), -np.inf)
    ours = nn.MaxPool1d(2, 2, padding=1).backward(x, np.ones((1, 1, 2)))
    np.testing.assert_array_equal(ours, theirs)


def test_nan_in_a_window_is_its_maximum():
    x = np.array([[[1.0, np.nan, 2.0, 3.0, 5.0, 4.0]]])
    for layer in (nn.MaxPool1d(2), nn.AdaptiveMaxPool1d(3)):
        np.testing.assert_array_equal(layer.forward(x), [[[np.nan, 3.0, 5.0]]])


def test_nearest_upsampling_has_the_gradient_of_its_own_forward():
    """By 1.1, where PyTorch's in one dimension has not: see the ledger."""
    g = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    layer = nn.Upsample(scale_factor=1.1)
    np.testing.assert_array_equal(layer.forward(np.arange(4.0).reshape(1, 1, 4)), [[[0, 0, 1, 2]]])
    np.testing.assert_array_equal(layer.backward(np.zeros((1, 1, 4)), g), [[[3, 4, 8, 0]]])


# --- JAX's libraries --------------------------------------------------------------------------

KERNEL = {"kernel_height": 3, "kernel_width": 2}
POOLS = [
    ({"stride": 1, "padding": 0}, None),
    ({"stride": (1, 2), "padding": (1, 0)}, (1, 2)),
]


def channels_last(x):
    return x.transpose(0, 2, 3, 1)


def channels_first(x):
    return x.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(("options", "strides"), POOLS)
def test_flax_pooling_without_strides_has_stride_1(options, strides):
    linen = pytest.importorskip("flax.linen")
    padding = [(p, p) for p in (options["padding"] if strides else (0, 0))]

    def max_pool(x):
        pooled = linen.max_pool(channels_last(x), (3, 2), strides=strides, padding=padding)
        return channels_first(pooled)

    def avg_pool(x):
        pooled = linen.avg_pool(channels_last(x), (3, 2), strides=strides, padding=padding)
        return channels_first(pooled)

    for name, function in (("MaxPool2d", max_pool), ("AvgPool2d", avg_pool)):
        report = quick(name, function, options=options, sizes=KERNEL, against=("jax",))
        assert report.verdict is Verdict.AGREE, str(report)


def test_flax_average_without_the_padding():
    linen = pytest.importorskip("flax.linen")

    def avg_pool(x):
        pooled = linen.avg_pool(
            channels_last(x), (3, 2), (3, 2), padding=((1, 1), (1, 1)), count_include_pad=False
        )
        return channels_first(pooled)

    options = {"padding": 1, "count_include_pad": False}
    report = quick("AvgPool2d", avg_pool, options=options, sizes=KERNEL, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_equinox_pooling_has_stride_1_by_default():
    eqx = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")

    def max_pool(x):
        return jax.vmap(eqx.nn.MaxPool2d((3, 2)))(x)

    report = quick("MaxPool2d", max_pool, options={"stride": 1}, sizes=KERNEL, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_equinox_max_pool_rounds_up_as_ceil_mode():
    eqx = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")

    def max_pool(x):
        return jax.vmap(eqx.nn.MaxPool2d((3, 2), (3, 2), use_ceil=True))(x)

    options = {"stride": (3, 2), "ceil_mode": True}
    sizes = {**KERNEL, "height": 7, "width": 5}
    report = quick("MaxPool2d", max_pool, options=options, sizes=sizes, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_equinox_adaptive_pooling_agrees_where_the_windows_are_equal():
    eqx = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")

    def adaptive(x):
        return jax.vmap(eqx.nn.AdaptiveAvgPool2d((3, 2)))(x)

    verdicts = {}
    for height, width in ((6, 4), (7, 4)):
        sizes = {"height": height, "width": width}
        report = quick("AdaptiveAvgPool2d", adaptive, options={}, sizes=sizes, against=("jax",))
        verdicts[height, width] = report.verdict
    # 7 into 3: torch's windows overlap, equinox's do not.
    assert verdicts == {(6, 4): Verdict.AGREE, (7, 4): Verdict.DISAGREE}


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.MaxPool2d(3, return_indices=True), "MaxPool2d: return_indices=True"),
        (lambda: nn.MaxPool2d((2, 3), padding=(1, 2)), r"half .* spans, \(2, 3\)"),
        (lambda: nn.AvgPool1d(4, padding=-1), "between 0 and half"),
        (lambda: nn.AvgPool1d(2, stride=0), "AvgPool1d: stride"),
        (lambda: nn.MaxPool2d((2, 2, 2)), "expected a number or 2 numbers"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "divisor_override=0"),
        (lambda: nn.AdaptiveAvgPool2d((2, 3, 4)), "AdaptiveAvgPool2d: output_size"),
        (lambda: nn.AdaptiveMaxPool1d(0), "AdaptiveMaxPool1d: output_size=0"),
        (lambda: nn.AdaptiveMaxPool1d(2, convention="both"), "convention='both'"),
        (lambda: nn.ReflectionPad1d((1, -1)), "must not be negative"),
        (lambda: nn.ZeroPad2d((1, 2)), "expected a number or 4 numbers"),
        (lambda: nn.Upsample(), "exactly one"),
        (lambda: nn.Upsample(4, 2), "exactly one"),
        (lambda: nn.Upsample(4, mode="bicubic"), "Upsample: mode='bicubic' is not one of"),
        (lambda: nn.Upsample(4, align_corners=True), "align_corners=True"),
        (lambda: nn.Upsample(4, recompute_scale_factor=True), "without a scale_factor"),
    ],
)
def test_a_wrong_option_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (nn.MaxPool2d(2), (3, 5, 5), r"MaxPool2d: expected .* got shape \(3, 5, 5\)"),
        (nn.MaxPool2d(4), (1, 1, 5, 3), "spans 4 does not fit a size of 3"),
        (nn.AdaptiveMaxPool1d(2), (1, 4, 4, 4), "AdaptiveMaxPool1d: expected"),
        (nn.ReflectionPad1d(3), (1, 1, 3), "wider than 2"),
        (nn.CircularPad1d(4), (1, 1, 3), "wider than 3"),
        (nn.ConstantPad1d(-2, 0.0), (1, 1, 3), "cuts more than a size of 3"),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 4), "mode='bilinear' expects"),
        (nn.Upsample(scale_factor=(2, 2)), (1, 1, 4), "does not fit"),
        (nn.Upsample(scale_factor=0.2), (1, 1, 4), "leaves nothing"),
    ],
)
def test_a_wrong_input_is_refused(layer, shape, says):
    with pytest.raises(ValueError, match=says):
        layer.forward(np.zeros(shape))
