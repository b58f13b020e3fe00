"""Anything can be the subject: NumPy, PyTorch, JAX; and the oracles are independent of it."""

import numpy as np
import pytest

import crosscheck
from crosscheck import Verdict

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")


def test_torch_module_class():
    report = crosscheck.check("Linear", torch.nn.Linear)
    assert report.verdict is Verdict.AGREE, str(report)


def test_wrong_torch_module():
    class Wrong(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 1.01

    report = crosscheck.check("Linear", Wrong)
    assert report.verdict is Verdict.DISAGREE
    assert ("forward-wrong", "output") in {(f.code, f.quantity) for f in report.findings}


class TimesSigmoid(torch.autograd.Function):
    factor = 1.0

    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * y * (1 - y)


class WrongSigmoid(TimesSigmoid):
    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * y


def test_autograd_function():
    assert crosscheck.check("Sigmoid", TimesSigmoid).verdict is Verdict.AGREE
    report = crosscheck.check("Sigmoid", WrongSigmoid)
    assert [f.code for f in report.findings] == ["backward-wrong"]


def test_autograd_function_with_parameters():
    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            ctx.save_for_backward(x, weight)
            return x @ weight.T + bias

        @staticmethod
        def backward(ctx, grad_output):
            x, weight = ctx.saved_tensors
            return grad_output @ weight, grad_output.T @ x, grad_output.sum(0)

    assert crosscheck.check("Linear", Affine, options={}).verdict is Verdict.AGREE


def test_jax_function_and_custom_vjp():
    import jax.numpy as jnp

    assert crosscheck.check("Sigmoid", lambda x: jax.nn.sigmoid(x)).verdict is Verdict.AGREE
    report = crosscheck.check("Sigmoid", lambda x: 1 / (1 + jnp.exp(-x)))
    assert {(f.code, f.quantity) for f in report.findings} == {("non-finite", "grad_x")}

    @jax.custom_vjp
    def wrong(x):
        return jax.nn.sigmoid(x)

    wrong.defvjp(lambda x: (wrong(x), x), lambda x, g: (g * jax.nn.sigmoid(x),))
    report = crosscheck.check("Sigmoid", wrong)
    assert {(f.code, f.quantity) for f in report.findings} == {("backward-wrong", "grad_x")}


def test_a_framework_twin_can_be_the_subject():
    report = crosscheck.check("Linear", "jax")
    assert "jax" not in report.witnesses and report.verdict is Verdict.AGREE


def test_a_layer_of_ones_own_in_ten_lines():
    class Scale:
        def __init__(self, features):
            self.scale = np.ones(features)

        def forward(self, x):
            return x * self.scale

        def backward(self, x, grad_output):
            self.grad_scale = (grad_output * x).sum(axis=0)
            return grad_output * self.scale

    spec = crosscheck.Layer(
        "Scale",
        inputs={"x": "batch features"},
        parameters={"scale": "features"},
        outputs={"output": "batch features"},
        constructor=("features",),
        jax=lambda p, x, scale: x * scale,
    )
    report = crosscheck.check(spec, Scale)
    assert report.verdict is Verdict.AGREE, str(report)
    assert report.witnesses["torch"] == "no twin"

    class Wrong(Scale):
        def backward(self, x, grad_output):
            self.grad_scale = grad_output.sum(axis=0)
            return grad_output * self.scale

    assert {f.quantity for f in crosscheck.check(spec, Wrong).findings} == {"grad_scale"}


def test_a_convention_of_ones_own():
    class Cached:
        def forward(self, x):
            self.y = 1 / (1 + np.exp(-x))
            return self.y

        def backward(self, grad_output):
            return grad_output * self.y * (1 - self.y)

    def cached(subject, call):
        layer = call.construct(subject)
        upstream = yield call.outputs(layer.forward(*call.inputs), layer)
        yield call.gradients(layer.backward(*upstream), layer)

    report = crosscheck.check("Sigmoid", Cached, convention=cached)
    assert report.verdict is Verdict.AGREE, str(report)


def test_a_class_that_lacks_an_option_is_checked_without_it_and_says_so():
    class Plain:
        def __init__(self, in_features, out_features):
            self.weights = np.zeros((in_features, out_features))
            self.bias = np.zeros(out_features)

        def forward(self, x):
            return x @ self.weights + self.bias

        def backward(self, x, grad_output):
            self.grad_weights, self.grad_bias = x.T @ grad_output, grad_output.sum(0)
            return grad_output @ self.weights.T

    report = crosscheck.check("Linear", Plain)
    assert report.verdict is Verdict.AGREE
    assert report.notes == ("not checked with Linear[bias=False]: Plain has no option 'bias'",)
