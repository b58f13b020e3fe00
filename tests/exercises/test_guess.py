"""Code between the styles: what signatures alone leave open, right and with one mistake in it."""

import pytest
from standin import judged, statuses

from crosscheck.exercises import load

INIT = """
import numpy as np

class L:
    def __init__(self, n, m):
        self.W, self.b = np.zeros((n, m)), np.zeros(m)
"""

#: what it is → (the convention that is to be guessed, the code).
CODE = {
    "a class whose forward returns a cache": ("functions_with_cache", INIT + """
    def forward(self, x):
        return x @ self.W + self.b, x

    def backward(self, dout, cache):
        self.dW, self.db = cache.T @ dout, dout.sum(0)
        return dout @ self.W.T
"""),
    "a class that returns all gradients": ("functions_with_cache", INIT + """
    def forward(self, x):
        return x @ self.W + self.b, x

    def backward(self, dout, cache):
        return dout @ self.W.T, cache.T @ dout, dout.sum(0)
"""),
    "whatever it is given": ("notebook", INIT + """
    def forward(self, x):
        return x @ self.W + self.b

    def backward(self, x, *rest):
        (dout,) = rest
        self.dW, self.db = x.T @ dout, dout.sum(0)
        return dout @ self.W.T
"""),
    "a flag for training": ("cached", INIT + """
    def forward(self, x, training=True):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout, training=True):
        self.dW, self.db = self.x.T @ dout, dout.sum(0)
        return dout @ self.W.T
"""),
    "a learning rate in the constructor": ("updating", """
class L:
    def __init__(self, n, m, lr=0.1):
        self.W, self.b, self.lr = np.zeros((n, m)), np.zeros(m), lr

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        dx = dout @ self.W.T
        self.W = self.W - self.lr * self.x.T @ dout
        self.b = self.b - self.lr * dout.sum(0)
        return dx
"""),
    "columns that are updated": ("columns", """
class L:
    def __init__(self, n, m):
        self.weights, self.bias = np.zeros((m, n)), np.zeros((m, 1))

    def forward(self, input):
        self.input = input
        return np.dot(self.weights, self.input) + self.bias

    def backward(self, output_gradient, learning_rate):
        gradient = np.dot(self.weights.T, output_gradient)
        self.weights -= learning_rate * np.dot(output_gradient, self.input.T)
        self.bias -= learning_rate * output_gradient.T.sum(0)[:, None]
        return gradient
"""),
    "all gradients are attributes": ("cached", INIT + """
    def forward(self, X):
        self.X = X
        return X.dot(self.W) + self.b

    def backward(self, dZ):
        self.dW, self.db, self.dX = self.X.T.dot(dZ), dZ.sum(0), dZ.dot(self.W.T)
"""),
    "parameters as objects": ("cached", """
class Parameter:
    def __init__(self, data):
        self.data, self.grad = data, np.zeros_like(data)

class L:
    def __init__(self, n, m):
        self.weight, self.bias = Parameter(np.zeros((n, m))), Parameter(np.zeros(m))

    def forward(self, x):
        self.x = x
        return x @ self.weight.data + self.bias.data

    def backward(self, g):
        self.weight.grad, self.bias.grad = self.x.T @ g, g.sum(0)
        return g @ self.weight.data.T
"""),
    "the upstream gradient may be left out": ("notebook", INIT + """
    def forward(self, x):
        return x @ self.W + self.b

    def backward(self, x, grad_output=None):
        self.dW, self.db = x.T @ grad_output, grad_output.sum(0)
        return grad_output @ self.W.T
"""),
    "weights as (out, in)": ("cached", """
class L:
    def __init__(self, n, m):
        self.weight, self.bias = np.zeros((m, n)), np.zeros(m)

    def forward(self, x):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, g):
        self.grad_weight, self.grad_bias = g.T @ self.x, g.sum(0)
        return g @ self.weight
"""),
}  # fmt: skip


@pytest.mark.parametrize("what", CODE)
def test_right_and_wrong(tmp_path, what):
    (tmp_path / "exercise.toml").write_text("[[items]]\nlayer = 'Linear'\nname = 'L'\n")
    exercise = load(tmp_path)
    convention, text = CODE[what]
    text = "import numpy as np\n" + text
    result = judged(exercise, text)
    wanted = dict.fromkeys(exercise.items[0].points, "right")
    if "(out, in)" in what:
        wanted["contract"] = "convention-mismatch"
    assert statuses(result) == {"L": wanted}
    said = [n for n in result.items[0].notes if n.startswith("called")]
    assert (said == []) if convention == "notebook" else (f"{convention!r}" in said[0])
    assert ".sum(0)" in text
    found = statuses(judged(exercise, text.replace(".sum(0)", ".mean(0)")))
    assert found == {"L": wanted | {"grad_bias": "wrong"}}


def test_two_functions_without_a_cache(tmp_path):
    (tmp_path / "exercise.toml").write_text("[[items]]\nlayer = 'Linear'\nname = ['f', 'b']\n")
    exercise = load(tmp_path)
    for text in (
        "def f(x, w, b): return x @ w + b\n"
        "def b(x, w, b, dout): return dout @ w.T, x.T @ dout, dout.sum(0)\n",
        "def f(X, params): return X @ params['W'] + params['b']\n"
        "def b(dout, X, params):\n"
        "    return {'W': X.T @ dout, 'b': dout.sum(0), 'X': dout @ params['W'].T}\n",
    ):
        right = statuses(judged(exercise, text))["f and b"]
        assert right == dict.fromkeys(right, "right")
        wrong = statuses(judged(exercise, text.replace("dout.sum(0)", "2 * dout.sum(0)")))
        assert wrong["f and b"] == right | {"grad_bias": "wrong"}
