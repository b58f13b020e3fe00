# %% [markdown]
# # Backpropagation, checked
#
# Three layers are written by hand: an affine map, a sigmoid, and a sum of squared errors. Each has
# a `forward`, and a `backward` that turns the gradient of its output into the gradient of its
# input. Are they right? Four witnesses say so: the hand-written code, PyTorch, JAX, and numeric
# differentiation.

# %%
import numpy as np

import crosscheck


class Linear:
    """y = x W + b."""

    def __init__(self, in_features, out_features):
        rng = np.random.default_rng(0)
        self.weights = 0.01 * rng.standard_normal((in_features, out_features))
        self.bias = rng.standard_normal(out_features)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = x.T @ grad_output
        self.grad_bias = grad_output.sum(axis=0)  # every sample used the bias
        return grad_output @ self.weights.T


class Sigmoid:
    """y = 1 / (1 + exp(-x))."""

    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        y = self.forward(x)
        return grad_output * y * (1 - y)


class SquaredError:
    """The sum of squared differences: not their mean."""

    def forward(self, prediction, target):
        return np.sum((prediction - target) ** 2)

    def backward(self, prediction, target):
        return 2 * (prediction - target)


# %% [markdown]
# ## A full pass
#
# One sample of four features, three targets: forward through the three layers, then backward.

# %%
x = np.array([[1.0, 2.0, 2.0, 3.0]])
y = np.array([[0.25, 0.25, 0.25]])
linear, sigmoid, loss = Linear(4, 3), Sigmoid(), SquaredError()

logits = linear.forward(x)
prediction = sigmoid.forward(logits)
print("loss:", loss.forward(prediction, y))

grad_prediction = loss.backward(prediction, y)
grad_logits = sigmoid.backward(logits, grad_prediction)
grad_x = linear.backward(x, grad_logits)
print("gradient of the input:", grad_x)

# %% [markdown]
# ## Each layer on its own
#
# One line per layer. Shapes, weights and upstream gradients are drawn at random: no two sizes are
# equal, so that a transposed matrix cannot hide, and one size at a time is 1. The loss is a sum,
# which the options declare.

# %%
print(crosscheck.check("Linear", Linear, options={}))
print(crosscheck.check("Sigmoid", Sigmoid))
print(crosscheck.check("MSELoss", SquaredError, options={"reduction": "sum"}))

# %% [markdown]
# ## The two-layer network
#
# Four inputs, five hidden units, three outputs: the gradients of all four parameters and of the
# input, each by all four witnesses; for one sample and for a batch.

# %%
network = crosscheck.network(
    "Linear", "Sigmoid", "Linear", "Sigmoid", ("MSELoss", {"reduction": "sum"}), name="TwoLayers"
)
layers = [Linear, Sigmoid, Linear, Sigmoid, SquaredError]
for batch in (1, 8):
    sizes = {"batch": batch, "in_features": 4, "out_features": 5, "out_features_2": 3}
    report = crosscheck.check(network, layers, sizes=sizes)
    print(report)

# %% [markdown]
# ## A mistake, and what it looks like
#
# The bias is added to every sample, so its gradient is a sum over the samples. A common mistake is
# to pass the upstream gradient on as it is. With one sample all the *numbers* are right, and a
# comparison that broadcasts lets it pass.


# %%
class ForgetfulLinear(Linear):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = np.copy(grad_output)
        return grad_x


for batch in (1, 8):
    report = crosscheck.check("Linear", ForgetfulLinear, options={}, sizes={"batch": batch})
    print(report)

# %% [markdown]
# ## Two tables from a lecture
#
# The exercise this retells printed an analytic and a numeric gradient of one Linear(4→3), a sigmoid
# and a sum of squares, without the weights. The analytic table has rank one, which gives the logits;
# any weights with these logits give the same tables. The numeric one is a forward difference of
# step 1e-4, and its error against the analytic one is that method's, not anybody's mistake.

# %%
x = np.array([[2.34, 3.8, 34.44, 5.33]])
y = np.array([[3.2, 4.2, 5.3]])
wanted_logits = np.array([-0.23279385001991, -1.77908060092602, 1.35588950693536])

linear, sigmoid, loss = Linear(4, 3), Sigmoid(), SquaredError()
linear.bias = wanted_logits - (x @ linear.weights)[0]


def loss_with(weights):
    kept, linear.weights = linear.weights, weights
    value = loss.forward(sigmoid.forward(linear.forward(x)), y)
    linear.weights = kept
    return value


logits = linear.forward(x)
prediction = sigmoid.forward(logits)
linear.backward(x, sigmoid.backward(logits, loss.backward(prediction, y)))
analytic = linear.grad_weights

numeric = np.zeros_like(linear.weights)
for index in np.ndindex(numeric.shape):
    shifted = linear.weights.copy()
    shifted[index] += 1e-4
    numeric[index] = (loss_with(shifted) - loss_with(linear.weights)) / 1e-4

with np.printoptions(precision=8, suppress=True):
    print("analytic:", analytic, "forward difference:", numeric, sep="\n")
print("the forward difference is off by", np.max(np.abs(numeric / analytic - 1)))
