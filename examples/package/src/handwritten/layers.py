"""In NumPy: a linear layer, a softmax, and a layer that no framework has."""

import numpy as np


class Linear:
    """y = x W + b, with x (batch, in), W (in, out), b (out,)."""

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


class Softmax:
    """Probabilities along one axis."""

    def __init__(self, dim=-1):
        self.dim = dim

    def forward(self, x):
        exponentials = np.exp(x - x.max(axis=self.dim, keepdims=True))
        return exponentials / exponentials.sum(axis=self.dim, keepdims=True)

    def backward(self, x, grad_output):
        p = self.forward(x)
        return p * (grad_output - (grad_output * p).sum(axis=self.dim, keepdims=True))


class Gate:
    """y = scale · x · sigmoid(x), a number `scale` for every feature."""

    def __init__(self, features):
        self.scale = np.ones(features)

    def forward(self, x):
        return self.scale * x * _sigmoid(x)

    def backward(self, x, grad_output):
        s = _sigmoid(x)
        self.grad_scale = (grad_output * x * s).sum(axis=0)
        return grad_output * self.scale * s * (1 + x * (1 - s))


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))
