"""Layers for the suites that the plugin's tests write: each right, and with one planted mistake.

The text below is put into a file ``layers.py`` beside such a suite.
"""

NUMPY = """
import numpy as np

class Linear:
    def __init__(self, in_features, out_features, bias=True):
        self.weights = np.zeros((in_features, out_features))
        self.bias = np.zeros(out_features) if bias else None
    def forward(self, x):
        output = x @ self.weights
        return output if self.bias is None else output + self.bias
    def backward(self, x, grad_output):
        self.grad_weights = x.T @ grad_output
        if self.bias is not None:
            self.grad_bias = grad_output.sum(axis=0)
        return grad_output @ self.weights.T

class WrongLinear(Linear):
    def backward(self, x, grad_output):
        found = super().backward(x, grad_output)
        self.grad_weights = 2 * self.grad_weights
        return found

class Sigmoid:
    def forward(self, x):
        return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), 1 - 1 / (1 + np.exp(-np.abs(x))))
    def backward(self, x, grad_output):
        y = self.forward(x)
        return grad_output * y * self.forward(-x)

class WrongSigmoid(Sigmoid):
    def backward(self, x, grad_output):
        return grad_output * self.forward(x)

class Scale:
    def __init__(self, features):
        self.scale = np.ones(features)
    def forward(self, x):
        return x * self.scale
    def backward(self, x, grad_output):
        self.grad_scale = (grad_output * x).sum(axis=0)
        return grad_output * self.scale

class WrongScale(Scale):
    def backward(self, x, grad_output):
        self.grad_scale = grad_output.sum(axis=0)
        return grad_output * self.scale
"""

TORCH = """
import torch

class Linear(torch.nn.Linear):
    pass

class WrongLinear(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) * 1.001

class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y
    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * y * (1 - y)

class WrongSigmoid(Sigmoid):
    @staticmethod
    def backward(ctx, grad_output):
        (y,) = ctx.saved_tensors
        return grad_output * y
"""

JAX = """
import jax

def sigmoid(x):
    return jax.nn.sigmoid(x)

def wrong_sigmoid(x):
    return jax.nn.sigmoid(x) * 1.001

@jax.custom_vjp
def own_sigmoid(x):
    return jax.nn.sigmoid(x)

def forward(x):
    y = jax.nn.sigmoid(x)
    return y, y

def backward(y, g):
    return (g * y * (1 - y),)

own_sigmoid.defvjp(forward, backward)

@jax.custom_vjp
def wrong_own_sigmoid(x):
    return jax.nn.sigmoid(x)

def wrong_backward(y, g):
    return (g * y,)

wrong_own_sigmoid.defvjp(forward, wrong_backward)
"""

FLAX = """
import flax.linen as linen
import flax.nnx as nnx

class Dense(linen.Dense):
    pass

class WrongDense(linen.Module):
    out_features: int
    @linen.compact
    def __call__(self, x):
        kernel = self.param("kernel", linen.initializers.ones, (x.shape[-1], self.out_features))
        bias = self.param("bias", linen.initializers.zeros, (self.out_features,))
        return x @ kernel + 2 * bias

class Linear(nnx.Linear):
    pass

class WrongLinear(nnx.Linear):
    def __call__(self, x):
        return super().__call__(x) * 1.001
"""

EQUINOX = """
import equinox

class Linear(equinox.nn.Linear):
    pass

class WrongLinear(equinox.nn.Linear):
    def __call__(self, x, *, key=None):
        return super().__call__(x) * 1.001
"""

SPEC = """
import crosscheck

scale = crosscheck.Layer(
    "Scale",
    inputs={"x": "batch features"},
    parameters={"scale": "features"},
    outputs={"output": "batch features"},
    constructor=("features",),
    jax=lambda p, x, scale: x * scale,
    torch=lambda p: lambda x, scale: x * scale,
)
"""
