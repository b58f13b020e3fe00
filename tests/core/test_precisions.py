"""Both precisions at once: the same answers as one after the other, and no other numbers."""

import numpy as np
import pytest

import crosscheck
from crosscheck import sampling
from crosscheck.evaluation import both_precisions, cast
from crosscheck.implementations import oracle
from crosscheck.tolerance import measure, quantities


@pytest.fixture(params=["torch", "jax"])
def bound(request):
    pytest.importorskip(request.param)
    layer = crosscheck.catalogue["Softplus"]
    case = next(iter(sampling.cases(layer)))
    return oracle(request.param, layer).bind(case.problem), case


def test_each_answer_is_in_its_own_precision(bound):
    witness, case = bound
    single = cast(case.values, "float32"), cast(case.cotangents, "float32")
    low, high = both_precisions(witness, *single)
    alone = witness.vjp(dict(case.values), dict(case.cotangents))
    for name, exact in quantities(alone).items():
        found, rough = quantities(high)[name], quantities(low)[name]
        assert (found.dtype, rough.dtype) == (np.float64, np.float32)
        size = np.abs(exact).max()
        # Compiled in another program the last digits may differ, and no others.
        assert np.abs(found - exact).max() <= 8 * np.finfo(np.float64).eps * size
        assert 0 < np.abs(rough - exact).max() <= 100 * np.finfo(np.float32).eps * size


def test_values_that_float32_does_not_have_are_asked_for_again(bound):
    witness, case = bound
    rng = np.random.default_rng(0)
    _, answers = measure({"w": witness}, case.values, case.cotangents, rng)
    assert set(answers) == {("w", "float32"), ("w", "float64")}
    finer = {name: array + 1e-12 for name, array in case.values.items()}
    _, answers = measure({"w": witness}, finer, case.cotangents, rng)
    assert answers == {}
