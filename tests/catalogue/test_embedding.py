"""Embedding and EmbeddingBag: mistakes people make, JAX's libraries, edges, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.differences import ledger
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class LastOneWins(nn.Embedding):
    """An assignment where several places share a row."""

    def backward(self, x, grad_output):
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_weights[x] = grad_output


class AddedOnce(nn.Embedding):
    """``+=`` with an index array, which adds once per row too."""

    def backward(self, x, grad_output):
        self.grad_weights = np.zeros_like(self.weights)
        self.grad_weights[x] += grad_output


class Accumulates(nn.Embedding):
    """Never set to zero."""

    def backward(self, x, grad_output):
        before = self.grad_weights
        super().backward(x, grad_output)
        self.grad_weights = self.grad_weights + before


class MeanOfTheBatch(nn.Embedding):
    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        self.grad_weights = self.grad_weights / len(x)


class FromOne(nn.Embedding):
    """Rows counted from 1."""

    def forward(self, x):
        return self.weights[x - 1]


class PaddingTrained(nn.Embedding):
    """padding_idx forgotten in the backward."""

    def backward(self, x, grad_output):
        kept, self.padding_idx = self.padding_idx, None
        super().backward(x, grad_output)
        self.padding_idx = kept


class PaddingIsZero(nn.Embedding):
    """padding_idx taken for a promise that its row is 0."""

    def forward(self, x):
        return np.where((x == self.padding_idx)[..., None], 0, super().forward(x))


class FrequencyForgotten(nn.Embedding):
    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, scale_grad_by_freq=False):
        super().__init__(num_embeddings, embedding_dim, padding_idx)


class NotDivided(nn.EmbeddingBag):
    """The mean's gradient without 1/n."""

    def backward(self, x, *rest):
        super().backward(x, *rest)
        self.grad_weights = self.grad_weights * x.shape[1]


class PaddingCounted(nn.EmbeddingBag):
    """The padding adds nothing to the mean, and is counted in n."""

    def _share(self, x, place, kept, weights):
        return np.where(kept, 1 / x.shape[1], 0)


class EveryRow(nn.EmbeddingBag):
    """The maximum's gradient to all rows of the bag."""

    def _share_of_maximum(self, kept, rows):
        return np.broadcast_to(kept[..., None], rows.shape).astype(rows.dtype)


class WeightsForgotten(nn.EmbeddingBag):
    """The rows' gradient without the weights of the call."""

    def backward(self, x, offsets, per_sample_weights, grad_output):
        super().backward(x, offsets, np.ones_like(per_sample_weights), grad_output)
        kept = self.grad_weights
        grad = super().backward(x, offsets, per_sample_weights, grad_output)
        self.grad_weights = kept
        return grad


class LastBagLost(nn.EmbeddingBag):
    """The last offset taken for the end."""

    def _places(self, x, offsets):
        place, inside = super()._places(x, offsets)
        inside = inside.copy()
        inside[-1] = False
        return place, inside


BAGS = {"ragged": True, "mode": "sum"}
MISTAKES = [
    ("Embedding", LastOneWins, {}, "backward-wrong", "grad_weights"),
    ("Embedding", AddedOnce, {}, "backward-wrong", "grad_weights"),
    ("Embedding", Accumulates, {}, "convention-mismatch", "contract: second call gives the same"),
    ("Embedding", MeanOfTheBatch, {}, "convention-mismatch", "grad_weights"),
    ("Embedding", FromOne, {}, "forward-wrong", "output"),
    ("Embedding", PaddingIsZero, {"padding_idx": 1}, "forward-wrong", "output"),
    ("EmbeddingBag", NotDivided, {}, "backward-wrong", "grad_weights"),
    ("EmbeddingBag", PaddingCounted, {"padding_idx": 1}, "forward-wrong", "output"),
    ("EmbeddingBag", EveryRow, {"mode": "max"}, "backward-wrong", "grad_weights"),
    (
        "EmbeddingBag",
        WeightsForgotten,
        {**BAGS, "weighted": True},
        "backward-wrong",
        "grad_weights",
    ),
    ("EmbeddingBag", LastBagLost, BAGS, "forward-wrong", "output"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[m[1].__name__ for m in MISTAKES],
)
def test_a_planted_mistake_is_found(layer, wrong, options, code, quantity):
    pytest.importorskip("torch")
    report = quick(layer, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


@pytest.mark.parametrize(
    ("wrong", "options"),
    [(PaddingTrained, {"padding_idx": 1}), (FrequencyForgotten, {"scale_grad_by_freq": True})],
)
def test_the_derivative_is_wrong_where_an_option_says_so(wrong, options):
    """It agrees with the numeric one, and with neither framework."""
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    sizes = {"num_embeddings": 3, "batch": 4, "length": 5, "embedding_dim": 2}
    report = quick("Embedding", wrong, options=options, sizes=sizes)
    assert report.verdict is Verdict.DISAGREE
    assert {f.quantity for f in report.findings} == {"grad_weights"}
    right = quick("Embedding", options=options, sizes=sizes)
    assert right.verdict is Verdict.AGREE
    assert {c.known for c in right.comparisons if c.known} == {"embedding-gradient-options"}
    assert {c.right for c in right.comparisons if c.known} == {"numeric"}


# --- where the frameworks differ --------------------------------------------------------------


@pytest.mark.parametrize("convention", ["torch", "jax"])
def test_either_share_of_equal_rows_is_known(convention):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    options = {"mode": "max", "convention": convention}
    sizes = {"num_embeddings": 5, "bags": 4, "indices": 6, "embedding_dim": 3}
    report = quick("EmbeddingBag", options=options, sizes=sizes)
    assert report.verdict is Verdict.AGREE, str(report)
    known = {(c.known, c.case.kind) for c in report.comparisons if c.known}
    assert known == {("embedding-bag-equal-maxima", "ties")}


@pytest.mark.parametrize("side", [0, 1])
def test_equal_rows_follow_the_convention(side):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    layer = nn.EmbeddingBag(2, 1, mode="max", convention=("torch", "jax")[side])
    layer.weights = np.ones((2, 1))
    layer.backward(np.array([[0, 1]]), np.ones((1, 1)))
    expected = ledger()["embedding-bag-equal-maxima"].measure()[side]
    np.testing.assert_array_equal(layer.grad_weights, expected)


def test_by_frequency_in_bags_is_not_what_torch_does():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    layer = nn.EmbeddingBag(3, 1, mode="sum", scale_grad_by_freq=True)
    layer.weights = np.array([[1.0], [2.0], [4.0]])
    layer.backward(np.array([2, 2, 2, 1, 0, 0]), np.array([0, 2]), np.ones((2, 1)))
    torchs, ours = ledger()["embedding-bag-by-frequency"].measure()
    np.testing.assert_array_equal(layer.grad_weights, ours)
    # Row 1 by the count of index 0, row 2 by that of index 0 or 1: the k-th of 0 0 1 2 2 2.
    np.testing.assert_array_equal(torchs, [[1], [1 / 2], [3]])


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_weights_of_a_call_with_bags_of_one_length(mode):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, w, g = rng.integers(0, 5, (3, 4)), rng.standard_normal((3, 4)), rng.standard_normal((3, 2))
    layer = nn.EmbeddingBag(5, 2, mode=mode)
    if mode == "mean":
        with pytest.raises(ValueError, match="mode='mean' is not one of 'sum'"):
            layer.forward(x, per_sample_weights=w)
        return
    theirs = torch.nn.EmbeddingBag(5, 2, mode=mode, _weight=torch.tensor(layer.weights))
    scale = torch.tensor(w, requires_grad=True)
    output = theirs(torch.tensor(x), per_sample_weights=scale)
    output.backward(torch.tensor(g))
    found = layer.forward(x, per_sample_weights=w), layer.backward(x, None, w, g)
    np.testing.assert_allclose(found[0], output.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(found[1], scale.grad.numpy(), rtol=1e-13)
    np.testing.assert_allclose(layer.grad_weights, theirs.weight.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_empty_bags_and_bags_of_padding_are_zero_as_in_torch(mode):
    torch = pytest.importorskip("torch")
    x, offsets = np.array([1, 2, 1, 1]), np.array([0, 0, 2, 4])
    layer = nn.EmbeddingBag(3, 2, mode=mode, padding_idx=1)
    layer.weights = np.random.default_rng(0).standard_normal((3, 2))
    theirs = torch.nn.functional.embedding_bag(
        torch.tensor(x),
        torch.tensor(layer.weights),
        torch.tensor(offsets),
        mode=mode,
        padding_idx=1,
    )
    np.testing.assert_array_equal(layer.forward(x, offsets), theirs.numpy())
    np.testing.assert_array_equal(theirs[[0, 2, 3]], 0)
    layer.backward(x, offsets, np.ones((4, 2)))
    np.testing.assert_array_equal(layer.grad_weights, [[0, 0], [0, 0], [1, 1]])


# --- JAX's libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["flax", "equinox"])
def test_embedding_of_a_jax_library(library):
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    module = pytest.importorskip("flax.linen" if library == "flax" else "equinox")

    def embedding(x, weights):
        if library == "flax":
            return module.Embed(*weights.shape).apply({"params": {"embedding": weights}}, x)
        return jax.vmap(jax.vmap(module.nn.Embedding(weight=weights)))(x)

    sizes = {"batch": 2, "length": 5, "num_embeddings": 4, "embedding_dim": 3}
    report = quick("Embedding", embedding, options={}, sizes=sizes, against=("jax", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


def test_what_flax_does_with_an_index_that_is_no_row():
    pytest.importorskip("torch")
    linen = pytest.importorskip("flax.linen")
    rows = np.array([[1.0], [2.0], [4.0]], np.float32)
    found = linen.Embed(3, 1).apply({"params": {"embedding": rows}}, np.array([7, -1]))
    assert np.isnan(found[0, 0])
    assert found[1, 0] == ledger()["embedding-negative-index"].measure()[1]


# --- edges and refusals -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [1e4, 1e30, np.inf, np.nan])
def test_any_number_is_looked_up_as_it_is(value):
    layer = nn.Embedding(3, 2)
    layer.weights = np.full((3, 2), value)
    np.testing.assert_array_equal(layer.forward(np.array([[0, 2]])), np.full((1, 2, 2), value))


def test_the_dtype_of_an_index_does_not_matter_and_that_of_the_weights_stays():
    for integer in (np.int8, np.uint16, np.int64):
        layer = nn.Embedding(4, 2)
        layer.weights = layer.weights.astype(np.float32)
        x = np.array([[0, 3], [1, 1]], integer)
        assert layer.forward(x).dtype == np.float32
        layer.backward(x, np.ones((2, 2, 2), np.float32))
        assert layer.grad_weights.dtype == np.float32
        np.testing.assert_array_equal(layer.grad_weights[:, 0], [1, 2, 0, 1])


def test_no_index_at_all():
    layer = nn.Embedding(3, 2)
    x = np.zeros((0, 4), np.int64)
    assert layer.forward(x).shape == (0, 4, 2)
    layer.backward(x, np.zeros((0, 4, 2)))
    np.testing.assert_array_equal(layer.grad_weights, np.zeros((3, 2)))


LINE, STARTS = np.array([0, 1, 2]), np.array([0, 2])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.Embedding(3, 2, padding_idx=3), "Embedding: padding_idx=3 is not one of the 3"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0), "Embedding: max_norm=1.0"),
        (lambda: nn.Embedding(3, 2, sparse=True), "Embedding: sparse=True"),
        (lambda: nn.Embedding(3, 2).forward(np.zeros(2)), "expected indices, integers"),
        (
            lambda: nn.Embedding(3, 2).backward(LINE, np.zeros((3, 3))),
            r"grad_output has shape \(3, 3\), expected \(3, 2\)",
        ),
        (lambda: nn.EmbeddingBag(3, 2, mode="median"), "EmbeddingBag: mode='median'"),
        (lambda: nn.EmbeddingBag(3, 2, convention="both"), "EmbeddingBag: convention='both'"),
        (
            lambda: nn.EmbeddingBag(3, 2, mode="max", scale_grad_by_freq=True),
            "EmbeddingBag: scale_grad_by_freq=True",
        ),
        (lambda: nn.EmbeddingBag(3, 2).forward(LINE), "of one axis and with offsets"),
        (lambda: nn.EmbeddingBag(3, 2).forward(LINE, STARTS + 1), "must ascend from 0"),
        (lambda: nn.EmbeddingBag(3, 2).forward(LINE, np.array([0, 3, 2])), "must ascend from 0"),
        (
            lambda: nn.EmbeddingBag(3, 2, include_last_offset=True).forward(LINE, STARTS),
            "end at the 3 indices",
        ),
        (
            lambda: nn.EmbeddingBag(3, 2, mode="sum").forward(LINE, STARTS, np.ones(2)),
            "per_sample_weights has shape",
        ),
    ],
)
def test_a_wrong_option_or_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("index", [3, -1])
def test_an_index_that_is_no_row_is_refused(index):
    for layer, x in (
        (nn.Embedding(3, 2), np.array([index])),
        (nn.EmbeddingBag(3, 2), np.array([[index]])),
    ):
        with pytest.raises(IndexError, match=f"index {index} is not one of the 3 rows"):
            layer.forward(x)


@pytest.mark.parametrize("name", ["Embedding", "EmbeddingBag"])
def test_an_option_that_there_is_not_is_named(name):
    with pytest.raises(UsageError, match=f"option of {name}.*max_norm"):
        crosscheck.check(name, options={"max_norm": 1.0})
    with pytest.raises(TypeError, match="freeze"):
        getattr(nn, name)(3, 2, freeze=True)
