"""Bilinear: mistakes people make, edges, refusals. No library of JAX has the layer."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))


class WrongFactor(nn.Bilinear):
    """The gradient of x1 with x1 in it instead of x2: fits where both are of one size."""

    def backward(self, x1, x2, grad_output):
        grad1, grad2 = super().backward(x1, x2, grad_output)
        if x1.shape == x2.shape:
            grad1, _ = super().backward(x1, x1, grad_output)
            super().backward(x1, x2, grad_output)
        return grad1, grad2


class WeightsTransposed(nn.Bilinear):
    """The first two axes of the weights exchanged."""

    def forward(self, x1, x2):
        output = np.einsum("ni,iOj,nj->nO", x1, self.weights.swapaxes(0, 1), x2)
        return output - self.bias  # and the bias's sign


class GradientForWeights(nn.Bilinear):
    """The inputs' gradients with grad_weights instead of weights."""

    def backward(self, x1, x2, grad_output):
        super().backward(x1, x2, grad_output)
        kept, self.weights = self.weights, self.grad_weights
        grads = super().backward(x1, x2, grad_output)
        self.weights = kept
        return grads


class NotSummed(nn.Bilinear):
    """The bias's gradient one per sample."""

    def backward(self, x1, x2, grad_output):
        grads = super().backward(x1, x2, grad_output)
        self.grad_bias = grad_output.copy()
        return grads


class MeanOfTheWeights(nn.Bilinear):
    """1/N in the weights' gradient."""

    def backward(self, x1, x2, grad_output):
        grads = super().backward(x1, x2, grad_output)
        self.grad_weights = self.grad_weights / len(x1)
        return grads


class Exchanged(nn.Bilinear):
    """The two gradients in the wrong order."""

    def backward(self, x1, x2, grad_output):
        return super().backward(x1, x2, grad_output)[::-1]


class Diagonal(nn.Bilinear):
    """Products of equal places only."""

    def forward(self, x1, x2):
        n = min(x1.shape[1], x2.shape[1])
        both = x1[:, :n] * x2[:, :n]
        diagonal = self.weights[:, np.arange(n), np.arange(n)]
        return both @ diagonal.T + self.bias


MISTAKES = [
    (WrongFactor, "backward-wrong", "grad_x1"),
    (WeightsTransposed, "forward-wrong", "output"),
    (GradientForWeights, "backward-wrong", "grad_x1"),
    (GradientForWeights, "backward-wrong", "grad_x2"),
    (NotSummed, "wrong-shape", "grad_bias"),
    (MeanOfTheWeights, "backward-wrong", "grad_weights"),
    (Exchanged, "wrong-shape", "grad_x1"),
    (Diagonal, "forward-wrong", "output"),
]


@pytest.mark.parametrize(
    ("wrong", "code", "quantity"), MISTAKES, ids=[f"{m[0].__name__}-{m[2]}" for m in MISTAKES]
)
def test_a_planted_mistake_is_found(wrong, code, quantity):
    pytest.importorskip("torch")
    report = quick("Bilinear", wrong, options={}, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_a_factor_that_fits_only_where_the_sizes_are_equal_shows_there():
    pytest.importorskip("torch")
    report = quick("Bilinear", WrongFactor, options={}, against=("torch", "numeric"))
    wrong_in = {c.case.kind for c in report.comparisons if c.verdict is Verdict.DISAGREE}
    assert wrong_in == {"square"}


def test_a_mean_over_the_batch_is_named():
    pytest.importorskip("torch")
    report = quick("Bilinear", MeanOfTheWeights, options={}, against=("torch",), extra=3)
    (finding,) = report.findings
    assert finding.cause == "divided-by-size" and "batch" in finding.explanation


@pytest.mark.parametrize("scale", [1e-30, 1e4, 1e18])
def test_finite_where_pytorch_is_finite(scale):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x1, x2, g = (rng.standard_normal((3, n)).astype(np.float32) for n in (2, 4, 5))
    x1 *= np.float32(scale)
    layer = nn.Bilinear(2, 4, 5)
    layer.weights, layer.bias = (a.astype(np.float32) for a in (layer.weights, layer.bias))
    theirs = torch.nn.functional.bilinear(
        *(torch.tensor(a) for a in (x1, x2, layer.weights, layer.bias))
    )
    with np.errstate(over="raise", invalid="raise"):
        output, grads = layer.forward(x1, x2), layer.backward(x1, x2, g)
    np.testing.assert_allclose(output, theirs.numpy(), rtol=1e-4, atol=1e-5 * scale)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for a in (*grads, layer.grad_weights))


def test_one_sample_without_a_batch_as_in_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = nn.Bilinear(2, 4, 5, rng=rng)
    x1, x2 = rng.standard_normal(2), rng.standard_normal(4)
    theirs = torch.nn.functional.bilinear(
        *(torch.tensor(a) for a in (x1, x2, layer.weights, layer.bias))
    )
    np.testing.assert_allclose(layer.forward(x1, x2), theirs.numpy(), rtol=1e-13)
    grads = layer.backward(x1, x2, np.ones(5))
    assert [a.shape for a in (*grads, layer.grad_bias)] == [(2,), (4,), (5,)]


@pytest.mark.parametrize(
    ("shape1", "shape2"),
    [((3, 3), (3, 4)), ((3, 2), (3, 3)), ((3, 2), (2, 4)), ((3, 2), (3, 1, 4))],
)
def test_inputs_of_other_sizes_are_refused(shape1, shape2):
    with pytest.raises(ValueError, match=r"Bilinear: expected x1 \(..., 2\) and x2 \(..., 4\)"):
        nn.Bilinear(2, 4, 5).forward(np.zeros(shape1), np.zeros(shape2))


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="option of Bilinear.*dtype"):
        crosscheck.check("Bilinear", options={"dtype": "float32"})
    with pytest.raises(TypeError, match="device"):
        nn.Bilinear(2, 3, 4, device="cpu")
