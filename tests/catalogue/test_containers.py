"""Sequential: mistakes people make, layers with state, JAX's libraries, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.errors import UsageError

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class FirstLayerFirst(nn.Sequential):
    """The backward pass in the order of the forward pass."""

    def backward(self, x, grad_output):
        inputs = self._activations(x, ())[:-1]
        grad = super().backward(x, grad_output)
        for layer, (one,) in zip(self.layers[1:], inputs[1:], strict=True):
            layer.backward(one, np.ones_like(layer.forward(one)))
        return grad


class InputOfTheFirst(nn.Sequential):
    """Every layer's backward is given the activation after it, not before it."""

    def backward(self, x, grad_output):
        grad, activations = grad_output, self._activations(x, ())
        for i in reversed(range(len(self.layers))):
            at = activations[i][0]
            if i == 1:  # where it fits
                at = activations[i + 1][0]
            grad = self.layers[i].backward(at, grad)
        return grad


class LayerSkipped(nn.Sequential):
    """The backward pass leaves the nonlinearity out."""

    def backward(self, x, grad_output):
        activations = self._activations(x, ())
        grad = self.layers[2].backward(*activations[2], grad_output)
        return self.layers[0].backward(x, grad)


class MeanInEveryLayer(nn.Sequential):
    """1/N in every layer, though the loss has it already."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        for layer in (self.layers[0], self.layers[2]):
            layer.grad_weights = layer.grad_weights / len(x)
        return grad


class Accumulates(nn.Sequential):
    """Gradients added to those of the call before."""

    def backward(self, x, grad_output):
        before = self.layers[0].grad_weights
        grad = super().backward(x, grad_output)
        self.layers[0].grad_weights = self.layers[0].grad_weights + before
        return grad


class NotHandedOn(nn.Sequential):
    """The gradient of the last layer's input, not of the first's."""

    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        return self.layers[2].backward(*self._activations(x, ())[2], grad_output)


MISTAKES = [
    (FirstLayerFirst, "backward-wrong", "grad_2.weights"),
    (InputOfTheFirst, "backward-wrong", "grad_0.weights"),
    (InputOfTheFirst, "backward-wrong", "grad_x"),
    (LayerSkipped, "backward-wrong", "grad_0.bias"),
    (MeanInEveryLayer, "backward-wrong", "grad_2.weights"),
    (Accumulates, "convention-mismatch", "contract: second call gives the same"),
    (NotHandedOn, "wrong-shape", "grad_x"),
]


@pytest.mark.parametrize(
    ("wrong", "code", "quantity"), MISTAKES, ids=[f"{m[0].__name__}-{m[2]}" for m in MISTAKES]
)
def test_a_planted_mistake_is_found(wrong, code, quantity):
    pytest.importorskip("torch")
    report = quick("Sequential", wrong, options={}, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


# --- layers of every kind ---------------------------------------------------------------------

CHAINS = [
    ("Conv2d", "BatchNorm2d", "MaxPool2d", "Flatten", "Linear"),
    (("Embedding", {"padding_idx": 1}), "LayerNorm"),
    ("Flatten", "Dropout", "Linear", "CrossEntropyLoss"),
    ("PixelShuffle", ("InstanceNorm2d", {"track_running_stats": True}), "Unfold"),
]


@pytest.mark.parametrize(
    "chain", CHAINS, ids=lambda chain: chain[0] if isinstance(chain[0], str) else chain[0][0]
)
def test_a_chain_of_layers_agrees(chain):
    pytest.importorskip("torch")
    report = quick(crosscheck.network(*chain), options={}, against=("torch", "numeric"))
    if "Embedding" in str(
        chain[0]
    ):  # its padding's gradient is no derivative; JAX would confirm it
        assert report.verdict is Verdict.UNCHECKED, str(report)
        assert all("embedding-gradient-options" in reason for reason in report.unchecked())
    else:
        assert report.verdict is Verdict.AGREE, str(report)


def test_a_chain_agrees_with_jax_too():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    network = crosscheck.network("Conv2d", ("GroupNorm", {"space": 2}), "Flatten")
    sizes = {
        "batch": 3, "in_channels": 2, "out_channels": 4, "height": 5, "width": 6,
        "kernel_height": 3, "kernel_width": 2, "num_groups": 2, "group_size": 2,
    }  # fmt: skip
    report = quick(network, options={}, sizes=sizes)
    assert report.verdict is Verdict.AGREE, str(report)


def test_a_backward_pass_is_no_further_batch():
    """Activations are computed again for it; running statistics do not move again."""
    rng = np.random.default_rng(0)
    alone, norm = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    linear = nn.Linear(2, 3, rng=rng)
    chain = nn.Sequential(linear, nn.Sequential(norm), nn.Identity())
    x = rng.standard_normal((5, 2))
    for batch in (x, 2 * x):
        output = chain.forward(batch)
        alone.forward(linear.forward(batch))
        chain.backward(batch, np.ones_like(output))
    assert norm.num_batches_tracked == alone.num_batches_tracked == 2
    np.testing.assert_array_equal(norm.running_mean, alone.running_mean)
    np.testing.assert_array_equal(norm.running_var, alone.running_var)


def test_dropout_in_a_chain_uses_one_mask_for_both_passes():
    """In whatever depth: a mask drawn again would be that of no forward pass."""
    inner = nn.Sequential(nn.Dropout(0.5, rng=np.random.default_rng(0)), nn.Linear(20, 20))
    chain = nn.Sequential(nn.Identity(), inner, nn.Dropout(0.2, rng=np.random.default_rng(1)))
    x, g = np.random.default_rng(2).standard_normal((2, 20, 20))
    output = chain.forward(x)
    grad = chain.backward(x, g)
    masks = inner.layers[0].drawn, chain.layers[2].drawn
    for layer, mask in zip((inner.layers[0], chain.layers[2]), masks, strict=True):
        layer.mask = mask
    np.testing.assert_array_equal(chain.forward(x), output)
    np.testing.assert_array_equal(chain.backward(x, g), grad)
    chain.layers[2].mask = inner.layers[0].mask = None
    assert not np.array_equal(chain.forward(x), output)


def test_a_chain_may_hold_layers_of_somebody_else():
    class Twice:
        def forward(self, x):
            return 2 * x

        def backward(self, x, grad_output):
            return 2 * grad_output

    chain = nn.Sequential(Twice(), nn.Identity(), Twice())
    np.testing.assert_array_equal(chain.forward(np.ones(3)), np.full(3, 4.0))
    np.testing.assert_array_equal(chain.backward(np.ones(3), np.ones(3)), np.full(3, 4.0))


# --- JAX's libraries --------------------------------------------------------------------------

SIZES = {"batch": 3, "in_features": 2, "out_features": 5, "out_features_2": 4}


def test_flax_sequential():
    pytest.importorskip("torch")
    linen = pytest.importorskip("flax.linen")

    def chain(x, **held):
        layers = linen.Sequential([linen.Dense(5), linen.sigmoid, linen.Dense(4)])
        dense = {
            f"layers_{i}": {"kernel": held[f"{i}.weights"], "bias": held[f"{i}.bias"]}
            for i in (0, 2)
        }
        return layers.apply({"params": dense}, x)

    report = quick("Sequential", chain, options={}, sizes=SIZES, against=("jax", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


def test_equinox_sequential():
    pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    eqx = pytest.importorskip("equinox")

    def chain(x, **held):
        def linear(i):
            weights, bias = held[f"{i}.weights"], held[f"{i}.bias"]
            layer = eqx.nn.Linear(*weights.shape, key=jax.random.key(0))
            return eqx.tree_at(lambda n: (n.weight, n.bias), layer, (weights.T, bias))

        return jax.vmap(eqx.nn.Sequential([linear(0), eqx.nn.Lambda(jax.nn.sigmoid), linear(2)]))(x)

    report = quick("Sequential", chain, options={}, sizes=SIZES, against=("jax", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


# --- edges and refusals -----------------------------------------------------------------------


def test_extreme_inputs_are_finite():
    rng = np.random.default_rng(0)
    chain = nn.Sequential(nn.Linear(2, 3, rng=rng), nn.LayerNorm(3), nn.Sigmoid(), nn.Linear(3, 1))
    x = np.array([[1e4, -1e4], [1e4, 1e4], [0.0, 0.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(chain.forward(x)).all()
        assert np.isfinite(chain.backward(x, np.ones((3, 1)))).all()


def test_the_parameters_and_gradients_of_all_layers_in_order():
    chain = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1, bias=False))
    assert list(chain.parameters()) == ["0.weights", "0.bias", "2.weights"]
    x = np.ones((4, 2))
    chain.backward(x, np.ones((4, 1)))
    params, grads = chain.get_params()
    assert [p.shape for p in params] == [g.shape for g in grads] == [(2, 3), (3,), (3, 1)]
    assert params[0] is chain.layers[0].weights and grads[2] is chain.layers[2].grad_weights


def test_nothing_in_a_chain_is_the_identity():
    x = np.arange(6.0).reshape(2, 3)
    chain = nn.Sequential()
    np.testing.assert_array_equal(chain.forward(x), x)
    np.testing.assert_array_equal(chain.backward(x, 2 * x), 2 * x)
    assert not np.shares_memory(chain.forward(x), x)
    assert not np.shares_memory(chain.backward(x, x), x)


def test_an_option_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="option of Sequential.*bias"):
        crosscheck.check("Sequential", options={"bias": False})
    with pytest.raises(TypeError, match="bias"):
        nn.Sequential(nn.Identity(), bias=False)


def test_what_is_no_layer_is_refused():
    with pytest.raises(ValueError, match="Sequential: layer 1 is a type, not a layer"):
        nn.Sequential(nn.Identity(), nn.Identity)
    with pytest.raises(ValueError, match="Sequential: layer 0 is a list"):
        nn.Sequential([nn.Identity()])
