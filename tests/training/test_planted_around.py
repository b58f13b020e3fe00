"""Mistakes planted in schedules, in gradient clipping, in initialisers and in defaults: found, and named."""

import math

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.training.initialization import SHAPE
from crosscheck.training.initialization_causes import explain_initializer

#: Who is wrong is told by comparing with somebody.
torch_alone = {"against": ("torch",)}


def moved(name, change):
    """A schedule that is asked for another step."""
    base = getattr(nn, name)
    return type(f"My{name}", (base,), {"rate": lambda self, t: base.rate(self, change(t))})


def fixed(name, **options):
    """A class with options that it does not listen to."""
    base = getattr(nn, name)

    def __init__(self, first, **given):
        base.__init__(self, first, **{**given, **options})

    made = type(f"My{name}", (base,), {"__init__": __init__})
    made.__signature__ = __import__("inspect").signature(base)
    return made


def compounded(name):
    base = getattr(nn, name)

    def rate(self, t):
        return self.lr * math.prod(base.rate(self, s) / self.lr for s in range(t + 1))

    return type(f"My{name}", (base,), {"rate": rate})


class Smooth(nn.StepLR):
    def rate(self, t):
        return self.lr * self.gamma ** (t / self.step_size)


class NoRestart(nn.CosineAnnealingWarmRestarts):
    def rate(self, t):
        return super().rate(min(t, self.T_0)) if t < self.T_0 else self.eta_min


SCHEDULES = [
    ("StepLR", moved("StepLR", lambda t: max(t - 1, 0)), {}, "one-step-late"),
    ("MultiStepLR", moved("MultiStepLR", lambda t: max(t - 1, 0)), {}, "one-step-late"),
    ("LinearLR", moved("LinearLR", lambda t: t + 1), {}, "one-step-early"),
    ("ExponentialLR", moved("ExponentialLR", lambda t: t + 1), {}, "one-step-early"),
    ("CosineAnnealingLR", moved("CosineAnnealingLR", lambda t: 2 * t), {}, "stepped-twice"),
    ("PolynomialLR", moved("PolynomialLR", lambda t: 2 * t), {}, "stepped-twice"),
    ("ConstantLR", moved("ConstantLR", lambda t: 10**6), {}, "rate-constant"),
    ("StepLR", moved("StepLR", lambda t: 0), {}, "rate-constant"),
    ("StepLR", Smooth, {}, "stairs-missing"),
    ("CosineAnnealingWarmRestarts", NoRestart, {}, "restarts-missing"),
    ("CosineAnnealingLR", fixed("CosineAnnealingLR", eta_min=0.0), {"eta_min": 0.05}, "option-ignored"),
    ("PolynomialLR", fixed("PolynomialLR", power=1.0), {"power": 2.0}, "option-ignored"),
    ("LinearLR", compounded("LinearLR"), {}, "compounded"),
    ("PolynomialLR", compounded("PolynomialLR"), {}, "compounded"),
    ("ExponentialLR", type("Half", (nn.ExponentialLR,), {"rate": lambda s, t: s.lr * s.gamma**t / 2}),
     {}, "constant-factor"),
    ("CosineAnnealingLR", type("Whole", (nn.CosineAnnealingLR,), {
        "rate": lambda s, t: 2 * nn.CosineAnnealingLR.rate(s, t)}), {}, "constant-factor"),
    ("CosineAnnealingLR", fixed("CosineAnnealingLR", convention="jax"), {}, "other-convention"),
]  # fmt: skip


def clip_all(gradients, factor):
    for g in gradients:
        g *= factor


def whole(gradients, order=2):
    return float(np.linalg.norm(np.concatenate([g.ravel() for g in gradients]), order))


def each_alone(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    for g in gradients:
        nn.clip_grad_norm_([g], max_norm, norm_type)
    return norm


def always(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    clip_all(gradients, max_norm / (norm + 1e-6))
    return norm


def squared(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    clip_all(gradients, min(1, max_norm / (norm**2 + 1e-6)))
    return norm


def averaged(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    count = sum(g.size for g in gradients)
    clip_all(gradients, min(1, max_norm / (norm / math.sqrt(count) + 1e-6)))
    return norm


def by_value(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    nn.clip_grad_value_(gradients, max_norm)
    return norm


def forgotten(gradients, max_norm, norm_type=2.0, convention="torch"):
    norm = whole(gradients, norm_type)
    for g in gradients:
        g = g * min(1, max_norm / norm)
    return norm


def norm_after(gradients, max_norm, norm_type=2.0, convention="torch"):
    nn.clip_grad_norm_(gradients, max_norm, norm_type)
    return whole(gradients, norm_type)


def no_small_number(gradients, max_norm, norm_type=2.0, convention="torch"):
    return nn.clip_grad_norm_(gradients, max_norm, norm_type, convention="jax")


def values_by_norm(gradients, clip_value):
    clip_all(gradients, min(1, clip_value / whole(gradients)))


def from_above(gradients, clip_value):
    for g in gradients:
        np.minimum(g, clip_value, out=g)


CLIPPING = [
    ("clip_grad_norm_", each_alone, {}, "clipped-each-alone"),
    ("clip_grad_norm_", always, {"max_norm": 100.0}, "always-scaled"),
    ("clip_grad_norm_", squared, {}, "norm-squared"),
    ("clip_grad_norm_", averaged, {}, "norm-of-mean"),
    ("clip_grad_norm_", by_value, {}, "clipped-by-value"),
    ("clip_grad_norm_", forgotten, {}, "not-clipped"),
    ("clip_grad_norm_", norm_after, {}, "norm-after"),
    ("clip_grad_norm_", no_small_number, {}, "other-convention"),
    ("clip_grad_value_", values_by_norm, {}, "clipped-by-norm"),
    ("clip_grad_value_", from_above, {}, "clipped-from-above"),
]

DEFAULTS = [
    ("AdamW", fixed("AdamW", weight_decay=1e-4), {}, "other-default"),
    ("Adam", fixed("Adam", eps=1e-7), {}, "other-default"),
    ("RMSprop", fixed("RMSprop", alpha=0.9), {}, "other-default"),
    ("Adagrad", fixed("Adagrad", initial_accumulator_value=0.1), {}, "other-default"),
    ("Adadelta", fixed("Adadelta", rho=0.95), {}, "other-default"),
    ("NAdam", fixed("NAdam", convention="jax"), {}, "other-convention"),
    ("Adam", fixed("Adam", convention="jax"), {"amsgrad": True}, "other-convention"),
]


@pytest.mark.parametrize(
    ("name", "wrong", "options", "cause"),
    [*SCHEDULES, *CLIPPING, *DEFAULTS],
    ids=[f"{m[0]}-{m[3]}" for m in (*SCHEDULES, *CLIPPING, *DEFAULTS)],
)
def test_a_planted_mistake_is_found_and_named(torch, name, wrong, options, cause):
    report = crosscheck.check(name, wrong, options=options, **torch_alone)
    assert report.verdict is Verdict.DISAGREE
    assert {f.cause for f in report.findings} == {cause}, str(report)
    assert all(f.certainty == "proved" and f.explanation for f in report.findings)


def test_what_no_rule_knows_is_not_named(torch):
    class Wobbles(nn.StepLR):
        def rate(self, t):
            return super().rate(t) * (1 + 0.1 * math.sin(t))

    def noisy(gradients, clip_value):
        for g in gradients:
            g *= np.cos(g)

    class Nothing(nn.StepLR):
        def rate(self, t):
            return math.nan

    for name, wrong in (("StepLR", Wobbles), ("clip_grad_value_", noisy), ("StepLR", Nothing)):
        report = crosscheck.check(name, wrong, options={}, **torch_alone)
        assert report.verdict is Verdict.DISAGREE
        assert {f.cause for f in report.findings} == {None}, str(report)


FAN_IN, FAN_OUT = SHAPE[1] * 15, SHAPE[0] * 15


def fill(w, values):
    w[...] = values


INITIALISERS = [
    ("xavier_uniform_", lambda w, rng: fill(w, rng.uniform(-1, 1, w.shape) * 1.5 * math.sqrt(6 / FAN_IN)),
     "fan_in stands for fan_in + fan_out"),
    ("xavier_uniform_", lambda w, rng: nn.xavier_normal_(w, 1.5, rng=rng), "it is normal"),
    ("xavier_uniform_", lambda w, rng: nn.xavier_uniform_(w, rng=rng), "the gain has no effect"),
    ("xavier_normal_", lambda w, rng: nn.xavier_uniform_(w, rng=rng), "it is uniform"),
    ("xavier_normal_", lambda w, rng: nn.normal_(w, 0, math.sqrt(2 / FAN_OUT), rng=rng),
     "fan_out stands for fan_in + fan_out"),
    ("xavier_normal_", lambda w, rng: nn.normal_(w, 0, 2 / (FAN_IN + FAN_OUT), rng=rng),
     "the variance stands for the deviation"),
    ("kaiming_normal_", lambda w, rng: nn.kaiming_normal_(w, a=1.0, mode="fan_out", rng=rng),
     "fan_out stands for fan_in"),
    ("kaiming_uniform_", lambda w, rng: nn.kaiming_uniform_(w, nonlinearity="relu", rng=rng),
     "fan_in stands for fan_out"),
    ("kaiming_uniform_", lambda w, rng: fill(w, rng.uniform(-1, 1, w.shape) * math.sqrt(2 / FAN_OUT)),
     "√3 is missing"),
    ("kaiming_normal_", lambda w, rng: fill(w, 0), "all elements are 0"),
    ("trunc_normal_", lambda w, rng: fill(w, np.clip(rng.normal(0.1, 0.5, w.shape), -0.6, 0.9)),
     "drawn again"),
    ("normal_", lambda w, rng: nn.normal_(w, 0, 0.2, rng=rng), "centred on 0"),
    ("normal_", lambda w, rng: nn.normal_(w, 0.4, 0.2**2, rng=rng), "the variance stands"),
    # No rule knows these.
    ("uniform_", lambda w, rng: nn.uniform_(w, -0.3, 0.78, rng=rng), ""),
    ("normal_", lambda w, rng: fill(w, rng.exponential(1.0, w.shape)), ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "draw", "said"), INITIALISERS, ids=range(len(INITIALISERS)))
def test_a_wrong_initialiser_is_explained(name, draw, said):
    found = explain_initializer(name, draw)
    assert said in found and bool(found) == bool(said)


def test_a_right_initialiser_needs_no_cause():
    assert explain_initializer("normal_", lambda w, rng: nn.normal_(w, 0.4, 0.2, rng=rng)) == ""
