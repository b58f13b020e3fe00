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
