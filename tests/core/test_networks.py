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


SMALL = {"batch": 4, "in_features": 2, "out_features": 3}


def test_buffers_of_a_layer_and_what_is_known_of_it_hold_in_a_network_too():
    """Running statistics, a mask drawn by the layer's own p, and the ledger's word on the variance."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    norm = ("BatchNorm1d", {"space": 0})
    network = crosscheck.network("Linear", norm, "Dropout")
    report = crosscheck.check(network, sizes=SMALL, dtypes=("float64",))
    assert report.verdict is Verdict.AGREE, str(report)
    quantities = {c.quantity for c in report.comparisons}
    assert quantities >= {"1.running_mean", "1.running_var", "1.num_batches_tracked", "2.mask"}
    known = {(c.known, c.quantity) for c in report.comparisons if c.known}
    assert known == {("batch-norm1d-running-variance", "1.running_var")}

    class Unbiased(nn.BatchNorm1d):
        def _move(self, mean, variance, factor):
            super()._move(mean, variance * 1.1, factor)

    class Flat(nn.BatchNorm1d):
        def _move(self, mean, variance, factor):
            super()._move(mean * 0, variance, factor)

    for wrong, quantity in ((Unbiased, "1.running_var"), (Flat, "1.running_mean")):
        report = crosscheck.check(
            network, [nn.Linear, wrong, nn.Dropout], sizes=SMALL, dtypes=("float64",)
        )
        assert quantity in {f.quantity for f in report.findings}, str(report)


def test_layers_that_do_not_fit_each_other_are_refused_with_a_reason():
    network = crosscheck.network("Linear", "BatchNorm1d")
    with pytest.raises(UsageError, match=r"layer 1, BatchNorm1d, takes 3 axes .*gives 2"):
        crosscheck.check(network)
    network = crosscheck.network("MaxPool2d", "Linear")
    with pytest.raises(UsageError, match=r"layer 1, Linear, takes 2 axes .*gives 4"):
        crosscheck.check(network)


def test_sizes_at_which_nothing_is_left_of_a_convolution_are_drawn_anew():
    network = crosscheck.network("Conv2d", "MaxPool2d", "Flatten")
    for seed in range(8):
        cases = [*crosscheck.sampling.cases(network, seed=seed, dtypes=("float64",))]
        assert all(min(case.problem.shapes()["output"]) > 0 for case in cases)


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
