"""A solution: the teacher's, to test the exercise with."""

import numpy as np


class nn_MSECriterion:
    def forward(self, prediction, target):
        return np.sum(np.square(prediction - target))

    def backward(self, prediction, target):
        return 2 * (prediction - target)


class nn_Sigmoid:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        y = self.forward(x)
        return y * (1 - y) * grad_output


class nn_Linear:
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size) * 0.01
        self.bias = np.random.randn(output_size)
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_bias = np.zeros_like(self.bias)

    def forward(self, x):
        return np.dot(x, self.weights) + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = np.dot(x.T, grad_output)
        self.grad_bias = np.sum(grad_output, axis=0)
        return np.dot(grad_output, self.weights.T)

    def get_params(self):
        return [self.weights, self.bias], [self.grad_weights, self.grad_bias]
