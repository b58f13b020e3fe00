"""Layers of every family in other people's names, layouts and signatures: right ones pass, wrong ones not."""

import importlib.util
import inspect

import elsewhere
import numpy as np
import pytest

import crosscheck
from crosscheck.comparison import Verdict

#: JAX would only add its compile time: who calls the subject, and how, is the question here.
AGAINST = ("torch", "numeric") if importlib.util.find_spec("torch") else None

RIGHT = {
    "NormGammaBeta": ("LayerNorm", None),
    "BatchNormOfRows": ("BatchNorm1d", "is written for space=0"),
    "ConvOfOneNumber": ("Conv2d", "takes one number for all axes of space"),
    "ConvChannelsLast": ("Conv2d", "with its axes in the order (kernel_height, kernel_width"),
    "AveragePool": ("AvgPool2d", "takes one number for all axes of space"),
    "Step": ("RNNCell", "weight_hh is kept transposed, as (hidden_size, hidden_size)"),
    "GatesTogether": ("LSTMCell", "bias_hh and bias_ih are one array"),
    "GatesApart": ("LSTMCell", "weight_hh is kept in parts: Ui, Uf, Uc, Uo"),
    "Attention": ("MultiheadAttention", "in_proj_weight is kept in parts: Wq, Wk, Wv"),
    "Reshape": ("Flatten", "Reshape has no option 'start_dim'"),
    "Called": ("Sigmoid", None),
    "Squares": ("MSELoss", None),
    "tanh tanh_derivative": ("Tanh", None),
    "AdamOfDictionaries": ("Adam", "has no option"),
    "sgd_momentum": ("SGD", "has no option"),
    "DropoutWithMask": ("Dropout", None),
    "Huber": ("HuberLoss", None),
    "RootMeanSquare": ("RMSNorm", "does not take eps=None"),
    "Table": ("Embedding", None),
    "softmax_loss": ("CrossEntropyLoss", "has no option 'reduction'"),
    "affine_forward affine_backward": ("Linear", "affine_forward has no option bias"),
    "rnn_step_forward rnn_step_backward": ("RNNCell", None),
    "conv_forward conv_backward": ("Conv2d", "has no option 'dilation'"),
}
#: Name, what is planted, and the quantity that is wrong by it.
WRONG = [
    ("NormGammaBeta", "(g * self.xhat).mean", "(g * self.xhat).sum", "grad_x"),
    ("NormGammaBeta", "self.dbeta = dout.sum(rows)", "self.dbeta = dout.mean(rows)", "grad_bias"),
    ("BatchNormOfRows", "var * n / (n - 1)", "var", "running_var"),
    ("BatchNormOfRows", "return self.inv * g\n", "return g\n", "grad_x"),
    ("ConvOfOneNumber", "i * s : i * s + k", "i : i + k", "output"),
    ("ConvOfOneNumber", "slice(j * s, j * s + k)", "slice(j, j + k)", "grad_weights"),
    ("ConvChannelsLast", "self.grad_kernel[i, j] =", "self.grad_kernel[-1 - i, j] =", "grad_weights"),
    ("AveragePool", "/ p**2", "/ p", "grad_x"),
    ("Step", "self.h.T @ d", "d.T @ self.h", "grad_weight_hh"),
    ("Step", "self.dbh = d.sum(0)", "self.dbh = dh.sum(0)", "grad_bias_ih"),
    ("GatesTogether", "dc = dc + dh * o", "dc = dh * o", "grad_c"),
    ("GatesApart", "self.x.T @ d)", "self.x.T @ d * (gate != 'f'))", "grad_weight_ih"),
    ("GatesApart", "np.tanh(x @ self.Wc", "sigmoid(x @ self.Wc", "new_c"),
    ("Attention", 'ds.swapaxes(-1, -2) @ q', 'ds.swapaxes(-1, -2) @ q / 2', "grad_key"),
    ("Attention", "dbo = d.sum((0, 1))", "dbo = d.sum(0)", "grad_out_proj_bias"),
    ("Reshape", "dout.reshape(self.shape)", "2 * dout.reshape(self.shape)", "grad_x"),
    ("Called", "(1 - self.y)", "(1 + self.y)", "grad_x"),
    ("Squares", "2 * self.d /", "self.d /", "grad_prediction"),
    ("tanh tanh_derivative", "np.tanh(x) ** 2", "np.tanh(x)", "grad_x"),
    ("AdamOfDictionaries", "self.t += 1", "self.t += 2", "new_weight"),
    ("sgd_momentum", "velocity + dw", "velocity + 0.5 * dw", "new_weight"),
    ("DropoutWithMask", "return dout * self.scaled", "return dout * (self.scaled > 0)", "grad_x"),
    ("Huber", "np.clip(self.e, -self.delta, self.delta)", "self.e", "grad_prediction"),
    ("RootMeanSquare", "self.r**3", "self.r**2", "grad_x"),
    ("Table", "np.add.at(self.dE, self.index, dout)", "self.dE[self.index] = dout", "grad_weights"),
    ("softmax_loss", "d / n", "d", "grad_prediction"),
    ("affine_forward affine_backward", "dout.sum(0)", "dout.mean(0)", "grad_bias"),
    ("rnn_step_forward rnn_step_backward", "d @ Wh.T", "d @ Wh", "grad_h"),
    ("conv_forward conv_backward", "return dx, cache.dW,", "return dx, 2 * cache.dW,", "grad_weights"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _somebody_to_ask(request):
    """Optimizers have no numeric witness, and running variances are PyTorch's way alone."""
    names = request.node.callspec.params.get("names") if hasattr(request.node, "callspec") else ""
    if names in ("AdamOfDictionaries", "sgd_momentum") and AGAINST is None:
        pytest.importorskip("optax")
    if names == "BatchNormOfRows":
        pytest.importorskip("torch")


def taken(names, old="", new=""):
    """The class, function or pair of these names, with one text in place of another."""
    text = inspect.getsource(elsewhere)
    if old:
        of_these = "\n\n".join(inspect.getsource(getattr(elsewhere, n)) for n in names.split())
        assert of_these.count(old) >= 1, f"{old!r} is not in {names}"
        for name in names.split():
            source = inspect.getsource(getattr(elsewhere, name))
            text = text.replace(source, source.replace(old, new))
    module = {"__name__": "elsewhere"}
    exec(compile(text, "elsewhere.py", "exec"), module)
    found = tuple(module[name] for name in names.split())
    return found[0] if len(found) == 1 else found


@pytest.mark.parametrize("names", RIGHT)
def test_a_right_layer_is_called_as_it_wants_to_be(a_framework, names):
    layer, noted = RIGHT[names]
    report = crosscheck.check(layer, taken(names), against=AGAINST)
    assert report.verdict is Verdict.AGREE, str(report)
    assert noted is None or any(noted in note for note in report.notes), report.notes
    kinds = {c.case.kind for c in report.comparisons}
    assert "distinct" in kinds
    if report.layer.convention is None and names != "RootMeanSquare":
        # an optimizer has no axes that are drawn; and of RMSNorm the defaults are not checked
        assert "square" in kinds and any(kind.endswith("=1") for kind in kinds)


@pytest.mark.parametrize(("names", "old", "new", "quantity"), WRONG)
def test_a_wrong_one_is_found_in_its_quantity(a_framework, names, old, new, quantity):
    report = crosscheck.check(RIGHT[names][0], taken(names, old, new), against=AGAINST)
    assert report.verdict is Verdict.DISAGREE
    assert quantity in {f.quantity for f in report.findings}, str(report)
    assert "raised" not in {f.code for f in report.findings}, str(report)


def test_where_arrays_are_can_be_said(a_framework):
    class Scaled(elsewhere.Step):
        """Two arrays of one shape: which of them is the bias no shape can tell."""

        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.first = self.second = None
            self.first, self.second = self.bh.copy(), self.bh.copy()
            del self.bh

        def forward(self, x, h):
            self.x, self.h = x, h
            self.new = np.tanh(x @ self.Wxh + h @ self.Whh + self.first)
            return self.new

    wrong = crosscheck.check("RNNCell", Scaled, options={}, against=AGAINST)
    assert "convention={'bias_ih': '…'}" in wrong.findings[0].comparisons[0].reason
    said = {"bias_ih": "first", "grad_bias_ih": "dbh"}
    crosscheck.check("RNNCell", Scaled, convention=said, options={}).require_agreement()
    with pytest.raises(crosscheck.errors.UsageError, match="bias_ih"):
        crosscheck.check("RNNCell", Scaled, convention={"bias_hi": "first"})
