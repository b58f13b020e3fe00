import numpy as np


def unbroadcast(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for axis, n in enumerate(shape):
        if n == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


class Tensor:
    def __init__(self, data, parents=(), pull=None):
        self.data = np.asarray(data)
        self.grad = np.zeros_like(self.data)
        self.parents, self.pull = parents, pull

    def __add__(self, other):
        out = Tensor(self.data + other.data, (self, other))

        def pull():
            self.grad = self.grad + unbroadcast(out.grad, self.data.shape)
            other.grad = other.grad + unbroadcast(out.grad, other.data.shape)

        out.pull = pull
        return out

    def __sub__(self, other):
        return self + other * Tensor(-1.0)

    def __mul__(self, other):
        out = Tensor(self.data * other.data, (self, other))

        def pull():
            self.grad = self.grad + unbroadcast(out.grad * other.data, self.data.shape)
            other.grad = other.grad + unbroadcast(out.grad * self.data, other.data.shape)

        out.pull = pull
        return out

    def __matmul__(self, other):
        out = Tensor(self.data @ other.data, (self, other))

        def pull():
            self.grad = self.grad + out.grad @ other.data.T
            other.grad = other.grad + self.data.T @ out.grad

        out.pull = pull
        return out

    def sum(self):
        out = Tensor(self.data.sum(), (self,))

        def pull():
            self.grad = self.grad + out.grad * np.ones_like(self.data)

        out.pull = pull
        return out

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.data)
        for node in reversed(order):
            if node.pull:
                node.pull()


class Linear:
    def __init__(self, n, m):
        self.W = Tensor(0.1 * np.random.randn(n, m))
        self.b = Tensor(np.zeros(m))

    def __call__(self, x):
        return x @ self.W + self.b


class MSE:
    def __call__(self, prediction, target):
        d = prediction - target
        return (d * d).sum()
