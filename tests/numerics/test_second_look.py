"""Points where the numeric derivative alone was wrong, of 100,000: right code is called right there."""

import numpy as np
import pytest

from benchmarks.false_alarms import _scaled, entries, run
from benchmarks.plants import Planted
from crosscheck.implementations import reference
from crosscheck.numeric import Numeric
from crosscheck.tolerance import Rounding

#: Number of the check in `benchmarks.false_alarms` → what it takes.
POINTS = {
    6128: "a block asked again along another direction, after a probe of three",
    21898: "either of the two",
    23548: "a probe asked again",
    29066: "the smallest step, beside a kink that all others cross, confirms the complex step",
}


@pytest.mark.parametrize("number", POINTS)
def test_where_the_numeric_derivative_alone_differed(both, number):
    assert run([number])["alarms"] == []


def test_rounding_that_all_gradients_share_is_seen_in_extended_precision(both, monkeypatch):
    """A saturated GRU: 1 - y² has lost its digits in everybody's float64, and the derivative has not."""
    assert run([26630])["alarms"] == []
    monkeypatch.setattr(Numeric, "_common_rounding", lambda *_: 0.0)
    found = run([26630])["alarms"]
    assert {(alarm["layer"], alarm["right"]) for alarm in found} == {("GRU", "numeric")}


NO_TOLERANCE = Rounding({}, {}, 0.0, 0.0, "nobody", frozenset())


@pytest.fixture
def saturated(both):
    """A right GRU at inputs of 1e3, and the case."""
    entry = next(e for e in entries() if e.name == "GRU")
    case = _scaled(entry, entry.problems[0], 1e3, 26630)
    trusted = reference(entry.layer)
    assert trusted is not None
    return trusted.bind(case.problem), case


def test_extended_precision_excuses_no_wrong_gradient(saturated):
    """A gradient that is off by more than rounding is as much off in extended precision."""
    right, case = saturated
    for kind in ("times 1.0001", "one element off by 1e-6 of the norm"):
        wrong = Planted(right, kind, "weight_ih_l0", 3)
        numeric = Numeric(wrong, "planted", (), case, NO_TOLERANCE, False)
        mine = wrong.vjp(case.arrays(), case.upstream())
        for probe in numeric.probes():
            if "weight_ih_l0" in probe.direction:
                assert not numeric._common_rounding(case, probe, mine)


def test_who_cannot_take_extended_precision_is_not_excused(saturated):
    """Code in another process, or a framework's: whatever it raises, the answer is no."""

    class Float64Only:
        def __init__(self, right):
            self.right = right
            self.forward = right.forward

        def vjp(self, values, cotangents):
            if any(a.dtype == np.longdouble for a in values.values()):
                raise KeyError("longdouble")
            return self.right.vjp(values, cotangents)

    right, case = saturated
    mine = right.vjp(case.arrays(), case.upstream())
    excused = {}
    for who in (right, Float64Only(right)):
        numeric = Numeric(who, "who", (), case, NO_TOLERANCE, False)
        excused[type(who)] = [numeric._common_rounding(case, p, mine) for p in numeric.probes()]
    assert any(excused[type(right)]) and not any(excused[Float64Only])
