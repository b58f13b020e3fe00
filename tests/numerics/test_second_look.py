"""Points where the numeric derivative alone was wrong, of 100,000: right code is called right there."""

import pytest

from benchmarks.false_alarms import run

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
