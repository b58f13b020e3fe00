"""The plugin is itself tested: every way of using it passes a right layer and fails a planted mistake.

Each row is run twice, in a suite of its own inside this process.
"""

import importlib

import numpy as np  # noqa: F401 - before pytester takes its snapshot of the imported modules
import plugin_layers as layers
import pytest

import crosscheck.strategies
import crosscheck.testing.cases
import crosscheck.testing.failure
import crosscheck.testing.summary  # noqa: F401

FIXTURE = """
from layers import {0}
def test_layer(crosscheck):
    crosscheck({1}, {0}, dtypes=("float64",))
"""

ONE_SHAPE = """
from layers import {0}
def test_layer(crosscheck):
    sizes = {{"batch": 3, "in_features": 4, "out_features": 5}}
    crosscheck({1}, {0}, options={{}}, sizes=sizes, dtypes=("float64",))
"""

MARK = """
import pytest
from layers import {0}
@pytest.mark.crosscheck({1}, options={{}}, dtypes=("float64",))
def test_layer():
    return {0}
"""

MARK_WITH_CASE = """
import pytest
from layers import {0}
@pytest.mark.crosscheck({1}, options={{}}, dtypes=("float64",))
def test_layer(crosscheck, case):
    crosscheck(case, {0})
"""

MARKED_CLASS = """
import pytest
from layers import {0}
@pytest.mark.crosscheck({1}, options={{}}, dtypes=("float64",))
class TestLayer:
    def test_layer(self):
        return {0}
"""

PARAMETRIZED = """
import pytest
from layers import {0}
@pytest.mark.parametrize("bias", [True, False])
def test_layer(crosscheck, bias):
    crosscheck({1}, {0}, options={{"bias": bias}}, dtypes=("float64",))
"""

HYPOTHESIS = """
from hypothesis import given, settings
from layers import {0}
from crosscheck.strategies import cases
@settings(max_examples=8, deadline=None, database=None)
@given(case=cases({1}, dtypes=("float64",), sizes={{"batch": 3}}))
def test_layer(crosscheck, case):
    crosscheck(case, {0}, against=("numeric",))
"""

HYPOTHESIS_ALONE = """
import crosscheck
from hypothesis import given, settings
from layers import {0}
from crosscheck.strategies import cases
@settings(max_examples=8, deadline=None, database=None)
@given(case=cases({1}, dtypes=("float64",)))
def test_layer(case):
    crosscheck.check(case, {0}, against=("numeric",)).require_agreement()
"""

MADE = """
from layers import {0}
def test_layer(crosscheck):
    def make(problem):
        return {0}(problem.in_features, problem.out_features, problem.bias)
    crosscheck({1}, make, dtypes=("float64",))
"""

CONVENTION = """
from layers import {0}
def functions(subject, call):
    layer = call.construct(subject)
    upstream = yield call.outputs(layer.forward(*call.inputs), layer)
    yield call.gradients(layer.backward(*call.inputs, *upstream), layer)
def test_layer(crosscheck):
    crosscheck({1}, {0}, convention=functions, dtypes=("float64",))
"""

NETWORK = """
import crosscheck as cc
from layers import Linear, {0}
def test_layer(crosscheck):
    crosscheck(cc.network("Linear", {1}), [Linear, {0}], dtypes=("float64",))
"""

EVERY_ELEMENT = """
from layers import {0}
def test_layer(crosscheck):
    crosscheck({1}, {0}, dtypes=("float64",), against=("numeric",), every_element=True, options={{}})
"""

UNITTEST = """
import unittest, pytest
from layers import {0}
class TestLayer(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _inject(self, crosscheck):
        self.crosscheck = crosscheck
    def test_layer(self):
        self.crosscheck({1}, {0}, dtypes=("float64",))
"""

#: name → (suite, layer, right, wrong, layers.py, what must be installed)
WAYS = {
    "fixture": (FIXTURE, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "fixture, activation": (FIXTURE, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, ""),
    "mark": (MARK, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "mark with case": (MARK_WITH_CASE, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, ""),
    "marked class": (MARKED_CLASS, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, ""),
    "parametrized": (PARAMETRIZED, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "own spec": (
        "from layers import scale\n" + FIXTURE, "scale", "Scale", "WrongScale",
        layers.NUMPY + layers.SPEC, "",
    ),
    "own spec, mark": (
        "from layers import scale\n" + MARK, "scale", "Scale", "WrongScale",
        layers.NUMPY + layers.SPEC, "",
    ),
    "hypothesis": (HYPOTHESIS, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, "hypothesis"),
    "hypothesis, no fixture": (
        HYPOTHESIS_ALONE, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, "hypothesis",
    ),
    "convention": (CONVENTION, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "network": (NETWORK, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, ""),
    "every element": (EVERY_ELEMENT, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "unittest": (UNITTEST, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.NUMPY, ""),
    "made for the problem": (MADE, '"Linear"', "Linear", "WrongLinear", layers.NUMPY, ""),
    "torch module": (ONE_SHAPE, '"Linear"', "Linear", "WrongLinear", layers.TORCH, "torch"),
    "torch module, mark": (MARK, '"Linear"', "Linear", "WrongLinear", layers.TORCH, "torch"),
    "autograd function": (FIXTURE, '"Sigmoid"', "Sigmoid", "WrongSigmoid", layers.TORCH, "torch"),
    "JAX function": (FIXTURE, '"Sigmoid"', "sigmoid", "wrong_sigmoid", layers.JAX, "jax"),
    "custom_vjp": (FIXTURE, '"Sigmoid"', "own_sigmoid", "wrong_own_sigmoid", layers.JAX, "jax"),
    "custom_vjp, mark": (MARK, '"Sigmoid"', "own_sigmoid", "wrong_own_sigmoid", layers.JAX, "jax"),
    "flax linen": (ONE_SHAPE, '"Linear"', "Dense", "WrongDense", layers.FLAX, "flax"),
    "flax nnx": (ONE_SHAPE, '"Linear"', "Linear", "WrongLinear", layers.FLAX, "flax"),
    "equinox": (ONE_SHAPE, '"Linear"', "Linear", "WrongLinear", layers.EQUINOX, "equinox"),
}  # fmt: skip


def suite(pytester, way, implementation):
    text, layer, _, _, code, needs = WAYS[way]
    if needs:
        pytest.importorskip(needs, reason=f"{needs} is not installed")
    pytester.makepyfile(layers=code, test_layers=text.format(implementation, layer))
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly")


@pytest.fixture(autouse=True)
def _frameworks_first(a_framework):
    """Imported before pytester takes its snapshot: they do not survive being imported twice."""
    for name in ("torch", "jax", "flax.linen", "flax.nnx", "equinox"):
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)


@pytest.mark.parametrize("way", WAYS)
def test_a_right_layer_passes(pytester, way):
    outcome = suite(pytester, way, WAYS[way][2]).parseoutcomes()
    assert outcome.get("passed", 0) >= 1 and set(outcome) <= {"passed", "warnings"}, outcome


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_mistake_fails(pytester, way):
    result = suite(pytester, way, WAYS[way][3])
    outcome = result.parseoutcomes()
    assert outcome.get("failed", 0) >= 1 and "errors" not in outcome, outcome
    assert "is wrong" in result.stdout.str()  # for the mistake, not for another reason
