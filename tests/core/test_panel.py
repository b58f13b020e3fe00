"""The panel: who is asked, and whose rounding sets the tolerance."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import sampling
from crosscheck.comparison import Comparison, Verdict
from crosscheck.evaluation import ImplementationError
from crosscheck.implementations import oracle, reference, subject
from crosscheck.panel import Panel


class Refuses:
    """A witness that refuses every case."""

    name = "torch"

    def bind(self, problem):
        return self

    def vjp(self, values, cotangents):
        raise ImplementationError("not here")

    forward = vjp


def test_where_every_oracle_refuses_the_rounding_of_another_is_measured():
    """Else the tolerance would be nothing, and a right layer would differ from its own derivative."""
    linear = crosscheck.catalogue["Linear"]
    panel = Panel(reference(linear), {"torch": Refuses()}, fallback=reference(linear))
    rounding = panel.hear(next(sampling.cases(linear))).rounding
    assert rounding.source == "reference_nn"
    assert rounding.tolerance("grad_weights", "float64") > 0


class PositiveFirst(nn.Linear):
    """Sums in the order in which most is rounded: all positive terms, then the negative ones."""

    def backward(self, x, grad_output):
        found = super().backward(x, grad_output)
        ordered = np.sort(grad_output, axis=0)[::-1]
        self.grad_bias = np.add.accumulate(ordered, axis=0)[-1]
        return found


def test_a_sum_in_another_order_is_right_where_the_frameworks_order_is_exact():
    """Six numbers that cancel: in one order each partial sum is exact in float32, in another none."""
    pytest.importorskip("torch")
    linear = crosscheck.catalogue["Linear"]
    problem = linear.problem({}, {"batch": 6, "in_features": 2, "out_features": 1})
    panel = Panel(subject(PositiveFirst, linear), {"torch": oracle("torch", linear)}, numeric=False)
    rng, drawn = np.random.default_rng(0), sampling.build(problem, 0, "distinct")
    found: list[Comparison] = []
    while len(found) < 40:
        upstream = sampling.draw_cotangents(problem, rng)
        if abs(upstream["output"].sum()) > 0.03:
            continue  # only in a sum that cancels are few roundings more than forty of the result's
        case = drawn.with_values(cotangents=upstream, dtype="float32")
        found += [c for c in panel.hear(case).compare(case) if c.quantity == "grad_bias"]
    assert all(c.verdict is Verdict.AGREE for c in found)
    assert any(c.error for c in found)
