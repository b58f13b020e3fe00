import numpy as np


class Linear:
    def __init__(self, n, m):
        self.weights = 0.1 * np.random.randn(n, m)
        self.biases = np.zeros((1, m))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = dvalues @ self.weights.T


class MSE:
    def forward(self):
        self.output = np.sum((self.prediction - self.target) ** 2)

    def backward(self):
        self.dprediction = 2 * (self.prediction - self.target)
