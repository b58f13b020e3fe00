"""Numeric derivatives against gradients known in closed form: accuracy, coverage, cost, kinks."""

import importlib

import numpy as np
import pytest
from closed_forms import KINKED, SMOOTH, Counted, cotangent, point

from crosscheck.derivative import Status, differentiate

ladder = importlib.import_module("crosscheck.derivative.ladder")


def probes(pair, seed, scale=1.0, **keywords):
    """(error, estimate, natural size, probe) of every probe at a drawn point."""
    function, gradient = pair
    rng = np.random.default_rng(seed)
    values = point(rng, scale=scale)
    upstream = cotangent(rng, function(**values))
    exact = gradient(**values, c=upstream["output"])
    for probe in differentiate(Counted(function), values, ("x", "w"), upstream, rng, **keywords):
        parts = [v * exact[name] for name, v in probe.direction.items()]
        truth = sum(p.sum() for p in parts)
        natural = float(np.sqrt(sum((p * p).sum() for p in parts)))
        yield float(abs(probe.value - truth)), probe.error, natural, probe


def misses(pairs, seeds, **keywords):
    """The probes whose estimate does not cover the truth."""
    found = [p for pair in pairs.values() for s in seeds for p in probes(pair, s, **keywords)]
    return [(e, estimate) for e, estimate, _, p in found if p.reason is None and e > estimate]


@pytest.mark.parametrize("complex_steps", [True, False], ids=["complex", "real"])
@pytest.mark.parametrize("pairs", [SMOOTH, KINKED], ids=["smooth", "kinked"])
def test_the_estimate_covers_the_truth(pairs, complex_steps):
    assert misses(pairs, range(40), complex_steps=complex_steps) == []


def test_the_test_of_coverage_can_fail(monkeypatch):
    """An estimate without its safety factors is found out."""
    monkeypatch.setattr(ladder, "ROUNDING", 1e-3)
    monkeypatch.setattr(ladder, "TRUNCATION", 1e-3)
    assert len(misses(SMOOTH, range(10), complex_steps=False)) > 5


def test_accuracy_on_smooth_functions():
    for method, bound in ((True, 1e-14), (False, 1e-9)):
        found = [
            (e / size, probe)
            for pair in SMOOTH.values()
            for seed in range(20)
            for e, _, size, probe in probes(pair, seed, complex_steps=method)
        ]
        assert max(e for e, _ in found) < bound
        assert {p.method for _, p in found} == {
            "complex step" if method else "extrapolated central differences"
        }
    assert np.median([e for e, _ in found]) < 1e-12


def test_the_complex_step_is_not_believed_where_it_is_wrong():
    """abs takes a complex number to its modulus: the imaginary part, and the derivative, are lost."""
    for error, _, natural, probe in probes(KINKED["abs"], 3):
        assert probe.method == "extrapolated central differences"
        assert error < 1e-8 * natural


def test_the_complex_step_sees_past_kinks():
    found = [p for seed in range(20) for p in probes(KINKED["relu"], seed)]
    assert all(p.reason is None for *_, p in found)
    assert max(error / natural for error, _, natural, _ in found) < 1e-14


@pytest.mark.parametrize("complex_steps", [True, False])
@pytest.mark.parametrize("count", [10, 1_000, 100_000])
@pytest.mark.parametrize("blocks", [1, 2, 12])
def test_the_cost_is_at_most_60_evaluations_whatever_the_size(count, blocks, complex_steps):
    rng = np.random.default_rng(count)
    values = {f"b{i}": rng.standard_normal(max(2, count // blocks)) for i in range(blocks)}

    def kinked(**arrays):
        total = sum(arrays.values())
        return np.maximum(total, 0) + np.where(total > 1, total**2, total)

    forward = Counted(kinked)
    upstream = cotangent(rng, kinked(**values))
    found = differentiate(
        forward, values, tuple(values), upstream, rng, complex_steps=complex_steps
    )
    assert forward.calls <= 60
    assert sum(p.evaluations for p in found) == forward.calls
    assert {name for p in found for name in p.direction} == set(values)


def test_a_point_on_a_kink_is_recognised():
    rng = np.random.default_rng(0)
    values = {"x": rng.standard_normal(20)}
    values["x"][3] = 0.0
    (probe,) = differentiate(
        Counted(lambda x: np.abs(x)), values, ("x",), {"output": np.ones(20) * 1.3}, rng
    )
    assert probe.status is Status.KINK and "one-sided derivatives differ" in probe.reason


def test_a_kink_on_which_central_differences_agree_is_recognised():
    """|x| at 0: every central difference is exactly 0."""
    (probe,) = differentiate(
        Counted(lambda x: np.abs(x)), {"x": np.zeros(1)}, ("x",), {"output": np.full(1, 1.3)},
        np.random.default_rng(0),
    )  # fmt: skip
    assert probe.status is Status.KINK


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_an_offset_does_not_spoil_the_step(offset):
    """Around an offset the steps are those of the spread, and the rounding of x is in the estimate."""
    rng = np.random.default_rng(1)
    x = offset + rng.standard_normal(30)
    centre = x.mean()
    upstream = cotangent(rng, x)
    for complex_steps in (True, False):
        (probe,) = differentiate(
            Counted(lambda x: np.sin(x - centre)), {"x": x}, ("x",), upstream, rng,
            complex_steps=complex_steps,
        )  # fmt: skip
        truth = float(np.sum(probe.direction["x"] * upstream["output"] * np.cos(x - centre)))
        assert abs(probe.value - truth) <= probe.error < 1e-3 * probe.scale


def test_large_and_small_blocks_are_seen_alike():
    """A wrong gradient of a block of values of 1e-6 is not hidden by one of 1e6."""
    rng = np.random.default_rng(2)
    values = {"a": 1e-6 * rng.standard_normal(50), "b": 1e6 * rng.standard_normal(50)}
    upstream = {"output": np.full(50, 0.7)}
    found = differentiate(
        Counted(lambda a, b: np.sin(1e6 * a) + np.sin(1e-6 * b)), values, ("a", "b"), upstream, rng
    )
    for probe in found:
        assert probe.error < 1e-12 * probe.scale
