import numpy as np


def linear_forward(A_prev, parameters):
    W, b = parameters["W1"], parameters["b1"]
    Z = np.dot(W, A_prev) + b
    return Z, {"A_prev": A_prev, "Z": Z}


def linear_backward(dZ, parameters, cache):
    A_prev = cache["A_prev"]
    dW = np.dot(dZ, A_prev.T)
    db = np.sum(dZ, axis=1, keepdims=True)
    dA_prev = np.dot(parameters["W1"].T, dZ)
    return {"dW1": dW, "db1": db, "dA_prev": dA_prev}


def mse_forward(AL, Y):
    return np.sum((AL - Y) ** 2)


def mse_backward(AL, Y):
    return {"dAL": 2 * (AL - Y)}
