"""Conventions: one of one's own, declared scalings, undeclared ones told apart; what is guessed."""

import inspect

import numpy as np
import pytest
from standin import judged, statuses

import crosscheck
from crosscheck import Verdict
from crosscheck.errors import UsageError
from crosscheck.exercises import load
from crosscheck.implementations.conventions import CONVENTIONS, declared, notebook
from crosscheck.implementations.conventions.scalings import ScaleError, factor, one_factor
from crosscheck.implementations.manner import Manner

NUMERIC = {"against": ("numeric",), "options": {}, "dtypes": ("float64",)}


class Right:
    def __init__(self, n, m):
        self.weights, self.bias = np.zeros((n, m)), np.zeros(m)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        self.grad_weights, self.grad_bias = x.T @ grad_output, grad_output.sum(0)
        return grad_output @ self.weights.T


class Mean(Right):
    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_weights, self.grad_bias = self.grad_weights / len(x), self.grad_bias / len(x)
        return grad_x


class Adds(Right):
    def __init__(self, n, m):
        super().__init__(n, m)
        self.grad_weights, self.grad_bias = np.zeros((n, m)), np.zeros(m)

    def backward(self, x, grad_output):
        self.grad_weights = self.grad_weights + x.T @ grad_output
        self.grad_bias = self.grad_bias + grad_output.sum(0)
        return grad_output @ self.weights.T


class Turned:
    def __init__(self, n, m):
        self.weights, self.bias = np.zeros((m, n)), np.zeros(m)

    def forward(self, x):
        return x @ self.weights.T + self.bias

    def backward(self, x, grad_output):
        self.grad_weights, self.grad_bias = grad_output.T @ x, grad_output.sum(0)
        return grad_output @ self.weights


#: The subject, its declaration, and another class for which the declaration is untrue.
DECLARED = [
    (Mean, {"scale": {"grad_weights": "1/batch", "grad_bias": "1/batch"}}, Right),
    (Adds, {"accumulates": True}, Right),
    (Turned, {"transposed": ("weights",)}, Right),
]


@pytest.mark.parametrize(("subject", "how", "other"), DECLARED)
def test_a_declared_scaling_is_undone_and_an_untrue_declaration_is_noticed(subject, how, other):
    convention = declared(notebook, **how)
    report = crosscheck.check("Linear", subject, convention=convention, **NUMERIC)
    assert report.verdict is Verdict.AGREE, str(report)
    report = crosscheck.check("Linear", other, convention=convention, **NUMERIC)
    assert report.verdict is Verdict.DISAGREE


def codes(report):
    return {(f.code, f.quantity) for f in report.findings}


def test_an_undeclared_mean_is_a_mismatch_with_its_factor():
    pytest.importorskip("torch")
    report = crosscheck.check("Linear", Mean, options={}, against=("torch", "numeric"))
    assert codes(report) == {
        ("convention-mismatch", "grad_weights"),
        ("convention-mismatch", "grad_bias"),
    }
    assert "1/batch times" in report.findings[0].message
    assert 'scale = { grad_weights = "1/batch"' in report.findings[0].explanation


def test_an_undeclared_accumulation_is_a_mismatch():
    report = crosscheck.check("Linear", Adds, **NUMERIC)
    assert codes(report) == {("convention-mismatch", "contract: second call gives the same")}


def test_undeclared_transposed_weights_are_said_and_the_gradients_are_judged_all_the_same():
    report = crosscheck.check("Linear", Turned, **NUMERIC)
    assert report.verdict is Verdict.AGREE
    assert any("weights is kept transposed" in note for note in report.notes)

    class Wrong(Turned):
        def backward(self, x, grad_output):
            grad_x = super().backward(x, grad_output)
            self.grad_weights = 3 * self.grad_weights
            return grad_x

    report = crosscheck.check("Linear", Wrong, **NUMERIC)
    assert {f.quantity for f in report.findings} == {"grad_weights"}


def test_one_gradient_that_is_a_mean_is_a_mistake():
    class Half(Right):
        def backward(self, x, grad_output):
            grad_x = super().backward(x, grad_output)
            self.grad_bias = self.grad_bias / len(x)
            return grad_x

    report = crosscheck.check("Linear", Half, **NUMERIC)
    assert {f.code for f in report.findings} == {"backward-wrong-by-numeric"}


def test_the_factor_is_found_and_nothing_else_is_taken_for_one():
    sizes = [{"batch": 3, "features": 5}, {"batch": 4, "features": 2}]
    axes = ("batch", "features")
    assert one_factor([1 / 3, 1 / 4], sizes, axes) == "1/batch"
    assert one_factor([1 / 15, 1 / 8], sizes, axes) == "1/(batch*features)"
    assert one_factor([5 / 6, 2 / 8], sizes, axes) == "features/(2*batch)"
    assert one_factor([0.5, 0.5], sizes, axes) == "1/2"
    for ratios in ([1.0, 1.0], [0.9, 0.9], [-1.0, -1.0], [1 / 3, 1 / 5], [3.0, -4.0]):
        assert one_factor(ratios, sizes, axes) is None, ratios


def test_factors_are_arithmetic_over_sizes_and_nothing_else():
    problem = crosscheck.catalogue["Linear"].problem({}, {"batch": 4, "in_features": 3})
    assert factor("2*in_features/batch", problem) == 1.5
    for text in ("__import__('os')", "batch()", "1/0", "batch**2", "n", "1 +"):
        with pytest.raises(ScaleError, match="is no factor"):
            factor(text, problem)


def swapped(subject, call):
    layer = call.construct(subject)
    upstream = yield call.outputs(layer.run(*call.inputs)[::-1], layer)
    yield call.gradients(layer.pull(*upstream)[::-1], layer)


def test_a_convention_of_ones_own_takes_four_lines():
    class Backwards:
        def run(self, x):
            self.y = 1 / (1 + np.exp(-x))
            return self.y[::-1]

        def pull(self, grad):
            return (grad * self.y * (1 - self.y))[::-1]

    assert len(inspect.getsource(swapped).splitlines()) <= 10
    report = crosscheck.check("Sigmoid", Backwards, convention=swapped, **NUMERIC)
    assert report.verdict is Verdict.AGREE, str(report)
    assert crosscheck.check("Sigmoid", Backwards, convention=swapped, **NUMERIC).notes == ()


def test_a_convention_out_of_a_file_beside_the_exercise(tmp_path):
    (tmp_path / "own.py").write_text(
        "def mine(subject, call):\n"
        "    layer = call.construct(subject)\n"
        "    upstream = yield call.outputs(layer.ahead(*call.inputs), layer)\n"
        "    yield call.gradients(layer.back(*upstream), layer)\n"
    )
    (tmp_path / "exercise.toml").write_text(
        "convention = 'own.py:mine'\n[[items]]\nlayer = 'Sigmoid'\nname = 'S'\n"
    )
    text = (
        "import numpy as np\n"
        "class S:\n"
        "    def ahead(self, x):\n"
        "        self.y = 1 / (1 + np.exp(-x))\n"
        "        return self.y\n"
        "    def back(self, g):\n"
        "        return g * self.y * (1 - self.y)\n"
    )
    exercise = load(tmp_path)
    right = statuses(judged(exercise, text))["S"]
    assert right == dict.fromkeys(right, "right")
    wrong = statuses(judged(exercise, text.replace("(1 - self.y)", "self.y")))["S"]
    assert wrong == right | {"grad_x": "wrong"}


def test_unknown_conventions_are_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean cached"):
        crosscheck.check("Linear", Right, convention="cahced")
    with pytest.raises(UsageError, match="did you mean tape"):
        Manner(("A",), "tap").wrap(Right)


def test_a_named_convention_that_does_not_fit_is_an_error_of_the_call_not_of_ours():
    report = crosscheck.check("Linear", Right, convention="cached", **NUMERIC)
    assert report.verdict is Verdict.DISAGREE and report.findings[0].code == "raised"


def test_a_manner_crosses_as_json():
    given = Manner(
        ("f", "g|h"),
        "cached",
        {"weights": "W"},
        ("batch", 3),
        {"output": "1/2"},
        True,
        ("weights",),
    )
    assert Manner.from_json(given.to_json()) == given


def test_stated_names_are_taken_and_a_missing_one_is_said():
    class Odd:
        def __init__(self, n, m):
            self.store = {"kernel_matrix": np.zeros((n, m))}
            self.offset = np.zeros(m)

        def forward(self, x):
            return x @ self.store["kernel_matrix"] + self.offset

        def backward(self, x, g):
            self.slope, self.offset_slope = x.T @ g, g.sum(0)
            return g @ self.store["kernel_matrix"].T

    names = {
        "weights": "store.kernel_matrix", "bias": "offset",
        "grad_weights": "slope", "grad_bias": "offset_slope",
    }  # fmt: skip
    subject = Manner(("Odd",), attributes=names).wrap(Odd)
    assert crosscheck.check("Linear", subject, **NUMERIC).verdict is Verdict.AGREE

    class Two(Odd):
        def __init__(self, n, m):
            super().__init__(n, m)
            self.another = np.zeros((n, m))  # the weights may be either

    report = crosscheck.check("Linear", Two, **NUMERIC)
    reason = report.findings[0].comparisons[0].reason
    assert "no attribute 'weights'" in reason and "convention={'weights': '…'}" in reason


def test_the_table_of_conventions_is_complete():
    assert len(CONVENTIONS) == 9
    for name, convention in CONVENTIONS.items():
        assert convention.__name__ == name and convention.__doc__
