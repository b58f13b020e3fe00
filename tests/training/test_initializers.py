"""Initialisers, by their distribution and bounds. False alarms: 1e-6 a check, at a fixed seed."""

import importlib.util
import math

import numpy as np
import pytest

import reference_nn as nn
from crosscheck import UsageError, Verdict
from crosscheck.training.initialization import INITIALIZERS, SHAPE, check_initializer


@pytest.mark.parametrize("name", INITIALIZERS)
def test_all_draw_from_the_distribution(name):
    fits = check_initializer(name)
    there = {n for n in ("torch", "jax") if importlib.util.find_spec(n)}
    there -= {"jax"} if INITIALIZERS[name].jax is None else set()
    assert {fit.witness for fit in fits} == {"reference_nn", *there}
    assert all(fit.verdict is Verdict.AGREE for fit in fits), [str(fit) for fit in fits]


FAN_IN, FAN_OUT = SHAPE[1] * 15, SHAPE[0] * 15

WRONG = [
    ("xavier_uniform_", lambda w, rng: w.__setitem__(..., rng.uniform(-1, 1, w.shape) * 1.5 * math.sqrt(6 / FAN_IN))),
    ("xavier_uniform_", lambda w, rng: nn.xavier_normal_(w, 1.5, rng=rng)),
    ("xavier_normal_", lambda w, rng: nn.normal_(w, 0, math.sqrt(1 / (FAN_IN + FAN_OUT)), rng=rng)),
    ("kaiming_uniform_", lambda w, rng: nn.kaiming_uniform_(w, nonlinearity="relu", rng=rng)),
    ("kaiming_normal_", lambda w, rng: nn.kaiming_normal_(w, rng=rng)),
    ("trunc_normal_", lambda w, rng: w.__setitem__(..., np.clip(rng.normal(0.1, 0.5, w.shape), -0.6, 0.9))),
    ("trunc_normal_", lambda w, rng: nn.trunc_normal_(w, 0.1, 0.5, -0.6, 0.95, rng=rng)),
    ("orthogonal_", lambda w, rng: w.__setitem__(..., 2 * np.linalg.qr(rng.standard_normal((3, 3)))[0])),
    ("uniform_", lambda w, rng: nn.uniform_(w, -0.3, 0.72, rng=rng)),
    ("sparse_", lambda w, rng: nn.normal_(w, 0, 0.33, rng=rng)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "draw"), WRONG, ids=[f"{n}{i}" for i, (n, _) in enumerate(WRONG)])
def test_another_distribution_is_found(name, draw):
    assert check_initializer(name, draw, witnesses=())[0].verdict is Verdict.DISAGREE


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 3, 2)])
def test_orthogonal_is_orthogonal(shape):
    w = nn.orthogonal_(np.empty(shape), 3.0, rng=np.random.default_rng(0)).reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    assert np.max(np.abs(gram - 9 * np.eye(min(w.shape)))) < 1e-13


def test_sparse_has_as_many_zeros_in_every_column_as_torch():
    torch = pytest.importorskip("torch")
    ours = nn.sparse_(np.empty((11, 6)), 0.3, rng=np.random.default_rng(0))
    theirs = torch.nn.init.sparse_(torch.empty(11, 6), 0.3).numpy()
    assert ((ours == 0).sum(axis=0) == (theirs == 0).sum(axis=0)).all()


def test_what_is_not_random_equals_torch():
    torch = pytest.importorskip("torch")
    for shape in ((3, 5), (5, 3)):
        assert (nn.eye_(np.empty(shape)) == torch.nn.init.eye_(torch.empty(shape)).numpy()).all()
    assert (nn.constant_(np.empty(3), 2.5) == 2.5).all()
    for name in ("linear", "sigmoid", "tanh", "relu", "selu"):
        assert nn.calculate_gain(name) == pytest.approx(
            torch.nn.init.calculate_gain(name), rel=1e-15
        )
    assert nn.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


def test_a_transposed_view_serves_the_layout_of_linear():
    """Linear here is (in, out): the fans are those of its transpose, and the view is filled."""
    linear = nn.Linear(1000, 3)
    nn.kaiming_uniform_(linear.weights.T, nonlinearity="relu", rng=np.random.default_rng(0))
    bound = math.sqrt(6 / 1000)
    assert 0.99 * bound < np.max(np.abs(linear.weights)) <= bound


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.xavier_uniform_(np.zeros(3)), "no fan"),
        (lambda: nn.kaiming_normal_(np.zeros((2, 2)), mode="fan"), "fan_in"),
        (lambda: nn.kaiming_normal_(np.zeros((2, 2)), nonlinearity="gelu"), "nonlinearity"),
        (lambda: nn.eye_(np.zeros(3)), "no matrix"),
        (lambda: nn.sparse_(np.zeros((2, 2, 2)), 0.1), "no matrix"),
        (lambda: nn.sparse_(np.zeros((2, 2)), 1.1), r"\[0, 1\]"),
        (lambda: nn.orthogonal_(np.zeros(3)), "two axes"),
        (lambda: nn.trunc_normal_(np.zeros(3), a=1, b=0), "nothing between"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_unknown_initialiser_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="xavier_normal_"):
        check_initializer("xavier_normal")
