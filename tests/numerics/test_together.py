"""Complex steps of several probes, confirmed by differences along all blocks at once."""

import numpy as np
import pytest

from crosscheck.derivative import differentiate

NAMES = ("a", "b", "c")


def probes(forward):
    rng = np.random.default_rng(3)
    values = {name: rng.uniform(0.5, 1.5, 7) for name in NAMES}
    upstream = {"output": rng.uniform(0.5, 1.5, 7)}
    found = differentiate(forward, values, NAMES, upstream, np.random.default_rng(4))
    return values, upstream["output"], {next(iter(probe.direction)): probe for probe in found}


def test_smooth_blocks_are_confirmed_together():
    values, upstream, found = probes(lambda v: {"output": np.sin(v["a"]) * np.exp(v["b"]) + v["c"]})
    assert {probe.method for probe in found.values()} == {"complex step"}
    assert sum(probe.evaluations for probe in found.values()) <= 23
    expected = upstream * np.sin(values["a"]) * np.exp(values["b"]) @ found["b"].direction["b"]
    assert abs(found["b"].value - expected.sum()) <= found["b"].error


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-8, 1e-12])
def test_a_block_where_the_complex_step_is_wrong_is_not_confirmed_by_the_others(scale):
    """abs() loses the imaginary part: the complex step gives half of this block's derivative."""

    def forward(v):
        return {"output": np.sin(v["a"]) + scale * np.abs(v["b"]) * v["b"] * v["c"]}

    values, upstream, found = probes(forward)
    v = found["b"].direction["b"]
    expected = float(np.sum(upstream * 2 * scale * values["b"] * values["c"] * v))
    assert found["b"].method != "complex step"
    assert abs(found["b"].value - expected) <= found["b"].error
