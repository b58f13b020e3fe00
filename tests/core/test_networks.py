"""Layers in a chain are checked as one layer; the first wrong layer is named."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import UsageError, Verdict

CHAIN = ("Linear", "Sigmoid", "Linear", "Sigmoid", ("MSELoss", {"reduction": "sum"}))
RIGHT = [nn.Linear, nn.Sigmoid, nn.Linear, nn.Sigmoid, nn.MSELoss]


def test_sizes_flow_from_layer_to_layer():
    network = crosscheck.network(*CHAIN)
    assert network.axes() == ("batch", "in_features", "out_features", "out_features_2")
    problem = network.problem(sizes=dict(zip(network.axes(), (2, 4, 5, 3), strict=True)))
    shapes = problem.shapes()
    assert shapes["0.weights"] == (4, 5) and shapes["2.weights"] == (5, 3)
    assert shapes["target"] == (2, 3) and shapes["output"] == ()


def test_a_right_network_agrees():
    report = crosscheck.check(crosscheck.network(*CHAIN), [_sum(c) for c in RIGHT])
    assert report.verdict is Verdict.AGREE, str(report)
    assert {c.quantity for c in report.comparisons} >= {"grad_0.weights", "grad_2.bias", "grad_x"}


def _sum(cls):
    if cls is nn.MSELoss:
        return type(
            "SumOfSquares",
            (nn.MSELoss,),
            {"__init__": lambda self: nn.MSELoss.__init__(self, "sum")},
        )
    return cls


class WrongSigmoid(nn.Sigmoid):
    def backward(self, x, grad_output):
        return grad_output * self.forward(x)


class WrongForward(nn.Sigmoid):
    def forward(self, x):
        return super().forward(x) * 1.01


class WrongBias(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = self.grad_bias / 3
        return grad


@pytest.mark.parametrize(
    ("place", "wrong"),
    [(1, WrongSigmoid), (3, WrongSigmoid), (1, WrongForward), (0, WrongBias), (2, WrongBias)],
)
def test_the_first_wrong_layer_is_named(place, wrong):
    layers = [_sum(c) for c in RIGHT]
    layers[place] = wrong
    report = crosscheck.check(crosscheck.network(*CHAIN), layers)
    assert report.verdict is Verdict.DISAGREE
    assert report.findings[0].code == "first-wrong-layer"
    assert f"layer {place} ({wrong.__name__})" in report.findings[0].message


def test_networks_that_cannot_be_built():
    with pytest.raises(UsageError, match="at least one"):
        crosscheck.network()
    with pytest.raises(UsageError, match="did you mean Linear"):
        crosscheck.network("Liner")
    with pytest.raises(UsageError, match="2 layers, 1 were given"):
        crosscheck.check(crosscheck.network("Linear", "Sigmoid"), [nn.Linear])


def test_a_network_written_as_one_class():
    class Two:
        def __init__(self):
            rng = np.random.default_rng(0)
            self.layers = [nn.Linear(2, 3, rng=rng), nn.Sigmoid()]

        def forward(self, x):
            return self.layers[1].forward(self.layers[0].forward(x))

        def backward(self, x, grad_output):
            hidden = self.layers[0].forward(x)
            return self.layers[0].backward(x, self.layers[1].backward(hidden, grad_output))

    network = crosscheck.network("Linear", "Sigmoid")
    sizes = {"batch": 4, "in_features": 2, "out_features": 3}
    assert crosscheck.check(network, Two, options={}, sizes=sizes).verdict is Verdict.AGREE
