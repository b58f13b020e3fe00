import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Net:
    def __init__(self, n_in, n_hidden, n_out):
        self.params = {
            "W1": 0.1 * np.random.randn(n_in, n_hidden),
            "b1": np.zeros(n_hidden),
            "W2": 0.1 * np.random.randn(n_hidden, n_out),
            "b2": np.zeros(n_out),
        }

    def loss(self, X, y):
        p = self.params
        h = sigmoid(X @ p["W1"] + p["b1"])
        s = sigmoid(h @ p["W2"] + p["b2"])
        loss = np.sum((s - y) ** 2)
        ds = 2 * (s - y) * s * (1 - s)
        dh = ds @ p["W2"].T * h * (1 - h)
        grads = {"W2": h.T @ ds, "b2": ds.sum(axis=0)}
        grads["W1"] = X.T @ dh
        grads["b1"] = dh.sum(axis=0)
        return loss, grads
