"""Dropout: mistakes people make, the frameworks' own masks, refusals."""

import math
from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class NotScaledBack(nn.Dropout):
    """The backward forgets 1/(1 - p)."""

    def backward(self, x, grad_output):
        return grad_output * self.mask


class NotScaled(nn.Dropout):
    """Neither forward nor backward makes up for what is left out."""

    def _keep(self, x, mask):
        return x * mask


class ByTheWrongShare(nn.Dropout):
    """1/p instead of 1/(1 - p)."""

    def _keep(self, x, mask):
        return x * mask / self.p


class OthersKept(nn.Dropout):
    """The mask taken for what is dropped."""

    def _keep(self, x, mask):
        return super()._keep(x, ~mask)


class DrawnAgain(nn.Dropout):
    """The backward pass draws a mask of its own."""

    def backward(self, x, grad_output):
        return self._keep(grad_output, np.random.default_rng(0).random(x.shape) >= self.p)


class ScaledInEvaluation(nn.Dropout):
    """As of 2014: evaluation multiplies by 1 - p."""

    def forward(self, x):
        return super().forward(x) if self.training else x * (1 - self.p)


class DropsInEvaluation(nn.Dropout):
    def __init__(self, p=0.5, inplace=False, training=True):
        super().__init__(p, inplace, rng=np.random.default_rng(0))


class InPlace(nn.Dropout):
    """Writes into its input."""

    def forward(self, x):
        x *= self.mask
        return x / (1 - self.p)


class Ignored(nn.Dropout):
    """The backward hands the gradient on as it is."""

    def backward(self, x, grad_output):
        return grad_output.copy()


EVALUATION = {"training": False}
MISTAKES = [
    (NotScaledBack, {}, "backward-wrong", "grad_x"),
    (NotScaled, {}, "forward-wrong", "output"),
    (ByTheWrongShare, {"p": 0.2}, "forward-wrong", "output"),
    (OthersKept, {}, "forward-wrong", "output"),
    (DrawnAgain, {}, "backward-wrong", "grad_x"),
    (ScaledInEvaluation, EVALUATION, "forward-wrong", "output"),
    (DropsInEvaluation, EVALUATION, "random-forward", "output"),
    (InPlace, {}, "contract", "contract: inputs unchanged"),
    (Ignored, {}, "backward-wrong", "grad_x"),
]


@pytest.mark.parametrize(
    ("wrong", "options", "code", "quantity"), MISTAKES, ids=[m[0].__name__ for m in MISTAKES]
)
def test_a_planted_mistake_is_found(wrong, options, code, quantity):
    pytest.importorskip("torch")
    report = quick("Dropout", wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


@pytest.mark.parametrize(("p", "factor"), [(0.2, "4/5"), (0.5, "1/2")])
def test_a_forgotten_scale_is_named_by_its_factor(p, factor):
    pytest.importorskip("torch")
    report = quick("Dropout", NotScaledBack, options={"p": p}, against=("torch", "numeric"))
    (finding,) = report.findings
    assert finding.cause == "option-factor" and "1 - p" in finding.explanation
    assert factor in finding.explanation, finding.explanation


# --- the frameworks' own masks ----------------------------------------------------------------


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_torch_dropout_with_the_mask_that_it_drew(p):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    values, g = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    x = torch.tensor(values, requires_grad=True)
    module = torch.nn.Dropout(p)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        mask = module(torch.ones_like(x)).numpy() != 0
        torch.manual_seed(3)
        output = module(x)
    output.backward(torch.tensor(g))
    layer = nn.Dropout(p)
    layer.mask = mask
    np.testing.assert_allclose(layer.forward(values), output.detach().numpy(), rtol=1e-15)
    np.testing.assert_allclose(layer.backward(values, g), x.grad.numpy(), rtol=1e-15)
    assert p in (0, 1) or 0 < mask.sum() < mask.size


@pytest.mark.parametrize("library", ["flax", "equinox"])
def test_a_jax_library_with_the_mask_that_it_draws(library):
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    module = pytest.importorskip("flax.linen" if library == "flax" else "equinox")

    def drop(x):
        key = jax.random.key(5)
        if library == "flax":
            return module.Dropout(0.2, deterministic=False).apply({}, x, rngs={"dropout": key})
        return module.nn.Dropout(0.2)(x, key=key)

    rng = np.random.default_rng(0)
    values, g = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    with jax.enable_x64(True):
        layer = nn.Dropout(0.2)
        layer.mask = np.asarray(drop(np.ones((7, 5)))) != 0
        output, pull = jax.vjp(drop, values)
        np.testing.assert_allclose(layer.forward(values), np.asarray(output), rtol=1e-15)
        np.testing.assert_allclose(layer.backward(values, g), np.asarray(pull(g)[0]), rtol=1e-15)
    assert 0 < layer.mask.sum() < layer.mask.size


# --- a mask of its own ------------------------------------------------------------------------


def test_a_drawn_mask_serves_the_backward_pass_and_keeps_the_mean():
    layer = nn.Dropout(0.3, rng=np.random.default_rng(0))
    x = np.ones((200, 200))
    output = layer.forward(x)
    np.testing.assert_array_equal(layer.backward(x, x), output)
    assert set(np.unique(output)) == {0.0, 1 / 0.7}
    # The mean of 40,000 draws is off by more than 5 deviations once in a million.
    assert abs(output.mean() - 1) < 5 * math.sqrt(0.3 / 0.7 / x.size)
    assert not np.array_equal(layer.forward(x), output)


def test_infinity_follows_torch():
    layer = nn.Dropout(0.5)
    layer.mask = np.array([True, False])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(layer.forward(np.full(2, np.inf)), [np.inf, np.nan])


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Dropout(1.5), "Dropout: p=1.5 is no probability"),
        (lambda: nn.Dropout(-0.1), "Dropout: p=-0.1"),
        (lambda: nn.Dropout(math.nan), "Dropout: p=nan"),
        (lambda: nn.Dropout(inplace=True), "Dropout: inplace=True"),
        (lambda: nn.Dropout().backward(np.ones(3), np.ones(3)), "backward without a mask"),
    ],
)
def test_a_wrong_option_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_a_mask_of_another_shape_is_refused():
    layer = nn.Dropout()
    layer.mask = np.ones((1, 3), np.bool_)
    with pytest.raises(ValueError, match=r"mask has shape \(1, 3\), the input \(2, 3\)"):
        layer.forward(np.ones((2, 3)))


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="option of Dropout.*rate"):
        crosscheck.check("Dropout", options={"rate": 0.1})
    with pytest.raises(TypeError, match="rate"):
        nn.Dropout(rate=0.1)
