"""Functions with gradients known in closed form, and a forward that counts its calls."""

import numpy as np

WIDE = np.longdouble


class Counted:
    """A forward that counts its evaluations."""

    def __init__(self, function):
        self.function = function
        self.calls = 0

    def __call__(self, values):
        self.calls += 1
        return {"output": self.function(**values)}


def tanh_layer(x, w):
    return np.tanh(x @ w)


def tanh_gradient(x, w, c):
    """By hand: (c (1 - tanh²)) wᵀ and xᵀ (c (1 - tanh²)), in extended precision."""
    x, w, c = x.astype(WIDE), w.astype(WIDE), c.astype(WIDE)
    inner = c * (1 - np.tanh(x @ w) ** 2)
    return {"x": inner @ w.T, "w": x.T @ inner}


def log_sum_exp(x, w):
    z = x @ w
    top = z.max(axis=1, keepdims=True)
    return np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]


def log_sum_exp_gradient(x, w, c):
    x, w, c = x.astype(WIDE), w.astype(WIDE), c.astype(WIDE)
    z = x @ w
    p = np.exp(z - z.max(axis=1, keepdims=True))
    inner = c[:, None] * p / p.sum(axis=1, keepdims=True)
    return {"x": inner @ w.T, "w": x.T @ inner}


def rational(x, w):
    return x @ w / (1 + x @ w * (x @ w))


def rational_gradient(x, w, c):
    x, w, c = x.astype(WIDE), w.astype(WIDE), c.astype(WIDE)
    z = x @ w
    inner = c * (1 - z * z) / (1 + z * z) ** 2
    return {"x": inner @ w.T, "w": x.T @ inner}


def absolute(x, w):
    """Not analytic: abs of a complex number is something else."""
    return np.abs(x @ w)


def absolute_gradient(x, w, c):
    x, w, c = x.astype(WIDE), w.astype(WIDE), c.astype(WIDE)
    inner = c * np.sign(x @ w)
    return {"x": inner @ w.T, "w": x.T @ inner}


def rectified(x, w):
    return np.maximum(x @ w, 0)


def rectified_gradient(x, w, c):
    x, w, c = x.astype(WIDE), w.astype(WIDE), c.astype(WIDE)
    inner = c * (x @ w > 0)
    return {"x": inner @ w.T, "w": x.T @ inner}


SMOOTH = {
    "tanh": (tanh_layer, tanh_gradient),
    "log-sum-exp": (log_sum_exp, log_sum_exp_gradient),
    "rational": (rational, rational_gradient),
}
KINKED = {
    "abs": (absolute, absolute_gradient),
    "relu": (rectified, rectified_gradient),
}


def point(rng, n=4, i=6, o=5, scale=1.0):
    """Values of a layer x @ w, representable in float32."""
    values = {"x": scale * rng.standard_normal((n, i)), "w": rng.standard_normal((i, o))}
    return {k: a.astype(np.float32).astype(np.float64) for k, a in values.items()}


def cotangent(rng, output):
    return {"output": rng.choice([-1.0, 1.0], output.shape) * rng.uniform(0.5, 1.5, output.shape)}
