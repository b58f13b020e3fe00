"""Identity and Flatten: mistakes people make, JAX, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))


class FirstAxisFastest(nn.Flatten):
    """The order of another language."""

    def forward(self, x):
        return x.reshape(super().forward(x).shape, order="F")

    def backward(self, x, grad_output):
        return grad_output.reshape(x.shape, order="F")


class ChannelsLast(nn.Flatten):
    """As a framework with channels last would."""

    def forward(self, x):
        return super().forward(x.transpose(0, 2, 3, 1))


class NotBack(nn.Flatten):
    """The gradient stays flat."""

    def backward(self, x, grad_output):
        return grad_output.copy()


class BackByReshape(nn.Flatten):
    """Height and width swapped on the way back: reshape where a transposition is needed."""

    def backward(self, x, grad_output):
        n, c, h, w = x.shape
        return grad_output.reshape(n, c, w, h).transpose(0, 1, 3, 2)


class BatchToo(nn.Flatten):
    """The samples flattened as well."""

    def forward(self, x):
        return x.reshape(-1)


class View(nn.Flatten):
    """Shares its memory with the input, as PyTorch's does."""

    def forward(self, x):
        return x.reshape(super().forward(x).shape)


class Ones(nn.Identity):
    """The upstream gradient ignored."""

    def backward(self, x, grad_output):
        return np.ones_like(x)


class Same(nn.Identity):
    """The upstream gradient itself, as in PyTorch."""

    def backward(self, x, grad_output):
        return grad_output


class Nothing(nn.Identity):
    def backward(self, x, grad_output):
        return None


MISTAKES = [
    ("Flatten", FirstAxisFastest, "forward-wrong", "output"),
    ("Flatten", ChannelsLast, "forward-wrong", "output"),
    ("Flatten", NotBack, "wrong-shape", "grad_x"),
    ("Flatten", BackByReshape, "backward-wrong", "grad_x"),
    ("Flatten", BatchToo, "wrong-shape", "output"),
    ("Identity", Ones, "backward-wrong", "grad_x"),
    ("Identity", Nothing, "missing", "grad_x"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "code", "quantity"), MISTAKES, ids=[m[1].__name__ for m in MISTAKES]
)
def test_a_planted_mistake_is_found(layer, wrong, code, quantity):
    pytest.importorskip("torch")
    report = quick(layer, wrong, options={}, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_equinox_identity():
    pytest.importorskip("torch")
    eqx = pytest.importorskip("equinox")

    def identity(x):
        return eqx.nn.Identity("ignored", too=1)(x)

    report = quick("Identity", identity, options={}, sizes={"batch": 2}, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_identity_ignores_what_its_constructor_is_given():
    x = np.arange(3.0)
    np.testing.assert_array_equal(nn.Identity(54, unused=0.1).forward(x), x)


def test_a_number_becomes_an_array_of_one_element_as_in_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Flatten(0)(torch.tensor(2.0)).numpy()
    mine = nn.Flatten(0).forward(np.asarray(2.0, np.float32))
    np.testing.assert_array_equal(mine, theirs)
    assert mine.shape == theirs.shape == (1,)
    assert nn.Flatten(0).backward(np.asarray(2.0), np.ones(1)).shape == ()


def test_an_empty_batch():
    assert nn.Flatten().forward(np.zeros((0, 2, 3))).shape == (0, 6)
    assert nn.Flatten().backward(np.zeros((0, 2, 3)), np.zeros((0, 6))).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("layer", "shape", "says"),
    [
        (nn.Flatten(3), (2, 3, 4), r"Flatten: start_dim=3, .* \(2, 3, 4\)"),
        (nn.Flatten(1, -4), (2, 3, 4), "Flatten: end_dim=-4"),
        (nn.Flatten(2, 1), (2, 3, 4), "start_dim=2 lies behind end_dim=1"),
        (nn.Flatten(), (3,), "Flatten: start_dim=1"),
    ],
)
def test_axes_that_there_are_not_are_refused(layer, shape, says):
    with pytest.raises(ValueError, match=says):
        layer.forward(np.zeros(shape))


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="option of Flatten.*axis"):
        crosscheck.check("Flatten", options={"axis": 1})
    with pytest.raises(TypeError, match="axis"):
        nn.Flatten(axis=1)


@pytest.mark.parametrize("value", [1e30, np.inf, np.nan])
def test_any_number_is_moved_as_it_is(value):
    x = np.full((2, 3, 4), value)
    for layer in (nn.Flatten(), nn.Identity()):
        np.testing.assert_array_equal(layer.backward(x, layer.forward(x)), x)


@pytest.mark.parametrize(("layer", "right"), [("Flatten", View), ("Identity", Same)])
def test_a_view_is_no_mistake_where_pytorch_returns_one(torch, layer, right):
    quick(layer, right, against=("torch",)).require_agreement()
    view = torch.zeros(2, 3, 4, 5)
    assert getattr(torch.nn, layer)()(view).data_ptr() == view.data_ptr()
