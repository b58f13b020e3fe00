"""The suite as a user would write it: a line per layer."""

import pytest
from handwritten.layers import Gate, Linear, Softmax
from hypothesis import given, settings

import crosscheck as cc
from crosscheck.strategies import cases


def torch_gate(problem):
    import torch

    return lambda x, scale: scale * torch.nn.functional.silu(x)


def jax_gate(problem, x, scale):
    import jax

    return scale * jax.nn.silu(x)


#: The catalogue has no such layer: what it computes, in named axes, with twins to compare with.
gate = cc.Layer(
    "Gate",
    inputs={"x": "batch features"},
    parameters={"scale": "features"},
    outputs={"output": "batch features"},
    constructor=("features",),
    torch=torch_gate,
    jax=jax_gate,
)


def test_linear(crosscheck):
    crosscheck("Linear", Linear)


@pytest.mark.crosscheck("Softmax", options={"dim": -1})
def test_softmax():
    return Softmax


def test_gate(crosscheck):
    crosscheck(gate, Gate)


@settings(max_examples=20, deadline=None)
@given(case=cases("Linear", sizes={"in_features": 3, "out_features": 4}))
def test_linear_of_any_kind(crosscheck, case):
    crosscheck(case, Linear)
