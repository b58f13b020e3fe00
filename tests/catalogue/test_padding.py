"""Padding: mistakes people make, against flax and NumPy, the ends, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.checking import check_cases
from crosscheck.sampling import cases, option_sets

quick = partial(crosscheck.check, dtypes=("float64",))
KINDS = ("ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")
NAMES = [f"{kind}{n}d" for kind in KINDS for n in (1, 2, 3)]


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_options_agrees(torch, name):
    layer = crosscheck.catalogue[name]
    first = [next(cases(layer, options=options)) for options in option_sets(layer, 0)]
    report = check_cases(layer, first, against=("torch", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


# --- mistakes ---------------------------------------------------------------------------------


class GradientOfTheFrame(nn.ConstantPad2d):
    """The frame's gradient is handed to what lies next to it, as if it were a copy."""

    def backward(self, x, grad_output):
        return nn.ReplicationPad2d(self.flat).backward(x, grad_output)

    def __init__(self, padding, value):
        super().__init__(padding, value)
        self.flat = padding


class FrameOfZeros(nn.ConstantPad1d):
    """The value is not looked at."""

    def __init__(self, padding, value):
        super().__init__(padding, 0.0)


class AxesTurnedRound(nn.ZeroPad2d):
    """NumPy's order: a pair for the rows, then one for the columns."""

    def __init__(self, padding):
        super().__init__(padding)
        rows, columns = self._added
        self._added = [columns, rows]


class OneCopyWins(nn.ReplicationPad1d):
    """= where += belongs: the last copy's gradient is all that is left."""

    def backward(self, x, grad_output):
        ((before, after),) = self.padding
        total = np.zeros_like(x)
        for p in range(grad_output.shape[2]):
            total[:, :, self.source(np.asarray(p - before), x.shape[2])] = grad_output[:, :, p]
        return total


class BackwardsOnTheCircle(nn.CircularPad1d):
    """What stands before the start is the start again."""

    def source(self, q, size):
        return np.abs(q) % size


class OneAxisForgotten(nn.CircularPad2d):
    """The copies along one axis collect nothing."""

    def backward(self, x, grad_output):
        (top, _), (left, right) = self.padding
        whole = grad_output[:, :, top : top + x.shape[2]]
        line = nn.CircularPad1d((left, right))
        samples, channels, height, width = x.shape
        rows = whole.reshape(samples, channels * height, -1)
        return line.backward(x.reshape(samples, channels * height, width), rows).reshape(x.shape)


MISTAKES = [
    ("ConstantPad2d", GradientOfTheFrame, {}, "backward-wrong", "grad_x"),
    ("ConstantPad1d", FrameOfZeros, {}, "forward-wrong", "output"),
    ("ZeroPad2d", AxesTurnedRound, {}, "wrong-shape", "output"),
    ("ReplicationPad1d", OneCopyWins, {}, "backward-wrong", "grad_x"),
    ("CircularPad1d", BackwardsOnTheCircle, {}, "forward-wrong", "output"),
    ("CircularPad2d", OneAxisForgotten, {}, "backward-wrong", "grad_x"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(torch, name, wrong, options, code, quantity):
    report = quick(name, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


# --- JAX's libraries, NumPy -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "mode"), [("CircularPad", "CIRCULAR"), ("ReflectionPad", "REFLECT")]
)
def test_flax_pads_alike_before_it_convolves(torch, kind, mode):
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 3, 6)), rng.standard_normal((5, 3, 4))
    ours = nn.Conv1d(3, 4, 5, bias=False)
    ours.weights = kernel.transpose(2, 1, 0)
    with jax.enable_x64(True):
        layer = linen.Conv(4, (5,), padding=mode, use_bias=False, param_dtype=np.float64)
        theirs = layer.apply({"params": {"kernel": kernel}}, x.transpose(0, 2, 1))
    padded = getattr(nn, f"{kind}1d")(2).forward(x)
    np.testing.assert_allclose(ours.forward(padded).transpose(0, 2, 1), theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("ReflectionPad", "reflect"), ("ReplicationPad", "edge"), ("CircularPad", "wrap")],
)
def test_numpy_pads_alike(kind, mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    widths = [(0, 0), (0, 0), (0, 3), (2, 1)]
    found = getattr(nn, f"{kind}2d")((2, 1, 0, 3)).forward(x)
    np.testing.assert_array_equal(found, np.pad(x, widths, mode=mode))


# --- the ends, refusals -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_finite_is_copied_as_it_is(kind):
    x = np.array([[[np.inf, 1e300, np.nan, -np.inf]]])
    value = (0.5,) if kind == "ConstantPad" else ()
    output = getattr(nn, f"{kind}1d")((1, 2), *value).forward(x)
    np.testing.assert_array_equal(output[..., 1:5], x)


@pytest.mark.parametrize("name", NAMES)
def test_padding_by_nothing_is_a_copy(name):
    n = int(name[-2])
    layer = getattr(nn, name)(0, *((0.5,) if name.startswith("Constant") else ()))
    x = np.random.default_rng(0).standard_normal((2, 3, *range(4, 4 + n))).astype(np.float32)
    for given, found in ((x, layer.forward(x)), (x + 1, layer.backward(x, x + 1))):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, given)


def test_the_gradient_of_what_is_cut_off_is_zero():
    x = np.ones((1, 1, 4))
    grad = nn.ConstantPad1d((-1, -2), 3.0).backward(x, np.full((1, 1, 1), 5.0))
    np.testing.assert_array_equal(grad, [[[0, 5, 0, 0]]])


X = np.zeros((1, 1, 3, 4))
REFUSED = [
    (
        lambda: nn.ReplicationPad2d((1, 0, -1, 0)),
        r"ReplicationPad2d: padding=\(1, 0, -1, 0\) must not",
    ),
    (lambda: nn.CircularPad3d((1, 2)), "padding=.*expected a number or 6 numbers"),
    (lambda: nn.ConstantPad1d(2, 0.0).forward(X), r"ConstantPad1d: expected \(batch, channels, 1"),
    (lambda: nn.ReflectionPad2d(3).forward(X), r"ReflectionPad2d: padding \(3, 3\) of a size of 3"),
    (
        lambda: nn.CircularPad2d((0, 5, 0, 0)).forward(X),
        r"CircularPad2d: .* size of 4 is wider than 4",
    ),
    (lambda: nn.ZeroPad2d((0, 0, -2, -2)).forward(X), r"ZeroPad2d: padding \(-2, -2\) cuts more"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
