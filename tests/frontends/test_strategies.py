"""Hypothesis draws cases of a layer, and shrinks to the smallest one that fails."""

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")

from hypothesis import HealthCheck, Phase, find, given, settings

import crosscheck
import reference_nn
from crosscheck import UsageError
from crosscheck.case import MEMORY
from crosscheck.strategies import cases

QUICK = settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("layer", ["Conv2d", "MSELoss", "Sigmoid", "BCELoss", "CrossEntropyLoss"])
def test_what_is_drawn_is_a_case_of_the_layer(layer):
    seen = []

    @QUICK
    @given(case=cases(layer))
    def draw(case):
        assert case.problem.layer.name == layer
        for name, tensor in case.problem.given.items():
            array = case.values[name]
            assert array.shape == tensor.shape(case.problem)
            # A special point of the layer's own may lie outside on purpose.
            inside = case.kind.startswith("drawn") and tensor.domain.differentiable
            if array.dtype.kind == "f" and inside:
                assert (array >= tensor.domain.low).all() and (array <= tensor.domain.high).all()
        seen.append(case)

    draw()
    assert {case.dtype for case in seen} == {"float64", "float32"}
    assert {case.memory for case in seen} == set(MEMORY)
    assert len({tuple(case.problem.sizes.values()) for case in seen}) > 5
    assert any("planted" in case.kind for case in seen)
    assert (
        len({case.problem.label() for case in seen}) > 1 or not crosscheck.catalogue[layer].variants
    )


def test_everything_shrinks_to_the_plainest_case():
    case = find(cases("Conv2d"), lambda case: True, settings=QUICK)
    assert case.problem.changed_options() == {} and case.seed == 0
    assert (case.dtype, case.memory, case.kind) == ("float64", "plain", "drawn")
    assert case.problem.sizes["batch"] == case.problem.sizes["in_channels"] == 1


def test_a_failure_shrinks_to_the_smallest_case_that_fails():
    class OnlyLarge(reference_nn.Sigmoid):
        """Wrong from three samples of two features on."""

        def backward(self, x, grad_output):
            found = super().backward(x, grad_output)
            if x.shape[0] >= 3 and x.shape[1] >= 2:
                found[2, 1] *= 2
            return found

    def fails(case):
        report = crosscheck.check(case, OnlyLarge, against=("numeric",))
        return report.verdict is crosscheck.Verdict.DISAGREE

    case = find(cases("Sigmoid", special=False), fails, settings=QUICK)
    assert case.problem.sizes == {"batch": 3, "features": 2}
    assert (case.dtype, case.memory) == ("float64", "plain")


def test_a_special_value_is_found():
    class WrongAtZero(reference_nn.Tanh):
        def forward(self, x):
            return super().forward(x) + (x == 0)

    def fails(case):
        return bool(
            np.any(WrongAtZero().forward(case.values["x"]) - np.tanh(case.values["x"]) > 0.5)
        )

    case = find(cases("Tanh"), fails, settings=QUICK)
    assert (case.values["x"] == 0).any()


def test_what_is_given_is_kept():
    given_ = {"options": {"bias": False}, "sizes": {"batch": 5}, "dtypes": ("float32",)}
    case = find(cases("Linear", memory=("strided",), **given_), lambda case: True, settings=QUICK)
    assert case.id == "Linear[bias=False,drawn,float32,strided]"
    assert case.problem.sizes["batch"] == 5


@pytest.mark.parametrize(
    ("arguments", "keywords", "said"),
    [
        (("Linera",), {}, "did you mean Linear"),
        ((3,), {}, "expected a name"),
        (("Linear",), {"options": {"bais": False}}, "did you mean bias"),
        (("Linear",), {"sizes": {"bach": 3}}, "did you mean batch"),
        (("Linear",), {"dtypes": ("float16",)}, "float16"),
        (("Linear",), {"memory": ("plane",)}, "did you mean plain"),
    ],
)
def test_bad_input_is_refused_when_the_strategy_is_made(arguments, keywords, said):
    with pytest.raises(UsageError, match=said):
        cases(*arguments, **keywords)


def test_a_case_is_checked_by_itself_and_has_its_own_options():
    case = find(cases("Linear"), lambda case: True, settings=QUICK)
    report = crosscheck.check(case, reference_nn.Linear, against=("numeric",))
    assert report.cases == (case.id,) and report.verdict is crosscheck.Verdict.AGREE
    with pytest.raises(UsageError, match="of its own"):
        crosscheck.check(case, reference_nn.Linear, options={"bias": False})
