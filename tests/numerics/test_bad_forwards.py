"""Forwards that cannot be differentiated: each is called what it is, down to the report."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.derivative import Status, differentiate
from crosscheck.domains import custom

RNG = np.random.default_rng


def probe(function, values=None, names=("x",)):
    """The only probe of a function at a drawn point."""
    values = values or {"x": RNG(0).standard_normal((3, 4)), "w": RNG(1).standard_normal((3, 4))}
    shape = np.shape(function(**{k: a.copy() for k, a in values.items()}))
    upstream = {"output": RNG(2).uniform(0.5, 1.5, shape)}

    def forward(arrays):
        return {"output": np.asarray(function(**arrays))}

    (found,) = differentiate(forward, values, names, upstream, RNG(3))
    return found


def grow(x, w):
    x *= 1.5
    return x + w


def grow_weights(x, w):
    w += 1e-12
    return x + w


def noisy(x, w):
    return x * w * RNG().uniform(0.99, 1.01)


def overflows(x, w):
    return np.exp(1e4 * np.abs(x)) + w


def overflows_nearby(x, w):
    big = x.max() > X_MAX
    return x * (np.inf if big else 1.0) + w


def single(x, w):
    return (x.astype(np.float32) * w.astype(np.float32)).astype(np.float64)


def single_inside(x, w):
    return (x.astype(np.float32) @ w.T.astype(np.float32)) + 1e-9 * w[:, :1]


X_MAX = float(RNG(0).standard_normal((3, 4)).max())


@pytest.mark.parametrize(
    ("function", "status", "says"),
    [
        (grow, Status.MUTATES, "changes its argument x"),
        (grow_weights, Status.MUTATES, "changes its argument w"),
        (noisy, Status.NOISY, "another output at every call"),
        (overflows, Status.NON_FINITE, "infinite at the point itself"),
    ],
)
def test_a_forward_that_cannot_be_differentiated_says_why(function, status, says):
    with np.errstate(all="ignore"):
        found = probe(function)
    assert found.status is status and says in (found.reason or "")
    assert np.isnan(found.value) and found.error == np.inf


def test_overflow_next_to_the_point():
    """Finite at the point, infinite wherever the largest element grows."""
    with np.errstate(all="ignore"):
        found = probe(overflows_nearby)
    assert found.status is Status.NON_FINITE
    assert "overflows next to the point" in (found.reason or "")


def test_whole_numbers_have_no_derivative():
    found = probe(lambda x, w: x * w, {"x": np.arange(6), "w": RNG(0).standard_normal(6)})
    assert found.status is Status.INTEGER and "whole numbers" in (found.reason or "")


def test_a_step_below_the_resolution_of_the_input():
    found = probe(lambda x: x * 1.0, {"x": np.array([1e300, 2.0, 3.0])})
    assert found.status is Status.NO_STEP and "below their resolution" in (found.reason or "")


@pytest.mark.parametrize("function", [single, single_inside])
def test_a_forward_in_float32_is_told_from_a_kink(function):
    values = {"x": RNG(0).standard_normal((3, 4)), "w": RNG(1).standard_normal((3, 4))}
    values = {k: a.astype(np.float32).astype(np.float64) for k, a in values.items()}
    found = probe(function, values)
    assert found.status is Status.LOW_PRECISION and found.reason is None
    wide = values["x"].astype(np.float64)
    upstream = RNG(2).uniform(0.5, 1.5, function(**values).shape)
    gradient = upstream * values["w"] if function is single else upstream @ values["w"]
    truth = float(np.sum(found.direction["x"] * gradient))
    assert wide.shape == gradient.shape and abs(found.value - truth) <= found.error
    assert found.error < 1e-2 * abs(found.scale)


def test_a_saturated_forward_is_not_taken_for_float32():
    found = probe(lambda x, w: np.tanh(1e3 * x * w))
    assert found.status is not Status.LOW_PRECISION


@pytest.mark.parametrize(
    ("layer", "seed"),
    [
        ("Tanhshrink", 1),  # zeros, around which x - tanh(x) is x^3/3
        ("TripletMarginLoss", 4),  # a difference of lengths of 1e4
    ],
)
def test_what_stands_still_in_float64_is_not_taken_for_float32(layer, seed):
    report = crosscheck.check(layer, options={}, seed=seed, against=("numeric",))
    assert not report.notes


def test_a_sum_in_another_order_is_no_randomness():
    """Threads may add up in another order from call to call: that is rounding, not chance."""
    order = RNG(5)

    def shuffled(x, w):
        products = (x * w).ravel()
        return products[order.permutation(products.size)].sum()

    assert probe(shuffled).status is Status.SMOOTH


# --- as a user sees it -------------------------------------------------------------------------


class RandomForward(nn.Sigmoid):
    def forward(self, x):
        return super().forward(x) * RNG().uniform(0.9, 1.1, x.shape)


class Single(nn.Sigmoid):
    def forward(self, x):
        return super().forward(x.astype(np.float32)).astype(x.dtype)


class Mutates(nn.Linear):
    def forward(self, x):
        output = super().forward(x)
        self.weights *= 1.001
        return output


class Overflows(nn.Sigmoid):
    def forward(self, x):
        return np.exp(900 * x) / (1 + np.exp(900 * x))

    def backward(self, x, grad_output):
        y = self.forward(x)
        return 900 * grad_output * y * (1 - y)


class KinkEverywhere(nn.Sigmoid):
    """|x - y|, y the nearest float32: at every drawn point it sits on the kink."""

    def forward(self, x):
        return super().forward(x) + 0.3 * np.abs(x - x.astype(np.float32).astype(np.float64))


def codes(report):
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("against", [("numeric",), ("torch", "numeric")])
def test_a_random_forward_is_a_finding_of_its_own_and_no_wrong_gradient(against):
    report = crosscheck.check("Sigmoid", RandomForward, against=against)
    assert report.verdict is Verdict.DISAGREE
    assert codes(report) == {"random-forward", "contract"}
    assert "The forward of RandomForward is random" in str(report)


def test_a_float32_forward_is_said_so_and_its_gradient_is_not_blamed():
    report = crosscheck.check("Sigmoid", Single, against=("torch", "numeric"))
    assert codes(report) == {"low-precision"}
    alone = crosscheck.check("Sigmoid", Single, against=("numeric",))
    assert alone.verdict is not Verdict.DISAGREE and not alone.findings
    assert any("float32 whatever it is given" in note for note in alone.notes)


def test_a_float32_forward_that_is_wrong_is_still_wrong():
    class Wrong(Single):
        def forward(self, x):
            return super().forward(x) * 1.01

    assert "forward-wrong" in codes(
        crosscheck.check("Sigmoid", Wrong, against=("torch", "numeric"))
    )


def test_a_forward_that_changes_its_weights():
    report = crosscheck.check("Linear", Mutates, options={}, against=("numeric",))
    assert "contract" in codes(report) and "changes its parameter weights" in str(report)
    assert any("changes its argument weights" in reason for reason in report.unchecked())


def test_overflow_is_unchecked_with_its_reason():
    report = crosscheck.check("Sigmoid", Overflows, against=("numeric",))
    assert report.verdict is Verdict.UNCHECKED and not report.findings
    assert any("NaN or infinite" in reason for reason in report.unchecked())


def test_a_layer_that_is_kinked_everywhere_is_unchecked_with_the_reason():
    report = crosscheck.check("Sigmoid", KinkEverywhere, against=("numeric",), dtypes=("float64",))
    assert report.verdict is Verdict.UNCHECKED
    assert all("kink" in reason for reason in report.unchecked())


def test_a_kink_is_drawn_away_from():
    """The first drawn point lies on a kink, others do not: one is drawn, and the layer is checked."""
    kink = []

    class Bent(nn.Sigmoid):
        def forward(self, x):
            kink.append(x.flat[0]) if not kink else None
            return super().forward(x) + 0.3 * np.abs(x - kink[0])

        def backward(self, x, grad_output):
            return super().backward(x, grad_output) + 0.3 * grad_output * np.sign(x - kink[0])

    report = crosscheck.check(
        "Sigmoid",
        Bent,
        against=("numeric",),
        dtypes=("float64",),
        sizes={"batch": 3, "features": 4},
    )
    assert report.verdict is Verdict.AGREE, str(report)
    (first, *_) = report.comparisons
    assert first.case.values["x"].flat[0] != kink[0]


def test_integer_inputs_that_are_declared_differentiable():
    spec = crosscheck.Layer(
        "Double",
        inputs={"x": crosscheck.Tensor("n", custom("n", lambda r, s, p: r.integers(0, 9, s)))},
        outputs={"output": "n"},
    )

    class Double:
        def forward(self, x):
            return x * 2.0

        def backward(self, x, grad_output):
            return 2.0 * grad_output

    report = crosscheck.check(spec, Double, against=("numeric",), dtypes=("float64",))
    assert report.verdict is Verdict.UNCHECKED
    assert any("whole numbers have no derivative" in reason for reason in report.unchecked())
