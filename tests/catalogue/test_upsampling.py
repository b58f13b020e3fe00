"""Upsampling: mistakes people make, against JAX, the ends, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.checking import check_cases
from crosscheck.sampling import cases, option_sets

quick = partial(crosscheck.check, "Upsample", dtypes=("float64",))
SETS = [*option_sets(crosscheck.catalogue["Upsample"], 0)]


@pytest.mark.parametrize("options", SETS, ids=str)
def test_every_combination_of_options_agrees(torch, options):
    layer = crosscheck.catalogue["Upsample"]
    report = check_cases(layer, [next(cases(layer, options=options))], against=("torch", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


# --- mistakes ---------------------------------------------------------------------------------


class LastCopyWins(nn.Upsample):
    """= where += belongs."""

    def backward(self, x, grad_output):
        total = np.zeros_like(x)
        for p in range(grad_output.shape[2]):
            for q in range(grad_output.shape[3]):
                total[:, :, p // 2, q // 2] = grad_output[:, :, p, q]
        return total


class MeanOfTheCopies(nn.Upsample):
    """The gradient of an average, for a copy."""

    def backward(self, x, grad_output):
        return super().backward(x, grad_output) / 4


class Tiled(nn.Upsample):
    """np.tile where np.repeat belongs."""

    def forward(self, x):
        return np.tile(x, (1, 1, 2, 2))


class CornersAlignedForwards(nn.Upsample):
    """align_corners is looked at in the forward pass alone."""

    def backward(self, x, grad_output):
        wrong = nn.Upsample(scale_factor=2, mode=self.mode, align_corners=False)
        return wrong.backward(x, grad_output)


class NotClipped(nn.Upsample):
    """Beyond the edges the line goes on, instead of staying level."""

    def _matrix(self, size, count, ratio):
        matrix = super()._matrix(size, count, ratio)
        t = ratio * (np.arange(count) + 0.5) - 0.5
        low = np.clip(np.floor(t).astype(int), 0, size - 2)
        straight = np.zeros_like(matrix)
        straight[np.arange(count), low] = 1 - (t - low)
        straight[np.arange(count), low + 1] = t - low
        return straight


class OtherAxisFirst(nn.Upsample):
    """(width, height)."""

    def forward(self, x):
        return nn.Upsample(self.size[::-1], mode=self.mode).forward(x)


class InterpolatesWithAMatrixOfOnes(nn.Upsample):
    """The gradient is spread over both neighbours alike."""

    def backward(self, x, grad_output):
        matrix = self._matrices(x)[0]
        return grad_output @ ((matrix > 0) / (matrix > 0).sum(axis=1, keepdims=True))


TO_SIZE = {"size": (9, 4), "scale_factor": None}
MISTAKES = [
    (LastCopyWins, {}, "backward-wrong", "grad_x"),
    (MeanOfTheCopies, {}, "backward-wrong", "grad_x"),
    (Tiled, {}, "forward-wrong", "output"),
    (
        CornersAlignedForwards,
        {"mode": "bilinear", "align_corners": True},
        "backward-wrong",
        "grad_x",
    ),
    (NotClipped, {"mode": "linear"}, "forward-wrong", "output"),
    (OtherAxisFirst, TO_SIZE, "wrong-shape", "output"),
    (InterpolatesWithAMatrixOfOnes, {"mode": "linear"}, "backward-wrong", "grad_x"),
]


@pytest.mark.parametrize(
    ("wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[0].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(torch, wrong, options, code, quantity):
    report = quick(wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_the_mean_of_the_copies_is_named_a_factor(torch):
    (finding,) = quick(MeanOfTheCopies, options={}, against=("torch",)).findings
    assert finding.cause == "constant-factor"


# --- JAX, the ends, refusals ------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "method"), [("nearest-exact", "nearest"), ("bilinear", "linear")])
@pytest.mark.parametrize("size", [(7, 9), (2, 3)])
def test_jax_image_resizes_alike(torch, mode, method, size):
    """Upwards and downwards, where nothing is to be averaged."""
    jax = pytest.importorskip("jax")
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    with jax.enable_x64(True):
        theirs = jax.image.resize(x, (2, 3, *size), method, antialias=False)
    np.testing.assert_allclose(nn.Upsample(size, mode=mode).forward(x), theirs, rtol=1e-12)


@pytest.mark.parametrize("mode", ["linear", "nearest", "nearest-exact"])
def test_it_is_linear_and_its_gradient_is_its_transpose(mode):
    rng = np.random.default_rng(0)
    layer, x, y = (
        nn.Upsample(7, mode=mode),
        rng.standard_normal((2, 1, 4)),
        rng.standard_normal((2, 1, 7)),
    )
    forth, back = (layer.forward(x) * y).sum(), (x * layer.backward(x, y)).sum()
    np.testing.assert_allclose(forth, back, rtol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_float32_stays_float32_and_far_out_nothing_overflows(mode):
    x = np.float32(1e38) * np.array([[[[1, -1], [0.5, -0.5]]]], np.float32)
    layer = nn.Upsample(scale_factor=3, mode=mode)
    output = layer.forward(x)
    found = layer.backward(x, output / np.float32(64))
    for array in (output, found):
        assert np.isfinite(array).all() and array.dtype == np.float32


def test_a_constant_stays_one_and_its_gradient_is_the_number_of_outputs():
    for options in SETS:
        case = next(cases(crosscheck.catalogue["Upsample"], options=options))
        layer, shape = nn.Upsample(**{**case.problem.options}), case.values["x"].shape
        output = layer.forward(np.full(shape, 2.5))
        np.testing.assert_allclose(output, 2.5, rtol=1e-12)
        total = layer.backward(np.zeros(shape), np.ones_like(output)).sum()
        np.testing.assert_allclose(total, output.size, rtol=1e-12)


X = np.zeros((1, 1, 3, 4))
REFUSED = [
    (lambda: nn.Upsample(2, 2.0), "Upsample: size=2, scale_factor=2.0: exactly one"),
    (lambda: nn.Upsample(2, mode="area"), "Upsample: mode='area' is not one of 'nearest'"),
    (lambda: nn.Upsample(2, mode="nearest-exact", align_corners=False), "align_corners=False"),
    (lambda: nn.Upsample(2, mode="trilinear").forward(X), "mode='trilinear' expects"),
    (lambda: nn.Upsample((2, 2, 2)).forward(X), r"Upsample: \(2, 2, 2\) does not fit"),
    (lambda: nn.Upsample(0).forward(X), "Upsample: 0 leaves nothing"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
