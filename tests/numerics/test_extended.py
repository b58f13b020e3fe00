"""Differences in extended precision: better where a forward carries the digits, never believed where not."""

import importlib
import math

import numpy as np
import pytest
from closed_forms import KINKED, Counted, cotangent, point

from crosscheck.derivative import Status, differentiate

extended = importlib.import_module("crosscheck.derivative.extended")
needs_digits = pytest.mark.skipif(
    extended.ROUNDOFF > extended.GAIN * extended.UNIT_ROUNDOFF,
    reason="this machine's longdouble is float64",
)


def saturated(x, w):
    """tanh of large numbers: all curvature lies within a thousandth of the spread."""
    return np.tanh(1e2 * x + w)


def saturated_gradient(x, w, c):
    one = c / np.cosh(1e2 * x.astype(np.longdouble) + w) ** 2
    return {"x": 1e2 * one, "w": one}


def unsaturated_here_and_there(rng):
    return {k: rng.standard_normal(400) for k in ("x", "w")}


def errors(function, gradient, seeds, draw=unsaturated_here_and_there, **keywords):
    """(error, estimate) in units of the natural size, of every probe."""
    found = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        values = draw(rng)
        upstream = cotangent(rng, function(**values))
        exact = gradient(**values, c=upstream["output"])
        for probe in differentiate(
            Counted(function), values, ("x", "w"), upstream, rng, **keywords
        ):
            parts = [v * exact[k] for k, v in probe.direction.items()]
            natural = float(np.sqrt(sum((p * p).sum() for p in parts)))
            off = float(abs(probe.value - sum(p.sum() for p in parts)))
            found.append((off / natural, probe.error / natural))
    return np.array(found)


@needs_digits
def test_what_is_curved_within_every_step_of_float64_is_good_to_twelve_digits(monkeypatch):
    wide = errors(saturated, saturated_gradient, range(20), complex_steps=False)
    assert wide[:, 0].max() < 1e-12 and (wide[:, 0] <= wide[:, 1]).all()
    monkeypatch.setattr(extended, "ROUNDOFF", extended.UNIT_ROUNDOFF)
    narrow = errors(saturated, saturated_gradient, range(20), complex_steps=False)
    assert np.nanmax(narrow[:, 0]) > 1e-12
    assert narrow[:, 1].max() > 10 * wide[:, 1].max()


@needs_digits
def test_beside_kinks_too():
    found = errors(*KINKED["relu"], range(10), draw=point, complex_steps=False)
    assert len(found) == 20 and found[:, 0].max() < 1e-13


def through_float64(x, w):
    """Digits are lost element by element, and the array does not show it."""
    z = 1e2 * x + w
    return np.array([math.tanh(v) for v in z.ravel()]).reshape(z.shape) * (1 + 0 * z)


def in_float64(x, w):
    return np.tanh(1e2 * x + w).astype(np.float64)


def refuses(x, w):
    if x.dtype not in (np.float64, np.complex128):
        raise TypeError(f"array type {x.dtype} is not supported")
    return saturated(x, w)


@pytest.mark.parametrize("function", [through_float64, in_float64, refuses])
def test_a_forward_that_loses_the_digits_is_differentiated_as_before(function):
    found = errors(function, saturated_gradient, range(10), complex_steps=False)
    known = found[np.isfinite(found[:, 0])]
    assert len(known) and (known[:, 0] <= known[:, 1]).all()
    values = {"x": np.full(3, 0.01), "w": np.zeros(3)}
    line = extended.Line(Counted(function), values, {"x": np.ones(3)},
                         {"output": np.ones(3)}, {"output": function(**values)})  # fmt: skip
    assert extended.Extended(line, line.noise()[0]).joint is None


def inner_float32(x, w):
    """Only one block is cast, and the outputs are as wide as they come."""
    return np.tanh(x.astype(np.float32) * 10) * w


def test_a_cast_to_float32_inside_is_still_called_by_its_name():
    rng = np.random.default_rng(0)
    values = {"x": rng.standard_normal(40), "w": rng.standard_normal(40)}
    found = differentiate(Counted(inner_float32), values, ("x", "w"),
                          {"output": rng.standard_normal(40)}, rng)  # fmt: skip
    assert Status.LOW_PRECISION in {probe.status for probe in found}
    assert Status.KINK not in {probe.status for probe in found}


@needs_digits
def test_a_saturated_softmax_keeps_its_digits(monkeypatch):
    """Against sixty digits: nearly all of what is added up cancels."""
    mpmath = pytest.importorskip("mpmath")
    x = np.array([[20.0, 2.0, -7.0, 1.0], [-3.0, 25.0, 4.0, -11.0]])
    c = np.array([[0.3, -1.2, 0.7, 2.0], [1.1, 0.4, -0.6, 0.9]])

    def softmax(values):
        z = values["x"] - np.max(np.real(values["x"]), axis=-1, keepdims=True)
        return {"output": np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)}

    def off():
        (probe,) = differentiate(softmax, {"x": x}, ("x",), {"output": c}, np.random.default_rng(1))
        with mpmath.workdps(60):
            total, square = mpmath.mpf(0), mpmath.mpf(0)
            for row, upstream, v in zip(x, c, probe.direction["x"], strict=True):
                powers = [mpmath.exp(mpmath.mpf(float(a))) for a in row]
                p = [a / sum(powers) for a in powers]
                mean = sum(a * float(g) for a, g in zip(p, upstream, strict=True))
                for a, g, step in zip(p, upstream, v, strict=True):
                    part = a * (float(g) - mean) * float(step)
                    total, square = total + part, square + part**2
            error = abs(mpmath.mpf(probe.value) - total)
            assert error <= probe.error
            return float(error / mpmath.sqrt(square))

    wide = off()
    monkeypatch.setattr(extended, "ROUNDOFF", extended.UNIT_ROUNDOFF)
    assert wide < 1e-11 < off()
