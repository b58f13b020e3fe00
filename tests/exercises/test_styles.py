"""Eight styles: code that is right in each, and wrong in at least six ways, judged in every quantity.

The convention is not stated: it is guessed, and the guess is tested too.
"""

from functools import cache
from pathlib import Path

import pytest
from standin import judged, statuses

from crosscheck.exercises import load

STYLES = Path(__file__).parent / "styles"

#: style → the names of the linear layer and of the loss.
NAMES = {
    "notebook": ('"Linear"', '"MSE"'),
    "cached": ('"Linear"', '"MSE"'),
    "functions_with_cache": ('["linear_forward", "linear_backward"]', '["mse_forward", "mse_backward"]'),
    "columns": ('["linear_forward", "linear_backward"]', '["mse_forward", "mse_backward"]'),
    "attributes": ('"Linear"', '"MSE"'),
    "updating": ('"Linear"', '"MSE"'),
    "tape": ('"Linear"', '"MSE"'),
}  # fmt: skip


@pytest.fixture(scope="module")
def exercise(tmp_path_factory):
    @cache
    def made(style):
        folder = tmp_path_factory.mktemp(style)
        if style == "whole_network":
            text = """
[[items]]
layer = ["Linear", "Sigmoid", "Linear", "Sigmoid", { layer = "MSELoss", reduction = "sum" }]
name = "Net"
title = "net"
gradients = ["0.weights", "0.bias", "2.weights", "2.bias"]
"""
        else:
            linear, loss = NAMES[style]
            text = f"""
[[items]]
layer = "Linear"
name = {linear}
title = "linear"
[[items]]
layer = "MSELoss"
name = {loss}
title = "loss"
options = {{ reduction = "sum" }}
"""
        (folder / "exercise.toml").write_text(text)
        return load(folder)

    return made


def right(style):
    return (STYLES / f"{style}_style.py").read_text()


NET = ("grad_0.weights", "grad_0.bias", "grad_2.weights", "grad_2.bias")

#: style → (what is wrong, old text, new text, what it comes to where that is not "right").
WRONG = {
    "notebook": [
        ("bias not summed", "np.sum(grad_output, axis=0)", "np.copy(grad_output)", {"grad_bias": "wrong"}),
        ("bias mean", "np.sum(grad_output, axis=0)", "np.mean(grad_output, axis=0)", {"grad_bias": "wrong"}),
        ("dW swapped", "np.dot(x.T, grad_output)", "np.dot(grad_output.T, x)", {"grad_weights": "wrong"}),
        ("dX by gradient", "self.weights.T)", "self.grad_weights.T)", {"grad_x": "wrong"}),
        ("no bias", " + self.bias", "", {"output": "wrong", "grad_bias": "follows"}),
        ("dW negative", "np.dot(x.T", "-np.dot(x.T", {"grad_weights": "wrong"}),
        ("accumulates", "self.grad_bias = np.sum(", "self.grad_bias = self.grad_bias + np.sum(",
         {"contract": "convention-mismatch"}),
        ("no factor 2", "return 2 * (", "return (", {"grad_prediction": "wrong"}),
        ("loss is a mean", "np.sum(np.square", "np.mean(np.square", {"loss.output": "wrong", "grad_prediction": "follows"}),
        ("upstream mutated", "        self.grad_weights = np.dot(", "        grad_output *= 2\n        self.grad_weights = np.dot(",
         {"grad_weights": "wrong", "grad_bias": "wrong", "grad_x": "wrong", "contract": "wrong"}),
    ],
    "cached": [
        ("bias not summed", "dout.sum(axis=0)", "dout.copy()", {"grad_bias": "wrong"}),
        ("bias over features", "dout.sum(axis=0)", "dout.sum(axis=1)", {"grad_bias": "wrong"}),
        ("dW transposed", "self.x.T @ dout", "dout.T @ self.x", {"grad_weights": "wrong"}),
        ("mean of both", "self.x.T @ dout\n        self.grads[\"b\"] = dout.sum(axis=0)",
         "self.x.T @ dout / len(dout)\n        self.grads[\"b\"] = dout.mean(axis=0)",
         {"grad_weights": "convention-mismatch", "grad_bias": "convention-mismatch"}),
        ("dX zero", "return dout @", "return 0 * dout @", {"grad_x": "wrong"}),
        ("no gradient of the bias", "        self.grads[\"b\"] = dout.sum(axis=0)\n", "", {"grad_bias": "wrong"}),
        ("bias twice", "+ self.params[\"b\"]", "+ 2 * self.params[\"b\"]", {"output": "wrong", "grad_bias": "follows"}),
        ("accumulates", 'self.grads["W"] = ', 'self.grads["W"] = self.grads["W"] + ', {"contract": "convention-mismatch"}),
        ("half a square", "(self.difference**2).sum()", "(self.difference**2).sum() / 2",
         {"loss.output": "wrong", "grad_prediction": "follows"}),
    ],
    "functions_with_cache": [
        ("bias not summed", "np.sum(dout, axis=0)", "dout", {"grad_bias": "wrong", "contract": "wrong"}),
        ("bias keeps an axis", "np.sum(dout, axis=0)", "np.sum(dout, axis=0, keepdims=True)", {"grad_bias": "wrong"}),
        ("wrong order", "return dx, dW, db", "return dx, db, dW", {"grad_bias": "wrong", "grad_weights": "wrong"}),
        ("dx without transposition", "dx = dout @ W.T", "dx = dout @ W", {"grad_x": "raised", "grad_weights": "raised", "grad_bias": "raised"}),
        ("dW of ones", "dW = x.T @ dout", "dW = x.T @ np.ones_like(dout)", {"grad_weights": "wrong"}),
        ("dW doubled", "dW = x.T @ dout", "dW = 2 * x.T @ dout", {"grad_weights": "wrong"}),
        ("loss without 2", "return 2 * dout", "return dout", {"grad_prediction": "wrong"}),
        ("x changed", "    out = x @ W + b", "    x *= 1.5\n    out = x @ W + b",
         {"output": "wrong", "grad_weights": "wrong", "contract": "wrong"}),
    ],
    "columns": [
        ("bias without keepdims", "axis=1, keepdims=True", "axis=1", {"grad_bias": "wrong"}),
        ("bias over the wrong axis", "axis=1, keepdims", "axis=0, keepdims", {"grad_bias": "wrong"}),
        ("bias not summed", "np.sum(dZ, axis=1, keepdims=True)", "dZ", {"grad_bias": "wrong", "contract": "wrong"}),
        ("1/m in both", "    return {\"dW1\": dW, \"db1\": db", "    m = dZ.shape[1]\n    return {\"dW1\": dW / m, \"db1\": db / m",
         {"grad_weights": "convention-mismatch", "grad_bias": "convention-mismatch"}),
        ("1/m in dW alone", '"dW1": dW,', '"dW1": dW / dZ.shape[1],', {"grad_weights": "wrong"}),
        ("dA negative", 'np.dot(parameters["W1"].T, dZ)', '-np.dot(parameters["W1"].T, dZ)', {"grad_x": "wrong"}),
        ("no bias", "np.dot(W, A_prev) + b", "np.dot(W, A_prev)", {"output": "wrong", "grad_bias": "follows"}),
        ("loss sign", "2 * (AL - Y)", "2 * (Y - AL)", {"grad_prediction": "wrong"}),
    ],
    "attributes": [
        ("bias not summed", "np.sum(dvalues, axis=0, keepdims=True)", "dvalues.copy()", {"grad_bias": "wrong"}),
        ("bias mean", "np.sum(dvalues, axis=0", "np.mean(dvalues, axis=0", {"grad_bias": "wrong"}),
        ("weights by output", "self.inputs.T @ dvalues", "self.output.T @ dvalues", {"grad_weights": "wrong"}),
        ("dinputs missing", "        self.dinputs = dvalues @ self.weights.T\n", "", {"grad_x": "missing"}),
        ("dinputs doubled", "self.dinputs = dvalues", "self.dinputs = 2 * dvalues", {"grad_x": "wrong"}),
        ("forward without bias", " + self.biases", "", {"output": "wrong", "grad_bias": "follows"}),
        ("float32 buffer", "self.dinputs = dvalues @ self.weights.T",
         "self.dinputs = (dvalues @ self.weights.T).astype('f4')", {"grad_x": "wrong"}),
        ("loss mean over samples", "np.sum((self.prediction - self.target) ** 2)",
         "np.sum((self.prediction - self.target) ** 2) / len(self.target)", {"loss.output": "wrong", "grad_prediction": "follows"}),
    ],
    "updating": [
        ("dx after the update", "        dx = grad @ self.W.T\n        self.W -= learning_rate * (self.x.T @ grad)\n",
         "        self.W -= learning_rate * (self.x.T @ grad)\n        dx = grad @ self.W.T\n", {"grad_x": "wrong"}),
        ("ascent", "self.b -= learning_rate", "self.b += learning_rate", {"grad_bias": "wrong"}),
        ("bias mean", "grad.sum(axis=0)", "grad.mean(axis=0)", {"grad_bias": "wrong"}),
        ("no update of the bias", "        self.b -= learning_rate * grad.sum(axis=0)\n", "", {"grad_bias": "wrong"}),
        ("decay", "learning_rate * (self.x.T @ grad)", "learning_rate * (self.x.T @ grad + 0.1 * self.W)", {"grad_weights": "wrong"}),
        ("dx transposed", "dx = grad @ self.W.T", "dx = (grad @ self.W.T).T", {"grad_x": "wrong"}),
        ("clipped", "dx = grad @ self.W.T", "dx = np.clip(grad @ self.W.T, -0.1, 0.1)", {"grad_x": "wrong"}),
        ("loss without 2", "return 2 * self.d", "return self.d", {"grad_prediction": "wrong"}),
    ],
    "tape": [
        ("matmul without transposition", "self.data.T @ out.grad", "(out.grad.T @ self.data).T * 2", {"grad_weights": "wrong"}),
        ("add does not sum", "g = g.sum(axis=0)", "g = g[0]", {"grad_bias": "wrong"}),
        ("overwrites", "other.grad = other.grad + unbroadcast(out.grad * self.data,",
         "other.grad = unbroadcast(out.grad * self.data,", {"grad_prediction": "wrong"}),
        ("mean in add", "g = g.sum(axis=0)", "g = g.mean(axis=0)", {"grad_bias": "wrong"}),
        ("matmul left negative", "self.grad + out.grad @ other.data.T", "self.grad - out.grad @ other.data.T", {"grad_x": "wrong"}),
        ("no bias", "return x @ self.W + self.b", "return x @ self.W", {"output": "wrong", "grad_bias": "follows"}),
        ("sum forgets", "out.grad * np.ones_like(self.data)", "out.grad * np.ones_like(self.data) / self.data.size",
         {"grad_x": "wrong", "grad_weights": "wrong", "grad_bias": "wrong", "grad_prediction": "wrong"}),
    ],
    "whole_network": [
        ("dh forgets the slope", "* h * (1 - h)", "", {"grad_0.weights": "wrong", "grad_0.bias": "wrong"}),
        ("b2 not summed", '"b2": ds.sum(axis=0)', '"b2": ds', {"grad_2.bias": "wrong"}),
        ("b1 mean", "dh.sum(axis=0)", "dh.mean(axis=0)", {"grad_0.bias": "wrong"}),
        ("W1 transposed", "X.T @ dh", "dh.T @ X", {"grad_0.weights": "wrong"}),
        ("no factor 2", "ds = 2 * (s - y)", "ds = (s - y)",
         dict.fromkeys(NET, "wrong")),
        ("W2 by the wrong activation", "h.T @ ds", "(h * 2).T @ ds", {"grad_2.weights": "wrong"}),
        ("loss is a mean", "np.sum((s - y) ** 2)", "np.mean((s - y) ** 2)",
         {"output": "wrong", **dict.fromkeys(NET, "follows")}),
    ],
}  # fmt: skip


def expected(found, changes):
    """All right but what is said: of the first item, or of the loss."""
    wanted = {item: dict.fromkeys(marks, "right") for item, marks in found.items()}
    first = next(iter(wanted))
    for key, status in changes.items():
        item, _, quantity = key.rpartition(".") if key.startswith("loss.") else ("", "", key)
        item = item or ("loss" if key == "grad_prediction" else first)
        assert quantity in wanted[item], key
        wanted[item][quantity] = status
    return wanted


@pytest.mark.parametrize("style", WRONG)
def test_right_code_is_right_and_the_guess_names_the_style(exercise, style):
    result = judged(exercise(style), right(style))
    found = statuses(result)
    assert found == expected(found, {}), result
    for item in result.items:
        said = [note for note in item.notes if "convention" in note]
        if style == "notebook":  # the one that is expected: nothing to say
            assert not said
        elif item.item.title != "loss":
            assert any(f"convention {style!r}" in note for note in said), said


@pytest.mark.parametrize("style", WRONG)
def test_wrong_code_is_wrong_in_the_right_quantity(exercise, style):
    assert len(WRONG[style]) >= 6
    text = right(style)
    for label, old, new, changes in WRONG[style]:
        assert text.count(old) >= 1, label
        found = statuses(judged(exercise(style), text.replace(old, new, 1)))
        assert found == expected(found, changes), label
