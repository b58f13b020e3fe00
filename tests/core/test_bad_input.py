"""Wrong usage from Python: a clear exception, never a crash somewhere inside."""

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import CaseError, MissingFramework, UsageError, Verdict


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("Liner",), "did you mean Linear"),
        ((3,), "expected a name or a crosscheck.Layer"),
        (("Linear", object()), "no implementation"),
        (("Linear", 7), "no implementation"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(UsageError, match=says):
        crosscheck.check(*arguments)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"against": ("tensorflow",)}, "unknown witness"),
        ({"against": ()}, "nobody to compare with"),
        ({"dtypes": ("float16",)}, "unknown dtype"),
        ({"dtypes": ()}, "nothing to check"),
        ({"seed": "1"}, "a seed is a whole number"),
        ({"seed": -1}, "a seed is a whole number"),
        ({"seed": True}, "a seed is a whole number"),
        ({"options": {"bais": True}}, "did you mean bias"),
        ({"sizes": {"bacth": 3}}, "did you mean batch"),
    ],
)
def test_wrong_keywords(keywords, says):
    with pytest.raises(UsageError, match=says):
        crosscheck.check("Linear", **keywords)


def test_a_class_without_backward():
    class Half:
        def forward(self, x):
            return x

    with pytest.raises(UsageError, match="no backward"):
        crosscheck.check("Sigmoid", Half)


def test_a_missing_framework_that_was_asked_for(monkeypatch):
    from crosscheck import checking

    monkeypatch.setattr(checking, "installed", lambda name: False)
    with pytest.raises(MissingFramework, match="pip install"):
        crosscheck.check("Linear", against=("torch",))
    report = crosscheck.check("Linear")
    assert report.witnesses["torch"] == "not installed" == report.witnesses["jax"]
    assert report.verdict is Verdict.AGREE


class Base:
    def __init__(self, features=None):
        pass

    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        y = self.forward(x)
        return grad_output * y * (1 - y)


def finding(subject):
    (one,) = crosscheck.check("Sigmoid", subject, dtypes=("float64",)).findings
    return one


def test_an_implementation_that_raises_shows_its_own_traceback_and_not_ours():
    class Raises(Base):
        def forward(self, x):
            raise ValueError("my own words")

    reason = finding(Raises).comparisons[0].reason
    assert "my own words" in reason and "test_bad_input" in reason
    assert "crosscheck/implementations" not in reason


def test_an_implementation_whose_constructor_raises():
    class Raises(Base):
        def __init__(self):
            raise RuntimeError("no weights today")

    assert "no weights today" in finding(Raises).comparisons[0].reason


def test_an_implementation_that_exits():
    class Exits(Base):
        def backward(self, x, grad_output):
            raise SystemExit(0)

    assert "SystemExit" in finding(Exits).comparisons[0].reason


def test_an_exception_is_told_with_its_text_and_the_line_that_raised_it():
    class Raises(nn.Linear):
        def backward(self, x, grad_output):
            raise RuntimeError("no gradient today\nor tomorrow")

    report = crosscheck.check("Linear", Raises, options={}, against=("numeric",))
    message = report.findings[0].message
    assert message.endswith("Raises.backward raised RuntimeError: no gradient today")
    text = str(report)
    assert text.count("no gradient today") == 2  # the exception, and the line of the source
    assert "in backward" in text and 'raise RuntimeError("no gradient' in text


@pytest.mark.parametrize("oracle", ["torch", "numeric"])
def test_a_backward_that_raises_on_a_forward_of_the_wrong_shape(oracle):
    """The shape is the mistake; the exception follows from it."""
    if oracle != "numeric":
        pytest.importorskip(oracle)

    class Transposes(nn.Linear):
        def forward(self, x):
            return super().forward(x).T

        def backward(self, x, grad_output):
            return super().backward(x, grad_output * self.forward(x))

    report = crosscheck.check(
        "Linear", Transposes, options={}, sizes={"batch": 2, "out_features": 3}, against=(oracle,)
    )
    codes = {(f.code, f.quantity) for f in report.findings}
    assert codes == {("wrong-shape", "output")}
    assert "shape (3, 2), should be (2, 3); then Transposes.backward" in report.findings[0].message


@pytest.mark.parametrize("returned", ["text", [object()], {"output": None}, lambda: 0])
def test_what_is_no_array(returned):
    class Returns(Base):
        def forward(self, x):
            return returned

    assert finding(Returns).code == "raised"


def test_wrong_signatures():
    class TakesNothing(Base):
        def backward(self):
            return None

    assert "cannot take" in finding(TakesNothing).comparisons[0].reason


def test_missing_parameter_attribute():
    class Renamed:
        def __init__(self, i, o):
            self.mat, self.off = np.zeros((i, o)), np.zeros(o)

        def forward(self, x):
            return x @ self.mat + self.off

        def backward(self, x, g):
            return g @ self.mat.T

    report = crosscheck.check("Linear", Renamed, options={})
    reason = report.findings[0].comparisons[0].reason
    assert reason == "Renamed leaves no gradient of weights, which is its mat"


def test_too_many_outputs():
    class Two(Base):
        def backward(self, x, grad_output):
            return grad_output, grad_output

    assert finding(Two).code in ("wrong-shape", "raised")


@pytest.mark.parametrize(
    ("layer", "options", "says"),
    [
        ("LayerNorm", {"normalized_axes": 3}, "normalized_axes '3': there is: 1, 2"),
        ("BatchNorm1d", {"space": 2}, "space '2': there is: 0, 1"),
        ("GroupNorm", {"space": 7}, "space '7': there is: 0, 1, 2, 3"),
        ("Flatten", {"start_dim": 7}, "fit these options: start_dim=7 is no axis of batch"),
        ("Flatten", {"start_dim": 3, "end_dim": 1}, "start_dim lies behind end_dim"),
        ("CosineSimilarity", {"dim": 5}, "dim=5 is no axis of batch features length"),
        ("Embedding", {"padding_idx": 9}, "padding_idx=9 is no row"),
        ("EmbeddingBag", {"mode": "median"}, "mode='median' is not one of"),
        ("EmbeddingBag", {"weighted": True}, "need mode='sum'"),
        ("Dropout", {"p": 2}, "p=2 is no probability"),
    ],
)
def test_an_option_value_that_a_layer_has_not_is_refused_with_the_reason(layer, options, says):
    with pytest.raises((UsageError, CaseError), match=says):
        crosscheck.check(layer, options=options)
