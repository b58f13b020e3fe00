"""Where PyTorch and JAX differ: either is right, with one of them alone nobody knows, a mistake is one."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict


class Follows(nn.LeakyReLU):
    pass


class AtZeroOnly(nn.LeakyReLU):
    """Wrong at the kink: neither framework has this."""

    def backward(self, x, grad_output):
        return np.where(x == 0, 7 * grad_output, super().backward(x, grad_output))


def check(implementation, *against):
    for name in against:
        if name != "numeric":
            pytest.importorskip(name)
    return crosscheck.check(
        "LeakyReLU", implementation, options={}, dtypes=("float64",), against=against
    )


@pytest.mark.parametrize("implementation", [None, Follows])
def test_with_both_frameworks_it_is_known(implementation):
    report = check(implementation, "torch", "jax", "numeric")
    assert report.verdict is Verdict.AGREE
    assert any(c.known for c in report.comparisons)


@pytest.mark.parametrize("implementation", [None, Follows])
def test_with_the_other_framework_alone_it_is_unchecked_with_the_reason(implementation):
    report = check(implementation, "jax", "numeric")
    assert report.verdict is Verdict.UNCHECKED, str(report)
    assert any("only jax is there" in reason for reason in report.unchecked())
    assert check(implementation, "torch", "numeric").verdict is Verdict.AGREE


@pytest.mark.parametrize("frameworks", [("torch", "jax"), ("torch",), ("jax",)])
def test_what_neither_framework_has_is_a_mistake(frameworks):
    report = check(AtZeroOnly, *frameworks, "numeric")
    assert report.verdict is Verdict.DISAGREE, str(report)


@pytest.mark.parametrize("witnesses", [("torch", "numeric"), ("jax", "numeric"), ("numeric",)])
@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("Embedding", {"padding_idx": 1}),
        ("EmbeddingBag", {"scale_grad_by_freq": True, "mode": "sum"}),
        ("GaussianNLLLoss", {"eps": 0.75}),
        ("CTCLoss", {"convention": "torch"}),
    ],
)
def test_a_gradient_that_is_by_convention_no_derivative_is_no_mistake(layer, options, witnesses):
    """Whoever is there: a right layer is never called wrong."""
    for name in witnesses:
        if name != "numeric":
            pytest.importorskip(name)

    class Mine(getattr(nn, layer)):
        pass

    for implementation in (None, Mine):
        report = crosscheck.check(
            layer, implementation, options=options, dtypes=("float64",), against=witnesses, seed=1
        )
        assert report.verdict is Verdict.UNCHECKED, str(report)
        assert all("is there" in reason for reason in report.unchecked())


@pytest.mark.parametrize("witnesses", [("torch", "numeric"), ("numeric",)])
def test_a_gradient_that_nobody_has_is_a_mistake_there_too(witnesses):
    if "torch" in witnesses:
        pytest.importorskip("torch")

    class Doubled(nn.Embedding):
        def backward(self, x, grad_output):
            found = super().backward(x, grad_output)
            self.grad_weights = 1.01 * self.grad_weights
            return found

    report = crosscheck.check(
        "Embedding", Doubled, options={"padding_idx": 1}, dtypes=("float64",), against=witnesses
    )
    assert report.verdict is Verdict.DISAGREE
    assert {f.quantity for f in report.findings} == {"grad_weights"}
