import numpy as np


def linear_forward(x, W, b):
    out = x @ W + b
    return out, (x, W, b)


def linear_backward(dout, cache):
    x, W, b = cache
    dx = dout @ W.T
    dW = x.T @ dout
    db = np.sum(dout, axis=0)
    return dx, dW, db


def mse_forward(prediction, target):
    return np.sum((prediction - target) ** 2), (prediction, target)


def mse_backward(dout, cache):
    prediction, target = cache
    return 2 * dout * (prediction - target)
