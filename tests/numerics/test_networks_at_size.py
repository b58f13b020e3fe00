"""Whole networks, with a loss: the first wrong layer by name, a lone element among many."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from benchmarks.layers import SUBJECTS
from benchmarks.lone_element import run
from crosscheck import Verdict

CHAIN = ("Linear", "ReLU", "Linear", "CrossEntropyLoss")
RIGHT = (nn.Linear, nn.ReLU, nn.Linear, nn.CrossEntropyLoss)
SIZES = {"batch": 6, "in_features": 20, "out_features": 30, "out_features_2": 7}


class HalfBias(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = self.grad_bias * 0.5
        return grad


class LeakyBackward(nn.ReLU):
    def backward(self, x, grad_output):
        return grad_output * np.where(x > 0, 1.0, 0.01)


class NotDividedByBatch(nn.CrossEntropyLoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) * len(prediction)


def check(layers, **keywords):
    return crosscheck.check(
        crosscheck.network(*CHAIN), list(layers), options={}, sizes=SIZES, dtypes=("float64",),
        **keywords,
    )  # fmt: skip


def test_a_right_network_with_a_loss_agrees():
    report = check(RIGHT, against=("numeric",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("against", [("numeric",), ("torch", "numeric")])
@pytest.mark.parametrize(
    ("place", "wrong"), [(0, HalfBias), (1, LeakyBackward), (2, HalfBias), (3, NotDividedByBatch)]
)
def test_the_first_wrong_layer_is_named(place, wrong, against):
    layers = [*RIGHT]
    layers[place] = wrong
    report = check(layers, against=against)
    assert report.findings[0].code == "first-wrong-layer"
    assert f"layer {place} ({wrong.__name__})" in report.findings[0].message


@pytest.mark.parametrize("name", ["network, tanh, squared error", "LayerNorm", "RNNCell"])
def test_a_lone_element_among_40_000(name):
    subject = next(s for s in SUBJECTS if s.name == name)
    found = run(subject, 2, seed=1)
    assert found["found"] and found["located"] and not found["false alarm"]
    assert found["evaluations of the check"] <= 60 and found["evaluations of the search"] <= 25


def test_a_lone_element_among_a_million_parameters_of_a_network():
    found = run(next(s for s in SUBJECTS if s.name.startswith("network, tanh")), 3, seed=3)
    assert found["elements"] > 990_000
    assert found["found"] and found["located"] and not found["false alarm"]
    assert found["evaluations of the check"] <= 60 and found["evaluations of the search"] <= 25
