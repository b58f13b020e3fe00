"""LayerNorm, GroupNorm, RMSNorm: mistakes people make, JAX's libraries, edges, refusals."""

from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.differences import ledger
from crosscheck.errors import UsageError
from reference_nn.normalization import standardize

quick = partial(crosscheck.check, dtypes=("float64",))


# --- mistakes ---------------------------------------------------------------------------------


class ConstantMoments(nn.LayerNorm):
    """Mean and variance as if they did not depend on x."""

    def backward(self, x, grad_output):
        axes = self._own_axes(x)
        normal, deviation, *_ = standardize(x, axes, self.eps)
        return self._affine_gradient(normal, grad_output) / deviation


class ConstantMean(nn.LayerNorm):
    """The part through the mean is there, that through the variance is not."""

    def backward(self, x, grad_output):
        axes = self._own_axes(x)
        normal, deviation, *_ = standardize(x, axes, self.eps)
        grad = self._affine_gradient(normal, grad_output)
        return (grad - grad.mean(axis=axes, keepdims=True)) / deviation


class ScaleForgotten(nn.LayerNorm):
    """G where Ĝ = w G belongs."""

    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        kept, self.weights = self.weights, np.ones_like(self.weights)
        right = self.grad_weights, self.grad_bias
        grad = super().backward(x, grad_output)
        self.weights, (self.grad_weights, self.grad_bias) = kept, right
        return grad


class ScaleOfTheInput(nn.LayerNorm):
    """grad_weights with x instead of x̂."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = (grad_output * x).sum(axis=(0, 1))
        return grad


class OfTheFirstAxisOnly(nn.LayerNorm):
    """The bias's gradient summed over the samples, not over the positions."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = grad_output.sum(axis=0)
        return grad


class Unbiased(nn.LayerNorm):
    """The estimate of the variance, divided by n - 1."""

    def forward(self, x):
        deviation = np.sqrt(x.var(axis=-1, ddof=1, keepdims=True) + self.eps)
        return self._affine((x - x.mean(axis=-1, keepdims=True)) / deviation)


class EpsilonOutside(nn.LayerNorm):
    """ε added to the deviation."""

    def forward(self, x):
        deviation = x.std(axis=-1, keepdims=True) + self.eps
        return self._affine((x - x.mean(axis=-1, keepdims=True)) / deviation)


class OverTheBatch(nn.LayerNorm):
    """The axis of the samples."""

    def forward(self, x):
        return self._affine(standardize(x, (0,), self.eps).normal)


class FastVariance(nn.LayerNorm):
    """E[x²] - E[x]²."""

    def forward(self, x):
        mean = x.mean(axis=-1, keepdims=True)
        variance = (x * x).mean(axis=-1, keepdims=True) - mean * mean
        return self._affine((x - mean) / np.sqrt(variance + self.eps))


class EverySecondChannel(nn.GroupNorm):
    """Groups of channels that lie apart."""

    def _grouped(self, x):
        parts = x.reshape(x.shape[0], -1, self.num_groups, *x.shape[2:])
        return parts.swapaxes(1, 2).reshape(x.shape[0], self.num_groups, -1)

    def forward(self, x):
        normal = standardize(self._grouped(x), (2,), self.eps).normal
        parts = normal.reshape(x.shape[0], self.num_groups, -1, *x.shape[2:])
        return self._affine(parts.swapaxes(1, 2).reshape(x.shape))


class OneGroup(nn.GroupNorm):
    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, bias=True):
        super().__init__(1, num_channels, eps, affine, bias=bias)


class MeanOverTheBatch(nn.GroupNorm):
    """The bias's gradient a mean, the weights' a sum."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = self.grad_bias / len(x)
        return grad


class RootIsConstant(nn.RMSNorm):
    def backward(self, x, grad_output):
        normal, root = self._scaled(x, self._own_axes(x))
        return self._affine_gradient(normal, grad_output) / root


class SumOfSquares(nn.RMSNorm):
    """The length instead of the root of the mean."""

    def _scaled(self, x, axes):
        root = np.sqrt(np.square(x).sum(axis=axes, keepdims=True))
        return x / root, root


class MeanSubtracted(nn.RMSNorm):
    def _scaled(self, x, axes):
        return super()._scaled(x - x.mean(axis=axes, keepdims=True), axes)


MISTAKES = [
    ("LayerNorm", ConstantMoments, "backward-wrong", "grad_x"),
    ("LayerNorm", ConstantMean, "backward-wrong", "grad_x"),
    ("LayerNorm", ScaleForgotten, "backward-wrong", "grad_x"),
    ("LayerNorm", ScaleOfTheInput, "backward-wrong", "grad_weights"),
    ("LayerNorm", OfTheFirstAxisOnly, "wrong-shape", "grad_bias"),
    ("LayerNorm", Unbiased, "forward-wrong", "output"),
    ("LayerNorm", EpsilonOutside, "forward-wrong", "output"),
    ("LayerNorm", OverTheBatch, "forward-wrong", "output"),
    ("LayerNorm", FastVariance, "forward-wrong", "output"),
    ("GroupNorm", EverySecondChannel, "forward-wrong", "output"),
    ("GroupNorm", OneGroup, "forward-wrong", "output"),
    ("GroupNorm", MeanOverTheBatch, "backward-wrong", "grad_bias"),
    ("RMSNorm", RootIsConstant, "backward-wrong", "grad_x"),
    ("RMSNorm", SumOfSquares, "forward-wrong", "output"),
    ("RMSNorm", MeanSubtracted, "forward-wrong", "output"),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "code", "quantity"), MISTAKES, ids=[m[1].__name__ for m in MISTAKES]
)
def test_a_planted_mistake_is_found(layer, wrong, code, quantity):
    pytest.importorskip("torch")
    report = quick(layer, wrong, options={}, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


@pytest.mark.parametrize("dtypes", [("float64",), ("float32",)])
def test_the_fast_variance_shows_at_an_offset_alone(dtypes):
    pytest.importorskip("torch")
    report = crosscheck.check(
        "LayerNorm", FastVariance, options={}, against=("torch",), dtypes=dtypes
    )
    wrong_in = {c.case.kind for c in report.comparisons if c.verdict is Verdict.DISAGREE}
    assert wrong_in == {"offset"}


# --- JAX's libraries --------------------------------------------------------------------------


def agrees(name, function, **details):
    report = quick(name, function, against=("jax",), **{"options": {}, **details})
    assert report.verdict is Verdict.AGREE, str(report)


def test_flax_layer_norm(linen):
    def layer_norm(x, weights, bias):
        layer = linen.LayerNorm(epsilon=1e-5, use_fast_variance=False)
        return layer.apply({"params": {"scale": weights, "bias": bias}}, x)

    agrees("LayerNorm", layer_norm)


def test_flax_group_norm_has_its_channels_last(linen):
    def group_norm(x, weights, bias):
        layer = linen.GroupNorm(num_groups=3, epsilon=1e-5, use_fast_variance=False)
        held = {"params": {"scale": weights, "bias": bias}}
        return layer.apply(held, x.swapaxes(1, 2)).swapaxes(1, 2)

    agrees("GroupNorm", group_norm, sizes={"num_groups": 3})


@pytest.mark.parametrize("eps", [0.1, 1e-6])
def test_flax_rms_norm(linen, eps):
    def rms_norm(x, weights):
        layer = linen.RMSNorm(epsilon=eps)
        return layer.apply({"params": {"scale": weights}}, x)

    agrees("RMSNorm", rms_norm, options={"eps": eps})


def test_equinox_norms_know_no_batch(eqx):
    jax = pytest.importorskip("jax")

    def filled(layer, weights, bias=None):
        where = (lambda n: n.weight) if bias is None else (lambda n: (n.weight, n.bias))
        return eqx.tree_at(where, layer, weights if bias is None else (weights, bias))

    def layer_norm(x, weights, bias):
        layer = filled(eqx.nn.LayerNorm(weights.shape), weights, bias)
        return jax.vmap(jax.vmap(layer))(x)

    def group_norm(x, weights, bias):
        return jax.vmap(filled(eqx.nn.GroupNorm(3, len(weights)), weights, bias))(x)

    def rms_norm(x, weights):
        layer = eqx.nn.RMSNorm(weights.shape, eps=0.1, use_bias=False)
        return jax.vmap(jax.vmap(filled(layer, weights)))(x)

    agrees("LayerNorm", layer_norm)
    agrees("GroupNorm", group_norm, sizes={"num_groups": 3})
    agrees("RMSNorm", rms_norm, options={"eps": 0.1})


def test_the_ledger_says_what_flax_has_by_default(linen):
    assert linen.LayerNorm().epsilon == ledger()["layer-norm-eps"].measure()[1]
    assert linen.GroupNorm().epsilon == ledger()["group-norm-eps"].measure()[1]
    assert linen.GroupNorm().num_groups == ledger()["group-norm-default-groups"].measure()[1]
    assert linen.RMSNorm().epsilon == 1e-6
    assert linen.LayerNorm().use_fast_variance and linen.GroupNorm().use_fast_variance


def test_at_an_offset_flax_is_wrong_as_the_ledger_says(linen):
    """Mean 1e3, deviation 1e-2, float32: by more than 1 with the fast variance, else by 0.01."""
    x = (1e3 + 1e-2 * np.random.default_rng(0).standard_normal((5, 7))).astype(np.float32)
    exact = nn.LayerNorm(7).forward(x.astype(np.float64))
    found = {
        fast: np.asarray(linen.LayerNorm(use_fast_variance=fast, epsilon=1e-5).apply(held, x))
        for held in [{"params": {"scale": np.ones(7), "bias": np.zeros(7)}}]
        for fast in (True, False)
    }
    assert np.abs(found[True] - exact).max() > 1
    assert np.abs(found[False] - exact).max() < 0.02
    ours = nn.LayerNorm(7)
    ours.weights, ours.bias = np.ones(7, np.float32), np.zeros(7, np.float32)
    assert np.abs(ours.forward(x) - exact).max() < 1e-5


# --- edges ------------------------------------------------------------------------------------

EDGES = [0.0, 1e-30, 1e-8, 1e-3, 1.0, 1e4, 1e8, 1e15, 1e18]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "RMSNorm"])
def test_finite_and_silent_wherever_pytorch_is_finite(name, dtype):
    torch = pytest.importorskip("torch")
    sizes = (6,) if name != "GroupNorm" else (2, 6)
    rng = np.random.default_rng(0)
    signs, g = rng.choice([-1.0, 1.0], (4, 6, 1)), rng.standard_normal((4, 6, 1)).astype(dtype)
    if name != "GroupNorm":
        signs, g = signs[..., 0], g[..., 0]
    compared = 0
    for edge in EDGES:
        for values in (edge * signs, np.full_like(signs, edge), edge * rng.normal(size=g.shape)):
            values = values.astype(dtype)
            x = torch.tensor(values, requires_grad=True)
            theirs = getattr(torch.nn, name)(*sizes).to(x.dtype)
            output = theirs(x)
            output.backward(torch.tensor(g))
            layer = getattr(nn, name)(*sizes)
            for parameter in layer.parameter_names:
                held = getattr(layer, parameter)
                setattr(layer, parameter, None if held is None else held.astype(dtype))
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                mine = layer.forward(values), layer.backward(values, g)
            for our, their in zip(mine, (output.detach().numpy(), x.grad.numpy()), strict=True):
                assert our.dtype == dtype
                if np.isfinite(their).all():
                    compared += 1
                    assert np.isfinite(our).all(), edge
    assert compared >= 40


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.LayerNorm(()), "LayerNorm: normalized_shape is empty"),
        (lambda: nn.LayerNorm(3, eps=-1.0), "LayerNorm: eps=-1.0 must not be negative"),
        (lambda: nn.GroupNorm(4, 6), "num_groups=4 must divide num_channels=6"),
        (lambda: nn.GroupNorm(0, 6), "num_groups=0 must divide"),
        (lambda: nn.RMSNorm(3, eps=-1e-9), "RMSNorm: eps=-1e-09"),
        (lambda: nn.LayerNorm(3).forward(np.zeros((2, 4))), r"LayerNorm: expected \(..., 3\)"),
        (lambda: nn.RMSNorm((2, 3)).forward(np.zeros((3, 2))), r"RMSNorm: expected \(..., 2, 3\)"),
        (lambda: nn.GroupNorm(2, 4).forward(np.zeros((2, 6))), r"GroupNorm: expected \(batch, 4"),
        (lambda: nn.GroupNorm(2, 2).forward(np.zeros((1, 2))), "more than one number in a group"),
    ],
)
def test_a_wrong_option_or_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("name", ["LayerNorm", "GroupNorm", "RMSNorm"])
def test_an_option_that_there_is_not_is_named(name):
    with pytest.raises(UsageError, match=f"option of {name}.*momentum"):
        crosscheck.check(name, options={"momentum": 0.1})
    with pytest.raises(TypeError, match="momentum"):
        getattr(nn, name)(*((2, 4) if name == "GroupNorm" else (4,)), momentum=0.1)


def test_too_few_numbers_for_a_mean_are_refused_with_the_reason():
    with pytest.raises(crosscheck.CaseError, match="fewer than three numbers"):
        crosscheck.check(
            "LayerNorm", options={}, sizes={"batch": 2, "length": 3, "features": 2}, seed=1
        )
