"""From a failed probe to the wrong elements: indices, values and region, at a counted cost."""

import numpy as np
import pytest
from closed_forms import Counted, tanh_gradient, tanh_layer

import crosscheck
import reference_nn as nn
from crosscheck.derivative import describe_region, localise, narrow


def layer(shape=(1000, 1000), batch=2, seed=0):
    """A tanh layer with a right gradient of its weights."""
    rng = np.random.default_rng(seed)
    values = {"x": rng.standard_normal((batch, shape[0])), "w": rng.standard_normal(shape) / 30}
    upstream = {"output": rng.uniform(0.5, 1.5, (batch, shape[1]))}
    gradient = tanh_gradient(**values, c=upstream["output"])["w"].astype(np.float64)
    return Counted(tanh_layer), values, upstream, gradient


@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_element_among_a_million_in_25_evaluations(seed):
    forward, values, upstream, gradient = layer(seed=seed)
    rng = np.random.default_rng(100 + seed)
    at = tuple(int(rng.integers(n)) for n in gradient.shape)
    right = gradient[at]
    gradient[at] += 1e-6 * np.linalg.norm(gradient)
    found = localise(forward, values, "w", upstream, gradient, rng, tolerance=1e-9)
    assert found.indices == at and found.confirmed and not found.several
    assert found.analytic == gradient[at] and found.numeric == pytest.approx(right, abs=1e-10)
    assert found.evaluations == forward.calls <= 25


def test_without_the_complex_step_too():
    """A forward that refuses complex numbers costs two evaluations a question, and still 25."""
    forward, values, upstream, gradient = layer((300, 400))
    inner = forward.function
    forward.function = lambda x, w: inner(x, np.where(np.isreal(w), w, np.nan).astype(float))
    gradient[17, 23] += 1e-3 * np.linalg.norm(gradient)
    rng = np.random.default_rng(1)
    with np.errstate(all="ignore"):
        found = localise(forward, values, "w", upstream, gradient, rng, tolerance=1e-7)
    assert found.indices == (17, 23) and found.confirmed
    assert forward.calls <= 25


def test_a_right_gradient_has_no_wrong_element():
    forward, values, upstream, gradient = layer((40, 50))
    found = localise(
        forward, values, "w", upstream, gradient, np.random.default_rng(0), tolerance=1e-9
    )
    assert not found.confirmed


def mask(kind, shape):
    found = np.zeros(shape, dtype=bool)
    match kind:
        case "row 3":
            found[3] = True
        case "column 5":
            found[:, 5] = True
        case "the border":
            found[[0, -1]] = found[:, [0, -1]] = True
        case "the diagonal":
            found[np.diag_indices(min(shape))] = True
        case "every element":
            found[...] = True
        case "one element":
            found[3, 5] = True
    return found


@pytest.mark.parametrize("shape", [(7, 7), (40, 40)], ids=["small", "large"])
@pytest.mark.parametrize(
    "kind",
    ["row 3", "column 5", "the border", "the diagonal", "every element", "one element"],
)
def test_the_region_is_named(kind, shape):
    forward, values, upstream, gradient = layer(shape, batch=5)
    where = mask(kind, shape)
    wrong = np.where(where, gradient * 1.2 + 0.01 * np.abs(gradient).mean(), gradient)
    found = narrow(forward, values, "w", upstream, wrong, np.random.default_rng(0), tolerance=1e-9)
    assert found is not None and found.where.startswith(kind), str(found)
    assert found.indices is not None and where[found.indices]
    assert found.analytic == wrong[found.indices]
    assert found.numeric == pytest.approx(gradient[found.indices], rel=1e-6)


def test_scattered_errors_are_not_called_a_region():
    forward, values, upstream, gradient = layer((40, 40))
    for at in ((1, 3), (20, 31), (38, 7), (11, 11)):
        gradient[at] *= 2
    found = narrow(
        forward, values, "w", upstream, gradient, np.random.default_rng(0), tolerance=1e-9
    )
    assert found is not None and "scattered" in found.where


@pytest.mark.parametrize(
    ("shape", "index", "says"),
    [
        ((4, 5), np.s_[2], "row 2"),
        ((4, 5), np.s_[:, 1], "column 1"),
        ((4, 5), np.s_[:, ::2], "every second column, from 0"),
        ((4, 60), np.s_[:, 20::21], "every 21st column, from 20"),
        ((4, 60), np.s_[:, 5::12], "every 12th column, from 5"),
        ((9,), np.s_[1::3], "every third element, from 1"),
        ((4, 5, 6), np.s_[..., ::2], "every second index of axis 2, from 0"),
        ((4, 5), np.s_[1:3], "rows 1 to 2"),
        ((6,), np.s_[2:4], "elements 2 to 3"),
        ((4, 5, 6), np.s_[:, 2], "axis 1, index 2"),
        ((4, 5), np.s_[1:3, 2:4], "the block [1:3, 2:4]"),
        ((4, 5), np.s_[3, 3], "one element, [3, 3]"),
        ((4, 5), np.s_[...], "every element"),
        ((4, 5), np.s_[:0], "no element"),
    ],
)
def test_regions_in_words(shape, index, says):
    where = np.zeros(shape, dtype=bool)
    where[index] = True
    assert describe_region(where) == says


# --- in the report -----------------------------------------------------------------------------


def planted(index, factor=1.1):
    class Planted(nn.Linear):
        def backward(self, x, grad_output):
            grad = super().backward(x, grad_output)
            self.grad_weights[index] *= factor
            return grad

    return Planted


@pytest.mark.parametrize("sizes", [(5, 3, 4), (5, 30, 40)], ids=["small", "large"])
@pytest.mark.parametrize(
    ("index", "says"),
    [(np.s_[2], "wrong in row 2"), (np.s_[:, 1], "wrong in column 1"),
     (np.s_[1, 2], "wrong in one element, [1, 2]")],
)  # fmt: skip
def test_a_report_without_frameworks_says_where(index, says, sizes):
    report = crosscheck.check(
        "Linear", planted(index), options={}, against=("numeric",), dtypes=("float64",),
        sizes=dict(zip(("batch", "in_features", "out_features"), sizes, strict=True)),
    )  # fmt: skip
    (finding,) = report.findings
    assert finding.code == "backward-wrong-by-numeric"
    assert says in finding.explanation and says in " ".join(str(report).split())
    assert "should be" in finding.explanation or "expected (numeric)" in str(report)


def test_causes_are_found_without_frameworks():
    class Mean(nn.Linear):
        def backward(self, x, grad_output):
            grad = super().backward(x, grad_output)
            self.grad_bias = self.grad_bias / len(x)
            return grad

    (finding,) = crosscheck.check("Linear", Mean, options={}, against=("numeric",)).findings
    assert finding.cause is not None and "batch" in finding.explanation
