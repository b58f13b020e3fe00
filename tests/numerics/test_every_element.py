"""The whole numeric gradient; samples moved together only where they are proved independent."""

import numpy as np
import pytest
from closed_forms import KINKED, SMOOTH, Counted, cotangent, point

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.derivative import every_element, treats_samples_alone

ALL = {**SMOOTH, **KINKED}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("stacked", [False, True])
def test_it_is_the_gradient(name, stacked):
    function, gradient = ALL[name]
    rng = np.random.default_rng(0)
    values = point(rng, n=7)
    upstream = cotangent(rng, function(**values))
    exact = gradient(**values, c=upstream["output"])
    forward = Counted(function)
    found, error = every_element(forward, values, "x", upstream, stacked=stacked)
    assert np.isfinite(error).all() and (abs(found - exact["x"]) <= error).all()
    per_sample = values["x"].size // (len(values["x"]) if stacked else 1)
    # Where the levels do not settle they are taken again, below the kink.
    assert 1 + 6 * per_sample <= forward.calls <= 1 + 12 * per_sample


def independent(function, values, names=("x",)):
    rng = np.random.default_rng(0)
    forward = Counted(function)
    found = treats_samples_alone(forward, values, names, ("output",), rng)
    assert forward.calls <= 1 + 2 * int(np.ceil(np.log2(len(values["x"]))))
    return found


def test_independence_is_proved():
    values = {"x": np.random.default_rng(1).standard_normal((9, 4))}
    assert independent(lambda x: np.tanh(x).sum(axis=1), values)
    assert not independent(lambda x: x - x.mean(axis=0), values)


@pytest.mark.parametrize("pair", [(0, 8), (3, 4), (6, 2)])
def test_one_sample_that_looks_at_one_other_is_noticed(pair):
    """Every pair of samples is told apart by some bit of their numbers."""

    def coupled(x):
        y = x.copy()
        y[pair[0]] = y[pair[0]] + 1e-9 * x[pair[1]]
        return y

    assert not independent(coupled, {"x": np.random.default_rng(1).standard_normal((9, 4))})


def test_samples_that_are_declared_first_but_are_not_alone_are_refused():
    values = {"x": np.ones((3, 4))}
    with pytest.raises(ValueError, match="does not count samples first"):
        every_element(
            Counted(lambda x: x.T), values, "x", {"output": np.ones((4, 3))}, stacked=True
        )


@pytest.mark.parametrize("layer", ["Linear", "Softmax", "ReLU", "CrossEntropyLoss"])
def test_right_layers_agree_element_by_element(layer):
    report = crosscheck.check(
        layer, options={}, against=("numeric",), dtypes=("float64",), every_element=True
    )
    assert report.verdict is Verdict.AGREE, str(report)


def test_a_check_of_every_element_moves_all_samples_at_once():
    """The input costs 6 evaluations an element of one sample; BatchNorm's samples are not alone."""

    def cost(layer, batch):
        calls = []

        class Counting(layer):
            def forward(self, x):
                calls.append(1)
                return super().forward(x)

        spec = crosscheck.Layer(
            "Any", inputs={"x": "batch features"}, outputs={"output": "batch features"},
            constructor=("features",) if layer is nn.BatchNorm1d else (),
        )  # fmt: skip
        crosscheck.check(
            spec, Counting, against=("numeric",), dtypes=("float64",), options={},
            sizes={"batch": batch, "features": 3}, every_element=True,
        )  # fmt: skip
        return len(calls)

    assert cost(nn.Sigmoid, 64) < cost(nn.Sigmoid, 2) + 200
    assert cost(nn.BatchNorm1d, 16) > 3 * cost(nn.BatchNorm1d, 4)


def test_a_wrong_element_is_shown_in_its_place():
    class Wrong(nn.Linear):
        def backward(self, x, grad_output):
            grad = super().backward(x, grad_output).copy()
            grad[1, 2] *= 1.001
            return grad

    report = crosscheck.check(
        "Linear", Wrong, options={}, against=("numeric",), dtypes=("float64",), every_element=True,
        sizes={"batch": 3, "in_features": 4, "out_features": 2},
    )  # fmt: skip
    (finding,) = report.findings
    assert finding.quantity == "grad_x" and "one element, [1, 2]" in finding.explanation
