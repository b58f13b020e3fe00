import numpy as np


class Linear:
    def __init__(self, n, m):
        self.weights = 0.1 * np.random.randn(n, m)
        self.bias = np.zeros(m)
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_bias = np.zeros_like(self.bias)

    def forward(self, x):
        return np.dot(x, self.weights) + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = np.dot(x.T, grad_output)
        self.grad_bias = np.sum(grad_output, axis=0)
        return np.dot(grad_output, self.weights.T)


class MSE:
    def forward(self, prediction, target):
        return np.sum(np.square(prediction - target))

    def backward(self, prediction, target):
        return 2 * (prediction - target)
