"""Right layers of many families as people write them who never saw this project."""

import numpy as np


class NormGammaBeta:
    def __init__(self, dim, eps=1e-5):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.eps = eps

    def forward(self, x):
        mean = x.mean(-1, keepdims=True)
        self.inv = 1 / np.sqrt(x.var(-1, keepdims=True) + self.eps)
        self.xhat = (x - mean) * self.inv
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        rows = tuple(range(dout.ndim - 1))
        self.dgamma = (dout * self.xhat).sum(rows)
        self.dbeta = dout.sum(rows)
        g = dout * self.gamma
        mean, along = g.mean(-1, keepdims=True), (g * self.xhat).mean(-1, keepdims=True)
        return self.inv * (g - mean - self.xhat * along)


class BatchNormOfRows:
    """For inputs (batch, features) only; switched between its modes by an attribute."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.gamma = np.ones(num_features)
        self.beta = np.zeros(num_features)
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)
        self.eps = eps
        self.momentum = momentum
        self.training = True

    def forward(self, x):
        n = x.shape[0]
        mean, var = (
            (x.mean(0), x.var(0)) if self.training else (self.running_mean, self.running_var)
        )
        if self.training:
            keep = 1 - self.momentum
            self.running_mean = keep * self.running_mean + self.momentum * mean
            self.running_var = keep * self.running_var + self.momentum * var * n / (n - 1)
        self.inv = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mean) * self.inv
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.xhat).sum(0)
        self.dbeta = dout.sum(0)
        g = dout * self.gamma
        if not self.training:
            return self.inv * g
        return self.inv * (g - g.mean(0) - self.xhat * (g * self.xhat).mean(0))


class ConvOfOneNumber:
    """A square kernel, and numbers for stride and padding."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, pad=0):
        self.k = kernel_size
        self.stride = stride
        self.pad = pad
        self.W = np.random.randn(out_channels, in_channels, kernel_size, kernel_size)
        self.b = np.zeros(out_channels)

    def forward(self, x):
        p, k, s = self.pad, self.k, self.stride
        self.xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        height, width = ((n - k) // s + 1 for n in self.xp.shape[2:])
        out = np.zeros((x.shape[0], self.W.shape[0], height, width), x.dtype)
        for i in range(height):
            for j in range(width):
                window = self.xp[:, :, i * s : i * s + k, j * s : j * s + k]
                out[:, :, i, j] = np.tensordot(window, self.W, ((1, 2, 3), (1, 2, 3))) + self.b
        return out

    def backward(self, dout):
        p, k, s = self.pad, self.k, self.stride
        dx = np.zeros_like(self.xp)
        self.dW = np.zeros_like(self.W)
        self.db = dout.sum((0, 2, 3))
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                rows, columns = slice(i * s, i * s + k), slice(j * s, j * s + k)
                d = dout[:, :, i, j]
                self.dW += np.tensordot(d, self.xp[:, :, rows, columns], ((0,), (0,)))
                dx[:, :, rows, columns] += np.tensordot(d, self.W, ((1,), (0,)))
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p]


class ConvChannelsLast:
    """Kernels (height, width, in, out), as TensorFlow and Flax keep them."""

    def __init__(self, in_channels, out_channels, kernel_size):
        self.kernel = np.zeros((*kernel_size, in_channels, out_channels))
        self.bias = np.zeros(out_channels)

    def forward(self, x):
        self.x = x
        kh, kw = self.kernel.shape[:2]
        out = np.zeros((len(x), len(self.bias), x.shape[2] - kh + 1, x.shape[3] - kw + 1), x.dtype)
        for i in range(kh):
            for j in range(kw):
                moved = x[:, :, i : i + out.shape[2], j : j + out.shape[3]]
                out += np.einsum("nihw,io->nohw", moved, self.kernel[i, j])
        return out + self.bias[:, None, None]

    def backward(self, dout):
        dx = np.zeros_like(self.x)
        self.grad_kernel = np.zeros_like(self.kernel)
        self.grad_bias = dout.sum((0, 2, 3))
        height, width = dout.shape[2:]
        for i in range(self.kernel.shape[0]):
            for j in range(self.kernel.shape[1]):
                moved = self.x[:, :, i : i + height, j : j + width]
                self.grad_kernel[i, j] = np.einsum("nihw,nohw->io", moved, dout)
                dx[:, :, i : i + height, j : j + width] += np.einsum(
                    "nohw,io->nihw", dout, self.kernel[i, j]
                )
        return dx


class AveragePool:
    def __init__(self, pool_size=2, stride=None):
        self.p = pool_size
        self.s = stride or pool_size

    def forward(self, x):
        self.shape = x.shape
        p, s = self.p, self.s
        height, width = ((n - p) // s + 1 for n in x.shape[2:])
        out = np.zeros((*x.shape[:2], height, width), x.dtype)
        for i in range(height):
            for j in range(width):
                out[:, :, i, j] = x[:, :, i * s : i * s + p, j * s : j * s + p].mean((2, 3))
        return out

    def backward(self, dout):
        dx = np.zeros(self.shape, dout.dtype)
        p, s = self.p, self.s
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                share = dout[:, :, i, j][:, :, None, None] / p**2
                dx[:, :, i * s : i * s + p, j * s : j * s + p] += share
        return dx


class Step:
    """A recurrent step with one bias, its matrices (in, out), the hidden one square."""

    def __init__(self, input_size, hidden_size):
        self.Wxh = np.zeros((input_size, hidden_size))
        self.Whh = np.zeros((hidden_size, hidden_size))
        self.bh = np.zeros(hidden_size)

    def forward(self, x, h):
        self.x, self.h = x, h
        self.new = np.tanh(x @ self.Wxh + h @ self.Whh + self.bh)
        return self.new

    def backward(self, dh):
        d = dh * (1 - self.new**2)
        self.dWxh = self.x.T @ d
        self.dWhh = self.h.T @ d
        self.dbh = d.sum(0)
        return d @ self.Wxh.T, d @ self.Whh.T


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class GatesTogether:
    """An LSTM step with (in, 4 · hidden) and one bias."""

    def __init__(self, input_size, hidden_size):
        self.Wx = np.zeros((input_size, 4 * hidden_size))
        self.Wh = np.zeros((hidden_size, 4 * hidden_size))
        self.b = np.zeros(4 * hidden_size)

    def forward(self, x, h, c):
        i, f, g, o = np.split(x @ self.Wx + h @ self.Wh + self.b, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        new = f * c + i * g
        t = np.tanh(new)
        self.cache = x, h, c, i, f, g, o, t
        return o * t, new

    def backward(self, dh, dc):
        x, h, c, i, f, g, o, t = self.cache
        dc = dc + dh * o * (1 - t * t)
        da = np.hstack([
            dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o),
        ])  # fmt: skip
        self.dWx, self.dWh, self.db = x.T @ da, h.T @ da, da.sum(0)
        return da @ self.Wx.T, da @ self.Wh.T, dc * f


class GatesApart:
    """An LSTM step with arrays of its own for each gate, and one bias a gate."""

    def __init__(self, input_size, hidden_size):
        for gate in "ifco":
            setattr(self, f"W{gate}", np.zeros((input_size, hidden_size)))
            setattr(self, f"U{gate}", np.zeros((hidden_size, hidden_size)))
            setattr(self, f"b{gate}", np.zeros(hidden_size))

    def forward(self, x, h, c):
        self.x, self.h, self.c = x, h, c
        self.i = sigmoid(x @ self.Wi + h @ self.Ui + self.bi)
        self.f = sigmoid(x @ self.Wf + h @ self.Uf + self.bf)
        self.g = np.tanh(x @ self.Wc + h @ self.Uc + self.bc)
        self.o = sigmoid(x @ self.Wo + h @ self.Uo + self.bo)
        new = self.f * c + self.i * self.g
        self.t = np.tanh(new)
        return self.o * self.t, new

    def backward(self, dh, dc):
        dc = dc + dh * self.o * (1 - self.t**2)
        raw = {
            "i": dc * self.g * self.i * (1 - self.i),
            "f": dc * self.c * self.f * (1 - self.f),
            "c": dc * self.i * (1 - self.g**2),
            "o": dh * self.t * self.o * (1 - self.o),
        }
        dx, dh_before = 0, 0
        for gate, d in raw.items():
            setattr(self, f"dW{gate}", self.x.T @ d)
            setattr(self, f"dU{gate}", self.h.T @ d)
            setattr(self, f"db{gate}", d.sum(0))
            dx = dx + d @ getattr(self, f"W{gate}").T
            dh_before = dh_before + d @ getattr(self, f"U{gate}").T
        return dx, dh_before, dc * self.f


class Attention:
    """Four matrices (out, in), no weights returned, inputs (length, batch, features)."""

    def __init__(self, embed_dim, num_heads):
        self.heads = num_heads
        for name in "qkvo":
            setattr(self, f"W{name}", np.zeros((embed_dim, embed_dim)))
            setattr(self, f"b{name}", np.zeros(embed_dim))

    def split(self, x):
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2, 0, 3)

    def join(self, x):
        return x.transpose(2, 0, 1, 3).reshape(x.shape[2], x.shape[0], -1)

    def forward(self, query, key, value):
        self.given = {"q": query, "k": key, "v": value}
        self.parts = {
            n: self.split(x @ getattr(self, f"W{n}").T + getattr(self, f"b{n}"))
            for n, x in self.given.items()
        }
        q, k, v = self.parts.values()
        scores = q @ k.swapaxes(-1, -2) / float(np.sqrt(q.shape[-1]))
        e = np.exp(scores - scores.max(-1, keepdims=True))
        self.a = e / e.sum(-1, keepdims=True)
        self.out = self.join(self.a @ v)
        return self.out @ self.Wo.T + self.bo

    def backward(self, d):
        q, k, v = self.parts.values()
        self.dWo = np.einsum("lno,lni->oi", d, self.out)
        self.dbo = d.sum((0, 1))
        d = self.split(d @ self.Wo)
        da = d @ v.swapaxes(-1, -2)
        ds = self.a * (da - (da * self.a).sum(-1, keepdims=True)) / float(np.sqrt(q.shape[-1]))
        back = {"q": ds @ k, "k": ds.swapaxes(-1, -2) @ q, "v": self.a.swapaxes(-1, -2) @ d}
        result = []
        for n, g in back.items():
            g = self.join(g)
            setattr(self, f"dW{n}", np.einsum("lno,lni->oi", g, self.given[n]))
            setattr(self, f"db{n}", g.sum((0, 1)))
            result.append(g @ getattr(self, f"W{n}"))
        return tuple(result)


class Reshape:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dout):
        return dout.reshape(self.shape)


class Called:
    def __call__(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self.y

    def gradient(self, dy):
        return dy * self.y * (1 - self.y)


class Squares:
    def loss(self, prediction, target):
        self.d = prediction - target
        return (self.d**2).mean()

    def grad(self):
        return 2 * self.d / self.d.size


def tanh(x):
    return np.tanh(x)


def tanh_derivative(x):
    return 1 - np.tanh(x) ** 2


class AdamOfDictionaries:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps
        self.t, self.m, self.v = 0, {}, {}

    def update(self, params, grads):
        self.t += 1
        for key in params:
            m = self.m.get(key, 0) * self.beta1 + (1 - self.beta1) * grads[key]
            v = self.v.get(key, 0) * self.beta2 + (1 - self.beta2) * grads[key] ** 2
            self.m[key], self.v[key] = m, v
            m, v = m / (1 - self.beta1**self.t), v / (1 - self.beta2**self.t)
            params[key] -= self.lr * m / (np.sqrt(v) + self.eps)


def sgd_momentum(w, dw, config=None):
    config = config or {}
    config.setdefault("learning_rate", 1e-2)
    config.setdefault("momentum", 0.9)
    velocity = config.get("velocity", np.zeros_like(w))
    config["velocity"] = config["momentum"] * velocity + dw
    return w - config["learning_rate"] * config["velocity"], config


class DropoutWithMask:
    def __init__(self, p=0.5):
        self.p = p

    def forward(self, x, mask):
        kept = mask / (1 - self.p) if self.p < 1 else 0.0 * mask
        self.scaled = kept.astype(x.dtype)
        return x * self.scaled

    def backward(self, dout):
        return dout * self.scaled


class Huber:
    def __init__(self, delta=1.0):
        self.delta = delta

    def __call__(self, y_hat, y):
        self.e = y_hat - y
        a = np.abs(self.e)
        return np.where(a <= self.delta, 0.5 * a * a, self.delta * (a - 0.5 * self.delta)).mean()

    def backward(self):
        return np.clip(self.e, -self.delta, self.delta) / self.e.size


class RootMeanSquare:
    def __init__(self, dim, eps=1e-6):
        self.scale = np.ones(dim)
        self.eps = eps

    def forward(self, x):
        self.x = x
        self.r = np.sqrt((x**2).mean(-1, keepdims=True) + self.eps)
        return x / self.r * self.scale

    def backward(self, g):
        self.dscale = (g * self.x / self.r).sum(tuple(range(g.ndim - 1)))
        h = g * self.scale
        return h / self.r - self.x * (h * self.x).mean(-1, keepdims=True) / self.r**3


class Table:
    def __init__(self, vocabulary, dim):
        self.E = np.random.randn(vocabulary, dim)

    def forward(self, index):
        self.index = index
        return self.E[index]

    def backward(self, dout):
        self.dE = np.zeros_like(self.E)
        np.add.at(self.dE, self.index, dout)


def softmax_loss(scores, y):
    shifted = scores - scores.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    n = len(scores)
    d = np.exp(logs)
    d[np.arange(n), y] -= 1
    return -logs[np.arange(n), y].mean(), d / n


def affine_forward(x, w, b):
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, b = cache
    return dout @ w.T, x.T @ dout, dout.sum(0)


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    new = np.tanh(x @ Wx + prev_h @ Wh + b)
    return new, (x, prev_h, Wx, Wh, new)


def rnn_step_backward(dnext_h, cache):
    x, h, Wx, Wh, new = cache
    d = dnext_h * (1 - new * new)
    return d @ Wx.T, d @ Wh.T, x.T @ d, h.T @ d, d.sum(0)


def conv_forward(x, w, b, conv_param):
    layer = ConvOfOneNumber(
        w.shape[1], w.shape[0], w.shape[2], conv_param["stride"], conv_param["pad"]
    )
    layer.W, layer.b = w, b
    return layer.forward(x), layer


def conv_backward(dout, cache):
    dx = cache.backward(dout)
    return dx, cache.dW, cache.db
