"""Mistakes planted in correct layers: each is found, in the right quantity, and explained."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict

#: Who is wrong is told by comparing with somebody: without a framework there is nobody.
pytestmark = pytest.mark.usefixtures("a_framework")


class MeanBias(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = grad_output.mean(axis=0)
        return grad


class BiasNotSummed(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = grad_output.copy()
        return grad


class BiasWithExtraAxis(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = grad_output.sum(axis=0, keepdims=True)
        return grad


class WeightsTransposed(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights.T.copy()
        return grad


class UsesGradWeights(nn.Linear):
    """dX is computed with the gradient of the weights instead of the weights."""

    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        return grad_output @ self.grad_weights.T


class DividedByBatchToo(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights / len(x)
        return grad


class Accumulates(nn.Linear):
    def backward(self, x, grad_output):
        before = self.grad_weights
        grad = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights + before
        return grad


class Clips(nn.Linear):
    def backward(self, x, grad_output):
        return np.clip(super().backward(x, grad_output), -0.5, 0.5)


class SignLost(nn.Sigmoid):
    def forward(self, x):
        return 1 / (1 + np.exp(x))


class DerivativeOfOutput(nn.Sigmoid):
    """The derivative is taken at the output instead of at the input."""

    def backward(self, x, grad_output):
        return super().backward(self.forward(x), grad_output)


class IgnoresUpstream(nn.Sigmoid):
    def backward(self, x, grad_output):
        return super().backward(x, np.ones_like(grad_output))


class MutatesUpstream(nn.Sigmoid):
    def backward(self, x, grad_output):
        grad_output *= super().backward(x, np.ones_like(grad_output))
        return grad_output.copy()


class MutatesInput(nn.Sigmoid):
    def forward(self, x):
        y = super().forward(x)
        x[...] = y
        return y


class Float32Buffer(nn.Sigmoid):
    def backward(self, x, grad_output):
        grad = np.zeros(x.shape, np.float32)
        grad[...] = super().backward(x, grad_output)
        return grad


class RandomForward(nn.Sigmoid):
    def forward(self, x):
        return super().forward(x) + 1e-3 * np.random.default_rng().standard_normal(x.shape)


class Overflows(nn.Sigmoid):
    """(1 - exp(-x)) / (1 - exp(-2x)): right, but Inf/Inf at large negative x."""

    def forward(self, x):
        return np.exp(x) / (1 + np.exp(x))


class NoFactorTwo(nn.MSELoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) / 2


class OnlyBatch(nn.MSELoss):
    """Divides by the batch alone, while the forward averages over all elements."""

    def backward(self, prediction, target, grad_output=1.0):
        grad = super().backward(prediction, target, grad_output)
        return grad * prediction.shape[1] if self.reduction == "mean" else grad


class SignFlipped(nn.MSELoss):
    def backward(self, prediction, target, grad_output=1.0):
        return -super().backward(prediction, target, grad_output)


class TargetBroadcast(nn.MSELoss):
    """prediction (N, C) minus target (C, N, 1)-like: the loss of every pair."""

    def forward(self, prediction, target):
        return self.reduce(np.square(prediction[:, None] - target[None]))


class ReturnsNothing(nn.Sigmoid):
    def backward(self, x, grad_output):
        return None


class Raises(nn.Sigmoid):
    def backward(self, x, grad_output):
        return grad_output(1 - x)


MISTAKES = [
    ("Linear", MeanBias, {}, "backward-wrong", "grad_bias", "divided-by-size"),
    ("Linear", BiasNotSummed, {}, "wrong-shape", "grad_bias", "not-summed-over-batch"),
    ("Linear", BiasWithExtraAxis, {}, "wrong-shape", "grad_bias", "extra-axis"),
    ("Linear", WeightsTransposed, {}, "wrong-shape", "grad_weights", "transposed"),
    ("Linear", UsesGradWeights, {}, "backward-wrong", "grad_x", "gradient-for-parameter"),
    ("Linear", DividedByBatchToo, {}, "backward-wrong", "grad_weights", "divided-by-size"),
    (
        "Linear",
        Accumulates,
        {},
        "convention-mismatch",
        "contract: second call gives the same",
        "accumulates",
    ),
    ("Linear", Clips, {}, "backward-wrong", "grad_x", "clipped"),
    ("Sigmoid", SignLost, {}, "forward-wrong", "output", "one-minus"),
    ("Sigmoid", DerivativeOfOutput, {}, "backward-wrong", "grad_x", "derivative-at-output"),
    ("Sigmoid", IgnoresUpstream, {}, "backward-wrong", "grad_x", "upstream-ignored"),
    (
        "Sigmoid",
        MutatesUpstream,
        {},
        "contract",
        "contract: upstream unchanged",
        "mutates-upstream",
    ),
    ("Sigmoid", MutatesInput, {}, "contract", "contract: inputs unchanged", "mutates-input"),
    ("Sigmoid", Float32Buffer, {}, "wrong-dtype", "grad_x", "float32-buffer"),
    ("Sigmoid", RandomForward, {}, "random-forward", "output", "random"),
    ("Sigmoid", Overflows, {}, "non-finite", "output", "overflow"),
    ("Sigmoid", ReturnsNothing, {}, "missing", "grad_x", "never-given"),
    ("Sigmoid", Raises, {}, "raised", "output", "missing-star"),
    ("MSELoss", NoFactorTwo, {}, "backward-wrong", "grad_prediction", "constant-factor"),
    ("MSELoss", OnlyBatch, {}, "backward-wrong", "grad_prediction", "multiplied-by-size"),
    ("MSELoss", SignFlipped, {}, "backward-wrong", "grad_prediction", "sign-flipped"),
    ("MSELoss", TargetBroadcast, {"reduction": "sum"}, "forward-wrong", "output", "every-pair"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "options", "code", "quantity", "cause"),
    MISTAKES,
    ids=[m[1].__name__ for m in MISTAKES],
)
def test_a_planted_mistake_is_found_and_named(layer, wrong, options, code, quantity, cause):
    report = crosscheck.check(layer, wrong, options=options)
    assert report.verdict is Verdict.DISAGREE
    found = {(finding.code, finding.quantity): finding for finding in report.findings}
    assert (code, quantity) in found, str(report)
    assert found[code, quantity].cause == cause, str(report)
    with pytest.raises(crosscheck.Disagreement, match=code):
        report.require_agreement()


def test_a_mistake_is_found_at_batch_1_and_above():
    for batch in (1, 5):
        report = crosscheck.check("Linear", BiasNotSummed, options={}, sizes={"batch": batch})
        assert [f.cause for f in report.findings] == ["not-summed-over-batch"]
        assert "not summed over the batch" in str(report)


def test_only_the_wrong_quantity_is_blamed():
    report = crosscheck.check("Linear", MeanBias, options={})
    assert {finding.quantity for finding in report.findings} == {"grad_bias"}


def test_a_factor_is_named_by_its_axis():
    report = crosscheck.check("Linear", MeanBias, options={})
    assert "1/batch" in report.findings[0].explanation
    report = crosscheck.check("MSELoss", OnlyBatch, options={})
    assert "features" in report.findings[0].explanation


@pytest.mark.parametrize("against", [("torch",), ("jax",), ("numeric",)])
def test_each_witness_alone_finds_a_wrong_backward(against):
    report = crosscheck.check("Linear", MeanBias, options={}, against=against)
    assert report.verdict is Verdict.DISAGREE
    assert {finding.quantity for finding in report.findings} == {"grad_bias"}


def test_numeric_alone_cannot_see_a_wrong_forward_but_a_framework_can():
    class Doubled(nn.Sigmoid):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, x, grad_output):
            return 2 * nn.Sigmoid().backward(x, grad_output)

    assert crosscheck.check("Sigmoid", Doubled, against=("numeric",)).verdict is Verdict.AGREE
    report = crosscheck.check("Sigmoid", Doubled)
    codes = {finding.code for finding in report.findings}
    assert codes == {"forward-wrong", "forward-wrong-backward-consistent"}


def test_mistakes_that_cancel_at_equal_sizes_are_found():
    """Divided by C instead of N: right on every square input."""

    class Swapped(nn.Linear):
        def backward(self, x, grad_output):
            grad = super().backward(x, grad_output)
            self.grad_weights = self.grad_weights * len(x) / x.shape[1]
            return grad

    report = crosscheck.check("Linear", Swapped, options={})
    assert report.verdict is Verdict.DISAGREE
    assert "batch" in report.findings[0].explanation


def test_inverse_forward_is_not_blamed_on_the_backward():
    report = crosscheck.check("Sigmoid", SignLost)
    assert "forward-wrong" in {finding.code for finding in report.findings}
