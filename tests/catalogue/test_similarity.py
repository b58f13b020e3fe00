"""Cosine similarity: mistakes people make, either convention, optax, edges, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.differences import ledger
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))
SIZES = {"batch": 3, "features": 4, "length": 2}


# --- mistakes ---------------------------------------------------------------------------------


class ConstantLength(nn.CosineSimilarity):
    """The lengths as if they did not depend on the vectors."""

    def _direction(self, x, length):
        return np.zeros_like(x)


class OverTheLastAxis(nn.CosineSimilarity):
    def __init__(self, dim=1, eps=1e-8):
        super().__init__(-1, eps)


class NotNormalized(nn.CosineSimilarity):
    """The scalar product."""

    def forward(self, x1, x2):
        return (x1 * x2).sum(axis=self.dim)


class OneForBoth(nn.CosineSimilarity):
    """The gradient of the first input for the second one too."""

    def backward(self, x1, x2, grad_output):
        grad, _ = super().backward(x1, x2, grad_output)
        return grad, grad.copy()


class SignOfThePart(nn.CosineSimilarity):
    """The part along the vector added instead of taken away."""

    def _direction(self, x, length):
        return -super()._direction(x, length)


class EpsilonAdded(nn.CosineSimilarity):
    """ε added to each length, however long: too little to see but at a large ε."""

    def _unit(self, x, axis):
        length = np.sqrt(np.square(x).sum(axis=axis, keepdims=True))
        return x / (length + self.eps), length + self.eps, length


class BroadcastForgotten(nn.CosineSimilarity):
    """The gradient of a repeated input is not summed."""

    def backward(self, x1, x2, grad_output):
        x1, x2 = np.broadcast_arrays(x1, x2)
        return super().backward(x1.copy(), x2.copy(), grad_output)


MISTAKES = [
    (ConstantLength, {}, "backward-wrong", "grad_x1"),
    (ConstantLength, {}, "backward-wrong", "grad_x2"),
    (OverTheLastAxis, {}, "wrong-shape", "output"),
    (NotNormalized, {}, "forward-wrong", "output"),
    (OneForBoth, {}, "backward-wrong", "grad_x2"),
    (SignOfThePart, {}, "backward-wrong", "grad_x1"),
    (EpsilonAdded, {}, "forward-wrong", "output"),
    (BroadcastForgotten, {"broadcast": True}, "wrong-shape", "grad_x2"),
]


@pytest.mark.parametrize(
    ("wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[f"{wrong.__name__}-{quantity}" for wrong, _, _, quantity in MISTAKES],
)
def test_a_planted_mistake_is_found(wrong, options, code, quantity):
    pytest.importorskip("torch")
    report = quick("CosineSimilarity", wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


# --- where the frameworks differ --------------------------------------------------------------


@pytest.mark.parametrize("convention", ["torch", "jax"])
def test_either_gradient_at_a_short_vector_is_known(convention):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    report = quick("CosineSimilarity", options={"convention": convention}, sizes=SIZES)
    assert report.verdict is Verdict.AGREE, str(report)
    known = {(c.known, c.quantity, c.case.kind) for c in report.comparisons if c.known}
    assert known == {("cosine-of-short-vector", "grad_x1", "short")}


def test_a_third_gradient_at_a_short_vector_is_not_accepted():
    pytest.importorskip("torch")
    pytest.importorskip("jax")

    class Between(nn.CosineSimilarity):
        """Half of the part along a vector that is shorter than ε."""

        def _direction(self, x, length):
            return super()._direction(x, length) * np.where(length < self.eps, 0.5, 1)

    report = quick("CosineSimilarity", Between, options={}, sizes=SIZES)
    assert {finding.quantity for finding in report.findings} == {"grad_x1"}
    wrong = [c for finding in report.findings for c in finding.comparisons]
    assert {c.case.kind for c in wrong} == {"short"}


@pytest.mark.parametrize("side", [0, 1])
def test_a_short_vector_follows_the_convention(side):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    layer = nn.CosineSimilarity(eps=1e-2, convention=("torch", "jax")[side])
    grad, _ = layer.backward(np.array([[0.5e-2, 0.0]]), np.array([[3.0, 4.0]]), np.ones(1))
    expected = ledger()["cosine-of-short-vector"].measure()[side]
    np.testing.assert_allclose(grad, expected, rtol=1e-14)


def test_optax_cosine_similarity_takes_the_square_of_eps():
    pytest.importorskip("torch")
    optax = pytest.importorskip("optax")

    def cosine(x1, x2):
        return optax.cosine_similarity(x1, x2, epsilon=0.5**2, axis=1)

    options = {"eps": 0.5, "convention": "jax"}
    report = quick("CosineSimilarity", cosine, options=options, sizes=SIZES, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_the_ledger_says_what_optax_does_with_eps():
    pytest.importorskip("torch")
    optax = pytest.importorskip("optax")
    ours, theirs = ledger()["cosine-eps-of-the-square"].measure()
    x1, x2 = np.array([[0.6, 0.0]], np.float32), np.array([[3.0, 4.0]], np.float32)
    found = optax.cosine_similarity(x1, x2, epsilon=0.5)
    np.testing.assert_allclose(found, theirs, rtol=1e-6)
    np.testing.assert_allclose(nn.CosineSimilarity(eps=0.5).forward(x1, x2), ours, rtol=1e-6)


# --- edges and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_finite_and_silent_wherever_pytorch_is_finite(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    g = rng.standard_normal(3).astype(dtype)
    compared = 0
    for one in (0.0, 1e-12, 1e-8, 1.0, 1e4, 1e15, 1e18):
        for two in (0.0, 1e-12, 1.0, 1e4, 1e18):
            x1, x2 = ((factor * rng.standard_normal((3, 4))).astype(dtype) for factor in (one, two))
            leaves = [torch.tensor(x, requires_grad=True) for x in (x1, x2)]
            theirs = torch.nn.CosineSimilarity()(*leaves)
            theirs.backward(torch.tensor(g))
            layer = nn.CosineSimilarity()
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                mine = layer.forward(x1, x2), *layer.backward(x1, x2, g)
            for our, their in zip(mine, (theirs.detach(), *(x.grad for x in leaves)), strict=True):
                assert our.dtype == dtype
                if np.isfinite(their.numpy()).all():
                    compared += 1
                    assert np.isfinite(our).all(), (one, two)
    assert compared >= 100


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.CosineSimilarity(eps=-1.0), "CosineSimilarity: eps=-1.0"),
        (lambda: nn.CosineSimilarity(convention="both"), "CosineSimilarity: convention='both'"),
        (
            lambda: nn.CosineSimilarity(2).forward(np.ones((2, 3)), np.ones((2, 3))),
            "dim=2, but the inputs have 2 axes",
        ),
        (
            lambda: nn.CosineSimilarity().forward(np.ones((2, 3)), np.ones((2, 4))),
            r"x1 has shape \(2, 3\), x2 \(2, 4\)",
        ),
    ],
)
def test_a_wrong_option_or_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="option of CosineSimilarity.*axis"):
        crosscheck.check("CosineSimilarity", options={"axis": 1})
    with pytest.raises(TypeError, match="axis"):
        nn.CosineSimilarity(axis=1)
