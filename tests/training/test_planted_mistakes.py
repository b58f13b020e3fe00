"""Mistakes planted in correct optimizers: each is found, and named."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict

#: Who is wrong is told by comparing with somebody.
pytestmark = pytest.mark.usefixtures("an_oracle")


class MyAdam:
    """Adam as a textbook has it, with the places in which people go wrong as switches."""

    first, unbias_m, unbias_v, eps_at, decoupled, shared = 1, True, True, "beside", False, None

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        self.parameters, self.lr, self.betas, self.eps = parameters, lr, betas, eps
        self.weight_decay = weight_decay
        self.m = [np.zeros_like(p) for p in parameters]
        self.v = [np.zeros_like(p) for p in parameters]
        self.t = self.first - 1

    def step(self, gradients):
        self.t += 1
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            self.change(i, p, g)

    def change(self, i, p, g):
        b1, b2 = self.betas
        if self.decoupled:
            p -= self.lr * self.weight_decay * p
        else:
            g = g + self.weight_decay * p
        if self.shared == "one":
            i = 0
        self.m[i] = b1 * self.m[i] + (1 - b1) * g
        self.v[i] = b2 * self.v[i] + (1 - b2) * g * g
        m = self.m[i] / np.float64(1 - b1**self.t) if self.unbias_m else self.m[i]
        v = self.v[i] / np.float64(1 - b2**self.t) if self.unbias_v else self.v[i]
        root = {
            "beside": lambda: np.sqrt(v) + self.eps,
            "inside": lambda: np.sqrt(v + self.eps),
            "before": lambda: (np.sqrt(self.v[i]) + self.eps) / np.sqrt(1 - b2**self.t),
            "no root": lambda: v + self.eps,
        }[self.eps_at]()
        p -= (self.lr * m / root).astype(p.dtype)


def variant(name, base=MyAdam, **switches):
    return type(name, (base,), switches)


class TwoCounts(MyAdam):
    """One count for all parameters, raised for each of them."""

    def step(self, gradients):
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            self.t += 1
            self.change(i, p, g)


class SameShapeShares(MyAdam):
    """Moments kept by shape: two weights of one shape have the same."""

    def change(self, i, p, g):
        super().change([q.shape for q in self.parameters].index(p.shape), p, g)


class NotInPlace(MyAdam):
    def change(self, i, p, g):
        super().change(i, p.copy(), g)


class NotCleared(MyAdam):
    total = None

    def step(self, gradients):
        self.total = gradients if self.total is None else [
            a + b for a, b in zip(self.total, gradients, strict=True)
        ]  # fmt: skip
        super().step(self.total)


class Upwards(MyAdam):
    def step(self, gradients):
        super().step([-g for g in gradients])


class Late(MyAdam):
    before = None

    def step(self, gradients):
        if self.before is not None:
            super().step(self.before)
        self.before = [g.copy() for g in gradients]


class ZeroDivision(MyAdam):
    first = 0

    def change(self, i, p, g):
        self.lr / (1 - self.betas[0] ** self.t)
        super().change(i, p, g)


class AdamWithDecay(nn.Adam):
    """Called AdamW, but its decay goes through the gradient."""

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)


class DecayWithoutLr(nn.AdamW):
    def decay(self, p, g):
        p *= 1 - self.weight_decay
        return g


class SwappedBetas(nn.Adam):
    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, lr, betas[::-1], eps)


class AveragedMomentum(nn.SGD):
    def update(self, p, g, state):
        b = self.momentum * state["momentum_buffer"] + (1 - self.momentum) * g
        state["momentum_buffer"] = b
        p -= self.lr * b


class NoNesterov(nn.SGD):
    def __init__(self, parameters, lr=1e-3, momentum=0.0, nesterov=False):
        super().__init__(parameters, lr, momentum)


class EpsInsideRMSprop(nn.RMSprop):
    def __init__(self, parameters, lr=1e-2, alpha=0.99, eps=1e-8):
        super().__init__(parameters, lr, alpha, eps, convention="jax")


class EpsInsideAdagrad(nn.Adagrad):
    def __init__(self, parameters, lr=1e-2, eps=1e-10):
        super().__init__(parameters, lr, eps=eps, convention="jax")


class OptaxRprop(nn.Rprop):
    def __init__(self, parameters, lr=1e-2):
        super().__init__(parameters, lr, convention="jax")


class NoCorrectionAdamax(nn.Adamax):
    def update(self, p, g, state):
        p += self.lr * 0
        m = state["exp_avg"] = self.beta1 * state["exp_avg"] + (1 - self.beta1) * g
        u = state["exp_inf"] = np.maximum(self.beta2 * state["exp_inf"], np.abs(g) + self.eps)
        p -= self.lr * m / u


class NoDecay(nn.AdamW):
    def decay(self, p, g):
        return g


class NoMomentum(nn.SGD):
    def update(self, p, g, state):
        p -= self.lr * g


MISTAKES = [
    ("Adam", variant("Uncorrected", unbias_m=False, unbias_v=False), {}, "no-bias-correction"),
    ("Adam", variant("UncorrectedM", unbias_m=False), {}, "no-bias-correction-of-m"),
    ("Adam", variant("UncorrectedV", unbias_v=False), {}, "no-bias-correction-of-v"),
    ("Adamax", NoCorrectionAdamax, {}, "no-bias-correction"),
    ("Adam", variant("EpsInside", eps_at="inside"), {}, "eps-inside-root"),
    ("Adam", variant("EpsBefore", eps_at="before"), {}, "eps-before-correction"),
    ("Adam", variant("NoRoot", eps_at="no root"), {}, "root-missing"),
    ("RMSprop", EpsInsideRMSprop, {}, "eps-inside-root"),
    ("Adagrad", EpsInsideAdagrad, {}, "eps-inside-root"),
    ("AdamW", AdamWithDecay, {}, "decay-coupled"),
    ("AdamW", DecayWithoutLr, {}, "decay-without-lr"),
    ("AdamW", NoDecay, {}, "decay-missing"),
    ("Adam", variant("Decoupled", decoupled=True), {"weight_decay": 0.1}, "decay-decoupled"),
    ("Adam", variant("FromZero", first=0), {}, "step-counted-from-0"),
    ("Adam", ZeroDivision, {}, "step-counted-from-0"),
    ("Adam", variant("FromTwo", first=2), {}, "step-counted-from-2"),
    ("Adam", TwoCounts, {}, "state-shared"),
    ("Adam", SameShapeShares, {}, "state-shared"),
    ("Adam", variant("OneState", shared="one"), {}, "state-shared"),
    ("Adam", NotInPlace, {}, "not-in-place"),
    ("Adam", NotCleared, {}, "gradients-not-cleared"),
    ("Adam", Upwards, {}, "wrong-direction"),
    ("Adam", Late, {}, "one-step-late"),
    ("Adam", SwappedBetas, {}, "betas-swapped"),
    ("SGD", AveragedMomentum, {"momentum": 0.9, "lr": 0.1}, "momentum-averaged"),
    ("SGD", NoNesterov, {"momentum": 0.9, "nesterov": True}, "nesterov-missing"),
    ("SGD", NoMomentum, {"momentum": 0.9}, "momentum-missing"),
    ("Rprop", OptaxRprop, {}, "other-convention"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "options", "cause"), MISTAKES, ids=[m[1].__name__ for m in MISTAKES]
)
def test_a_planted_mistake_is_found_and_named(name, wrong, options, cause):
    report = crosscheck.check(name, wrong, options=options)
    assert report.verdict is Verdict.DISAGREE
    assert {f.cause for f in report.findings} == {cause}, str(report)
    assert all(f.explanation for f in report.findings)


def test_the_report_says_where_by_axes(torch):
    """Sizes that are numbers are no names of axes."""
    text = str(crosscheck.check("Adam", NotInPlace, options={}, against=("torch",)))
    assert "the worst at [axis 0=7, axis 1=" in text
    assert "A step of NotInPlace is wrong" in text and "Proved: the weights do not change" in text


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.2}])
def test_the_textbook_itself_is_right(options):
    """Or the mistakes above would be found for another reason."""
    crosscheck.check("Adam", MyAdam, options=options).require_agreement()


def test_an_unknown_mistake_is_found_and_not_named(torch):
    class Strange(nn.Adam):
        def update(self, p, g, state):
            super().update(p, np.tanh(g), state)

    report = crosscheck.check("Adam", Strange, options={}, against=("torch",))
    assert report.verdict is Verdict.DISAGREE
    assert {f.cause for f in report.findings} == {None}


def test_each_oracle_alone_finds_a_wrong_optimizer(both):
    for oracle in ("torch", "jax"):
        report = crosscheck.check("Adam", SwappedBetas, options={}, against=(oracle,))
        assert report.verdict is Verdict.DISAGREE


def test_state_kept_by_the_class_is_found():
    """Two optimizers of one class walk on with each other's moments."""

    class ByClass(MyAdam):
        kept = {}

        def change(self, i, p, g):
            self.m, self.v = self.kept.setdefault("m", self.m), self.kept.setdefault("v", self.v)
            super().change(i, p, g)

    report = crosscheck.check("Adam", ByClass, options={})
    assert report.verdict is Verdict.DISAGREE


def test_a_gradient_that_is_written_into_is_found():
    class Writes(MyAdam):
        def change(self, i, p, g):
            g *= 0.5
            super().change(i, p, g * 2)

    report = crosscheck.check("Adam", Writes, options={})
    assert "contract: inputs unchanged" in {f.quantity for f in report.findings} or any(
        "read-only" in f.comparisons[0].reason for f in report.findings
    )
