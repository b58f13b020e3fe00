"""The notebook's exercise in many hands: right in sixteen, wrong in the ways that people are wrong.

Each entry of `RIGHT` is a whole submission. Each of `WRONG` is one of them with one change, and what the
quantities come to that are not right then; the numbers in brackets count the kinds of mistake.
"""

LOSS = """
class nn_MSECriterion:
    def forward(self, prediction, target):
        return np.sum(np.square(prediction - target))

    def backward(self, prediction, target):
        return 2 * (prediction - target)
"""

SIGMOID = """
class nn_Sigmoid:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        return np.multiply(self.forward(x) * (1 - self.forward(x)), grad_output)
"""

LINEAR = """
class nn_Linear:
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size) * 0.01
        self.bias = np.random.randn(output_size)
        self.grad_weights = np.zeros_like(self.weights) * 0.01
        self.grad_bias = np.zeros_like(self.bias)

    def forward(self, x):
        return np.dot(x, self.weights) + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = np.dot(x.T, grad_output)
        self.grad_bias = np.sum(grad_output, axis=0)
        return np.dot(grad_output, self.weights.T)

    def get_params(self):
        return [self.weights, self.bias], [self.grad_weights, self.grad_bias]
"""

IMPORT = "import numpy as np\n"

RIGHT = {
    "lecture": IMPORT + LINEAR + SIGMOID + LOSS,
    "einsum": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    def __init__(self, i, o):
        self.weights, self.bias = np.zeros((i, o)), np.zeros(o)

    def forward(self, x):
        return np.einsum("ni,io->no", x, self.weights) + self.bias[None, :]

    def backward(self, x, grad_output):
        self.grad_weights = np.einsum("ni,no->io", x, grad_output)
        self.grad_bias = np.einsum("no->o", grad_output)
        return np.einsum("no,io->ni", grad_output, self.weights)
""",
    "loops": IMPORT + SIGMOID + """
class nn_Linear:
    def __init__(self, n_in, n_out):
        self.n_in = n_in
        self.n_out = n_out
        self.weights = np.ones((n_in, n_out))
        self.bias = np.ones(n_out)

    def forward(self, x):
        result = np.zeros((x.shape[0], self.n_out))
        for n in range(x.shape[0]):
            for j in range(self.n_out):
                total = self.bias[j]
                for i in range(self.n_in):
                    total += x[n][i] * self.weights[i][j]
                result[n][j] = total
        return result

    def backward(self, x, grad_output):
        self.grad_weights = np.zeros((self.n_in, self.n_out))
        self.grad_bias = np.zeros(self.n_out)
        grad = np.zeros(x.shape)
        for n in range(x.shape[0]):
            for j in range(self.n_out):
                self.grad_bias[j] += grad_output[n][j]
                for i in range(self.n_in):
                    self.grad_weights[i][j] += x[n][i] * grad_output[n][j]
                    grad[n][i] += grad_output[n][j] * self.weights[i][j]
        return grad


class nn_MSECriterion:
    def forward(self, prediction, target):
        total = 0.0
        for p, t in zip(prediction.ravel(), target.ravel()):
            total += (p - t) ** 2
        return total

    def backward(self, prediction, target):
        return np.array([[2 * (p - t) for p, t in zip(a, b)] for a, b in zip(prediction, target)])
""",
    "base class": IMPORT + """
class Module:
    def __init__(self):
        self.training = True

    def __call__(self, *arguments):
        return self.forward(*arguments)


class nn_Linear(Module):
    def __init__(self, input_size, output_size):
        super().__init__()
        bound = 1 / np.sqrt(input_size)
        self.weights = np.random.uniform(-bound, bound, (input_size, output_size))
        self.bias = np.zeros(output_size)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = x.T @ grad_output
        self.grad_bias = grad_output.sum(0)
        return grad_output @ self.weights.T


class nn_Sigmoid(Module):
    def forward(self, x):
        return 1.0 / (1.0 + np.exp(-x))

    def backward(self, x, grad_output):
        s = self(x)
        return grad_output * s * (1 - s)


class nn_MSECriterion(Module):
    def forward(self, prediction, target):
        return ((prediction - target) ** 2).sum()

    def backward(self, prediction, target):
        return 2.0 * prediction - 2.0 * target
""",
    "dataclass": "from dataclasses import dataclass, field\n" + IMPORT + SIGMOID + LOSS + """
@dataclass
class nn_Linear:
    input_size: int
    output_size: int
    weights: np.ndarray = field(init=False)
    bias: np.ndarray = field(init=False)

    def __post_init__(self):
        self.weights = np.random.randn(self.input_size, self.output_size)
        self.bias = np.random.randn(self.output_size)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x.dot(self.weights) + self.bias

    def backward(self, x: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        self.grad_weights = x.T.dot(grad_output)
        self.grad_bias = grad_output.sum(axis=0)
        return grad_output.dot(self.weights.T)
""",
    "slots": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    __slots__ = ("weights", "bias", "grad_weights", "grad_bias")

    def __init__(self, a, b):
        self.weights = np.random.randn(a, b)
        self.bias = np.random.randn(b)

    def forward(self, x):
        return np.matmul(x, self.weights) + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = np.matmul(np.transpose(x), grad_output)
        self.grad_bias = np.ones(len(x)) @ grad_output
        return np.matmul(grad_output, np.transpose(self.weights))
""",
    "cached": IMPORT + """
class nn_Linear:
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size)
        self.bias = np.zeros(output_size)

    def forward(self, x):
        self.last = x
        return self.last @ self.weights + self.bias

    def backward(self, grad_output):
        self.grad_weights = self.last.T @ grad_output
        self.grad_bias = grad_output.sum(axis=0)
        return grad_output @ self.weights.T


class nn_Sigmoid:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, grad_output):
        return grad_output * self.out * (1 - self.out)


class nn_MSECriterion:
    def forward(self, prediction, target):
        self.diff = prediction - target
        return np.sum(self.diff**2)

    def backward(self):
        return 2 * self.diff
""",
    "attributes": IMPORT + """
class nn_Linear:
    def __init__(self, n_inputs, n_neurons):
        self.weights = 0.01 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)


class nn_Sigmoid:
    def forward(self, inputs):
        self.inputs = inputs
        self.output = 1 / (1 + np.exp(-inputs))

    def backward(self, dvalues):
        self.dinputs = dvalues * (1 - self.output) * self.output
""" + LOSS,
    "short names": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    def __init__(self, n, m):
        self.W = np.random.randn(n, m) / np.sqrt(n)
        self.b = np.zeros(m)

    def forward(self, x):
        return x @ self.W + self.b

    def backward(self, x, dout):
        self.dW = x.T @ dout
        self.db = np.sum(dout, 0)
        return dout @ self.W.T
""",
    "upstream first": IMPORT + LOSS + """
class nn_Linear:
    def __init__(self, n, m):
        self.weights = np.random.randn(n, m)
        self.bias = np.zeros(m)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, grad_output, x):
        self.grad_weights = x.T @ grad_output
        self.grad_bias = grad_output.sum(axis=0)
        return grad_output @ self.weights.T


class nn_Sigmoid:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, dout, x):
        return dout * self.forward(x) * (1 - self.forward(x))
""",
    "dictionary": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    def __init__(self, n, m):
        self.params = {"weights": np.random.randn(n, m), "bias": np.zeros(m)}
        self.grads = {}

    def forward(self, x):
        return x @ self.params["weights"] + self.params["bias"]

    def backward(self, x, grad_output):
        self.grads["weights"] = x.T @ grad_output
        self.grads["bias"] = grad_output.sum(axis=0)
        return grad_output @ self.params["weights"].T
""",
    "lists": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    def __init__(self, n, m):
        self.weights = np.random.randn(n, m)
        self.bias = np.zeros(m)
        self.params = [self.weights, self.bias]
        self.grads = [None, None]

    def forward(self, x):
        W, b = self.params
        return x @ W + b

    def backward(self, x, grad_output):
        self.grads = [x.T @ grad_output, grad_output.sum(axis=0)]
        return grad_output @ self.params[0].T
""",
    "stable sigmoid": IMPORT + LINEAR + LOSS + """
class nn_Sigmoid:
    def forward(self, x):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e))

    def backward(self, x, grad_output):
        s = self.forward(x)
        return (s - s**2) * grad_output
""",
    "tanh": IMPORT + LINEAR + LOSS + """
class nn_Sigmoid:
    def forward(self, x):
        return 0.5 * (1 + np.tanh(x / 2))

    def backward(self, x, grad_output):
        return 0.25 * (1 - np.tanh(x / 2) ** 2) * grad_output
""",
    "helpers": "import numpy\n" + """
def sigmoid(z): return 1 / (1 + numpy.exp(-z))
def outer(a, b): return numpy.outer(a, b)

class nn_Sigmoid:
    forward = staticmethod(sigmoid)
    @staticmethod
    def backward(x, grad_output): return sigmoid(x) * sigmoid(-x) * grad_output

class nn_Linear:
    def __init__(self, d_in, d_out):
        self.weights = numpy.random.standard_normal((d_in, d_out))
        self.bias = numpy.random.standard_normal((d_out,))
    def forward(self, x): return (self.weights.T @ x.T).T + self.bias
    def backward(self, x, grad_output):
        self.grad_weights = sum(outer(a, g) for a, g in zip(x, grad_output))
        self.grad_bias = sum(g for g in grad_output)
        return (self.weights @ grad_output.T).T

class nn_MSECriterion:
    def forward(self, prediction, target):
        d = (prediction - target).ravel()
        return d @ d
    def backward(self, prediction, target): return -2 * (target - prediction)
""",
    "unicode": IMPORT + SIGMOID + """
# Линейный слой: 权重 und Gradienten
class nn_Linear:
    def __init__(self, größe, länge):
        self.weights = np.random.randn(größe, länge)
        self.bias = np.random.randn(länge)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        δ = grad_output
        self.grad_weights, self.grad_bias = x.T @ δ, δ.sum(axis=0)
        return δ @ self.weights.T


class nn_MSECriterion:
    def forward(self, prediction, target):
        return float(np.linalg.norm(prediction - target) ** 2)

    def backward(self, prediction, target):
        return 2 * prediction - 2 * target
""",
    "column bias": IMPORT + SIGMOID + LOSS + """
class nn_Linear:
    def __init__(self, n, m):
        self.weights = np.random.randn(n, m)
        self.bias = np.random.randn(1, m)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = x.T @ grad_output
        self.grad_bias = grad_output.sum(axis=0, keepdims=True)
        return grad_output @ self.weights.T
""",
}  # fmt: skip

ALL_OF_LINEAR = ("output", "grad_x", "grad_weights", "grad_bias", "contract")


def of(item, *quantities, status="wrong"):
    return {(item, quantity): status for quantity in quantities}


L, S, M = "nn_Linear", "nn_Sigmoid", "nn_MSECriterion"
SUM = "np.sum(grad_output, axis=0)"

#: What is wrong → (the submission that is changed, old text, new text, what is not right then).
WRONG = {
    "as printed in the lecture: bias not summed [23]": ("lecture", SUM, "np.copy(grad_output)", of(L, "grad_bias")),
    "bias mean, weights sum [9]": ("lecture", SUM, "np.mean(grad_output, axis=0)", of(L, "grad_bias")),
    "bias keeps an axis [24]": ("lecture", SUM, "np.sum(grad_output, axis=0, keepdims=True)", of(L, "grad_bias")),
    "bias over the wrong axis [27]": ("lecture", SUM, "np.sum(grad_output, axis=1)", of(L, "grad_bias")),
    "bias summed to one number": ("lecture", SUM, "np.sum(grad_output)", of(L, "grad_bias")),
    "1/N in the layer [6]": (
        "short names", "x.T @ dout\n        self.db = np.sum(dout, 0)", "x.T @ dout / len(x)\n        self.db = np.mean(dout, 0)",
        of(L, "grad_weights", "grad_bias", status="convention-mismatch")),
    "1/N in dW alone [7]": ("lecture", "np.dot(x.T, grad_output)", "np.dot(x.T, grad_output) / len(x)", of(L, "grad_weights")),
    "dW transposed [15]": ("lecture", "np.dot(x.T, grad_output)", "np.dot(grad_output.T, x)", of(L, "grad_weights")),
    "dX by the gradient of the weights [14]": ("lecture", "np.dot(grad_output, self.weights.T)", "np.dot(grad_output, self.grad_weights.T)", of(L, "grad_x")),
    "* for dot [16]": ("lecture", "np.dot(grad_output, self.weights.T)", "grad_output * self.weights.T",
                       of(L, "grad_x", "grad_weights", "grad_bias", status="raised")),
    "dX returned transposed": ("lecture", "return np.dot(grad_output, self.weights.T)", "return np.dot(self.weights, grad_output.T)", of(L, "grad_x")),
    "upstream ignored [54]": ("lecture", "np.dot(x.T, grad_output)", "np.dot(x.T, np.ones_like(grad_output))", of(L, "grad_weights")),
    "weight decay in dW [13]": ("lecture", "np.dot(x.T, grad_output)", "np.dot(x.T, grad_output) + 0.01 * self.weights", of(L, "grad_weights")),
    "accumulates [51]": ("lecture", "self.grad_weights = np.dot(", "self.grad_weights += np.dot(", of(L, "contract", status="convention-mismatch")),
    "clips [53]": ("lecture", "return np.dot(grad_output, self.weights.T)", "return np.clip(np.dot(grad_output, self.weights.T), -0.5, 0.5)", of(L, "grad_x")),
    "forward without bias": ("lecture", "np.dot(x, self.weights) + self.bias", "np.dot(x, self.weights)",
                             of(L, "output") | of(L, "grad_bias", status="follows")),
    "bias subtracted, consistently": (
        "short names", "x @ self.W + self.b", "x @ self.W - self.b", of(L, "output") | of(L, "grad_bias", status="follows")),
    "float32 buffer [55]": ("loops", "grad = np.zeros(x.shape)", "grad = np.zeros(x.shape, np.float32)", of(L, "grad_x")),
    "dW twice too large": ("loops", "self.grad_weights[i][j] += x", "self.grad_weights[i][j] += 2 * x", of(L, "grad_weights")),
    "last sample only": ("loops", "self.grad_bias[j] += ", "self.grad_bias[j] = ", of(L, "grad_bias")),
    "upstream changed in place [49]": (
        "lecture", "return np.dot(grad_output, self.weights.T)", "grad_output *= 1.5\n        return np.dot(grad_output, self.weights.T)",
        of(L, "grad_x", "contract")),
    "gradient never stored [48]": ("dictionary", 'self.grads["bias"] = ', "unused = ", of(L, "grad_bias", status="missing")),
    "stale cache [52]": ("cached", "self.last = x\n", "self.last = getattr(self, 'last', x)\n", of(L, "contract") | of(L, "grad_x", status="follows")),
    "misspelt variable [21]": ("lecture", SUM, "np.sum(grad_ouput, axis=0)", of(L, "grad_x", "grad_weights", "grad_bias", status="raised")),
    "sign lost in the sigmoid [19]": ("lecture", "np.exp(-x)", "np.exp(x)", of(S, "output") | of(S, "grad_x", status="follows")),
    "derivative at the output [18]": ("base class", "s = self(x)", "s = self(self(x))", of(S, "grad_x")),
    "1 - s² [17]": ("base class", "grad_output * s * (1 - s)", "grad_output * (1 - s**2)", of(S, "grad_x")),
    "sigmoid ignores upstream [54]": ("cached", "return grad_output * self.out", "return self.out", of(S, "grad_x")),
    "sigmoid overflows [57]": ("lecture", "1 / (1 + np.exp(-x))", "np.exp(x) / (1 + np.exp(x))", of(S, "output", "grad_x")),
    "input changed in place [50]": ("attributes", "self.output = 1 / (1 + np.exp(-inputs))", "inputs *= -1\n        self.output = 1 / (1 + np.exp(inputs))", of(S, "contract")),
    "sigmoid returns nothing": ("lecture", "return np.multiply(", "np.multiply(", of(S, "grad_x", status="missing")),
    "factor 2 missing [1]": ("lecture", "return 2 * (prediction", "return (prediction", of(M, "grad_prediction")),
    "sign flipped [20]": ("lecture", "2 * (prediction - target)", "2 * (target - prediction)", of(M, "grad_prediction")),
    "mean in both [2]": (
        "base class", "((prediction - target) ** 2).sum()\n\n    def backward(self, prediction, target):\n        return 2.0 * prediction - 2.0 * target",
        "((prediction - target) ** 2).mean()\n\n    def backward(self, prediction, target):\n        return (2.0 * prediction - 2.0 * target) / prediction.size",
        of(M, "output", "grad_prediction", status="convention-mismatch")),
    "half in both": (
        "lecture", "np.sum(np.square(prediction - target))\n\n    def backward(self, prediction, target):\n        return 2 * ",
        "np.sum(np.square(prediction - target)) / 2\n\n    def backward(self, prediction, target):\n        return ",
        of(M, "output", "grad_prediction", status="convention-mismatch")),
    "mean in the forward alone": ("lecture", "np.sum(np.square", "np.mean(np.square", of(M, "output") | of(M, "grad_prediction", status="follows")),
    "times N [5]": ("lecture", "return 2 * (prediction", "return len(target) * 2 * (prediction", of(M, "grad_prediction")),
    "divided by the features [3]": ("lecture", "return 2 * (prediction - target)", "return 2 * (prediction - target) / target.shape[1]", of(M, "grad_prediction")),
    "absolute value": ("lecture", "np.square(prediction - target)", "np.abs(prediction - target)", of(M, "output") | of(M, "grad_prediction", status="follows")),
    "prints in the hot path [61]": ("lecture", "return np.dot(x, self.weights)", "print('forward', x)\n        return np.dot(x, self.weights)", {}),
}  # fmt: skip
