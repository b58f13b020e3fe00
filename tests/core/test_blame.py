"""Who is blamed: the sentences of `crosscheck.blame` where the obvious reading would be wrong."""

import pytest

import crosscheck
import reference_nn as nn


class TrainsThePadding(nn.Embedding):
    """Its gradient is the derivative of its forward; PyTorch's leaves the padding's row out."""

    def backward(self, x, grad_output):
        padding, self.padding_idx = self.padding_idx, None
        super().backward(x, grad_output)
        self.padding_idx = padding


class OneElement(nn.Linear):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights.copy()
        self.grad_weights[1, 2] *= 1 + 1e-5
        return grad_x


def test_a_right_forward_is_not_called_wrong():
    pytest.importorskip("torch")
    report = crosscheck.check(
        "Embedding",
        TrainsThePadding,
        options={"padding_idx": 1},
        against=("torch", "numeric"),
        dtypes=("float64",),
        extra=4,
    )
    codes = {finding.code: finding for finding in report.findings}
    assert set(codes) == {"convention", "gradient-convention"}
    assert "padding_idx=None" in codes["convention"].message
    assert "although the forward agrees" in codes["gradient-convention"].message


def test_without_a_framework_the_report_says_which_element_is_wrong():
    report = crosscheck.check(
        "Linear",
        OneElement,
        options={},
        against=("numeric",),
        dtypes=("float64",),
        sizes={"in_features": 30, "out_features": 40},
    )
    assert {f.quantity for f in report.findings} == {"grad_weights"}
    assert "one element, [1, 2]" in " ".join(str(report).split())


def test_what_one_case_is_too_coarse_to_say_is_no_finding_of_its_own():
    """In float32 the numeric derivative cannot see this error; in float64 it can."""
    pytest.importorskip("torch")
    sizes = {"in_features": 30, "out_features": 40}
    report = crosscheck.check(
        "Linear", OneElement, options={}, against=("torch", "numeric"), sizes=sizes
    )
    (finding,) = report.findings
    assert (finding.code, finding.quantity) == ("backward-wrong", "grad_weights")
    assert {c.case.dtype for c in finding.comparisons} == {"float64", "float32"}
    assert finding.cause is None and "one element, [1, 2]" in finding.explanation
