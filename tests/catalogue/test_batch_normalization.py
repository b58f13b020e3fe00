"""Batch and instance normalization: mistakes, running statistics, JAX's libraries, edges, refusals."""

import warnings
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

EVALUATION = {"training": False}
TRACKED = {"track_running_stats": True}


# --- mistakes ---------------------------------------------------------------------------------


class ConstantStatistics(nn.BatchNorm2d):
    """Mean and variance of the batch as if they did not depend on x."""

    def backward(self, x, grad_output):
        normal, deviation, *_ = standardize(x, self._axes(x), self.eps)
        return self._affine_gradient(normal, grad_output) / deviation


class SamplesOnly(nn.BatchNorm2d):
    """Statistics for each pixel, not for each channel."""

    def forward(self, x):
        return self._affine(standardize(x, (0,), self.eps).normal)


class MeanOfTheBias(nn.BatchNorm1d):
    """The bias's gradient a mean over the batch, the weights' a sum."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = self.grad_bias / len(x)
        return grad


class ConstantScale(nn.BatchNorm1d):
    """grad_weights summed over the batch without x̂."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = grad_output.sum(axis=(0, 2))
        return grad


class MomentumOfWhatWas(nn.BatchNorm1d):
    """JAX's momentum under PyTorch's name."""

    def _move(self, mean, variance, factor):
        super()._move(mean, variance, 1 - factor)


class VarianceTwiceUnbiased(nn.BatchNorm1d):
    """n/(n - 1) twice: neither framework's."""

    def _move(self, mean, variance, factor):
        super()._move(mean, variance * 1.1, factor)


class NeverMoves(nn.BatchNorm1d):
    """The statistics stay as they were."""

    def _track(self, mean, variance, n):
        self.num_batches_tracked = self.num_batches_tracked + 1


class CountsFromZero(nn.BatchNorm1d):
    """The plain average, with one batch too few."""

    def _track(self, mean, variance, n):
        before = self.num_batches_tracked
        self.num_batches_tracked = before - 1
        super()._track(mean, variance, n)
        self.num_batches_tracked = before + 1


class MovesInEvaluation(nn.BatchNorm1d):
    def forward(self, x):
        output = super().forward(x)
        if not self.training:
            self.running_mean = 0.9 * self.running_mean + 0.1 * x.mean(axis=(0, 2))
        return output


class BatchInEvaluation(nn.BatchNorm1d):
    """The statistics of the batch, in evaluation too."""

    def _tracked(self, x):
        return None


class GradientOfTraining(nn.BatchNorm1d):
    """In evaluation the backward of training."""

    def backward(self, x, grad_output):
        normal, deviation, *_ = standardize(x, self._axes(x), self.eps)
        grad = super().backward(x, grad_output)
        return grad - grad.mean(axis=(0, 2), keepdims=True)


class DeviationForVariance(nn.BatchNorm1d):
    """running_var taken for a deviation."""

    def _tracked(self, x):
        mean, _ = super()._tracked(x)
        return mean, self.running_var.reshape(1, -1, 1)


class WholeBatch(nn.InstanceNorm2d):
    """The samples of a batch meet."""

    def _axes(self, x):
        return (0, 2, 3)


class ChannelsToo(nn.InstanceNorm2d):
    """A LayerNorm over channels and space."""

    def _axes(self, x):
        return (1, 2, 3)


class FirstSample(nn.InstanceNorm1d):
    """The statistics of one sample stand for all."""

    def _move(self, mean, variance, factor):
        super()._move(mean[:1], variance[:1], factor)


MISTAKES = [
    ("BatchNorm2d", ConstantStatistics, {}, "backward-wrong", "grad_x"),
    ("BatchNorm2d", SamplesOnly, {}, "forward-wrong", "output"),
    ("BatchNorm1d", MeanOfTheBias, {}, "backward-wrong", "grad_bias"),
    ("BatchNorm1d", ConstantScale, {}, "backward-wrong", "grad_weights"),
    ("BatchNorm1d", MomentumOfWhatWas, {}, "forward-wrong", "running_mean"),
    ("BatchNorm1d", VarianceTwiceUnbiased, {}, "forward-wrong", "running_var"),
    ("BatchNorm1d", NeverMoves, {}, "forward-wrong", "running_mean"),
    ("BatchNorm1d", CountsFromZero, {"momentum": None}, "forward-wrong", "running_mean"),
    ("BatchNorm1d", MovesInEvaluation, EVALUATION, "forward-wrong", "running_mean"),
    ("BatchNorm1d", BatchInEvaluation, EVALUATION, "forward-wrong", "output"),
    ("BatchNorm1d", GradientOfTraining, EVALUATION, "backward-wrong", "grad_x"),
    ("BatchNorm1d", DeviationForVariance, EVALUATION, "forward-wrong", "output"),
    ("InstanceNorm2d", WholeBatch, {}, "forward-wrong", "output"),
    ("InstanceNorm2d", ChannelsToo, {}, "forward-wrong", "output"),
    ("InstanceNorm1d", FirstSample, TRACKED, "forward-wrong", "running_mean"),
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


def test_a_running_statistic_that_moves_wrongly_is_all_that_is_wrong():
    pytest.importorskip("torch")
    report = quick("BatchNorm1d", NeverMoves, options={}, against=("torch", "numeric"))
    assert {f.quantity for f in report.findings} == {"running_mean", "running_var"}


# --- where the frameworks differ --------------------------------------------------------------


@pytest.mark.parametrize("convention", ["torch", "jax"])
def test_either_running_variance_is_known_and_a_third_is_not(convention):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    options = {"convention": convention}
    sizes = {"batch": 3, "num_features": 2, "length": 4}
    report = quick("BatchNorm1d", options=options, sizes=sizes)
    assert report.verdict is Verdict.AGREE, str(report)
    known = {(c.known, c.quantity) for c in report.comparisons if c.known}
    assert known == {("batch-norm1d-running-variance", "running_var")}
    report = quick("BatchNorm1d", VarianceTwiceUnbiased, options=options, sizes=sizes)
    assert report.verdict is Verdict.DISAGREE
    assert {f.quantity for f in report.findings} == {"running_var"}


def test_statistics_over_several_batches_as_in_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for momentum in (0.1, None):
        ours, theirs = (
            nn.BatchNorm1d(3, momentum=momentum),
            torch.nn.BatchNorm1d(3, momentum=momentum),
        )
        theirs.double()
        for _ in range(4):
            x = rng.standard_normal((5, 3, 2))
            np.testing.assert_allclose(
                ours.forward(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-12
            )
        for name in ours.buffer_names:
            np.testing.assert_allclose(
                getattr(ours, name), getattr(theirs, name).numpy(), rtol=1e-12
            )
        ours.training = False
        theirs.eval()
        np.testing.assert_allclose(
            ours.forward(x), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-12
        )


def test_forward_writes_into_no_old_statistics():
    layer = nn.BatchNorm1d(2)
    mean, variance, count = layer.running_mean, layer.running_var, layer.num_batches_tracked
    layer.forward(np.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(mean, [0, 0])
    np.testing.assert_array_equal(variance, [1, 1])
    assert count == 0 and layer.num_batches_tracked == 1


# --- JAX's libraries --------------------------------------------------------------------------


SIZES = {"batch": 4, "num_features": 3, "length": 2}


def agrees(name, function, options, sizes):
    report = quick(name, function, options=options, sizes=sizes, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)
    assert not any(c.known for c in report.comparisons)


@pytest.mark.parametrize("training", [True, False])
def test_flax_batch_norm(linen, training):
    """1 minus the momentum, the biased variance; it counts no batches."""

    def batch_norm(x, weights, bias, running_mean, running_var, num_batches_tracked):
        layer = linen.BatchNorm(
            not training, axis=1, momentum=0.9, epsilon=1e-5, use_fast_variance=False
        )
        statistics = {"mean": running_mean, "var": running_var}
        held = {"params": {"scale": weights, "bias": bias}, "batch_stats": statistics}
        output, changed = layer.apply(held, x, mutable=["batch_stats"])
        after = changed.get("batch_stats", statistics)
        return output, after["mean"], after["var"], num_batches_tracked + training

    agrees("BatchNorm1d", batch_norm, {"training": training}, SIZES)


@pytest.mark.parametrize("mode", ["batch", "ema"])
@pytest.mark.parametrize("training", [True, False])
def test_equinox_batch_norm(linen, training, mode):
    eqx = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")

    def batch_norm(x, weights, bias, running_mean, running_var, num_batches_tracked):
        layer, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(
            3, "samples", momentum=0.9, mode=mode, inference=not training, dtype=x.dtype
        )
        layer = eqx.tree_at(lambda n: (n.weight, n.bias), layer, (weights, bias))
        held = layer.ema_state_index if mode == "ema" else layer.batch_state_index
        state = state.set(held, (running_mean, running_var))
        if mode == "ema":
            state = state.set(layer.ema_first_time_index, jax.numpy.array(False))
        output, state = jax.vmap(
            lambda one: layer(one, state), axis_name="samples", out_axes=(0, None)
        )(x)
        return (output, *state.get(held), num_batches_tracked + training)

    report = quick(
        "BatchNorm1d", batch_norm, options={"training": training}, sizes=SIZES, against=("jax",)
    )
    wrong = {c.quantity for c in report.comparisons if c.verdict is Verdict.DISAGREE}
    # "ema" normalizes by the statistics that the batch has moved, in training too.
    alone = training and mode == "ema"
    assert wrong == ({"output", "grad_x", "grad_weights"} if alone else set())


def test_flax_instance_norm(linen):
    def instance_norm(x, weights, bias):
        layer = linen.InstanceNorm(epsilon=1e-5, use_fast_variance=False)
        held = {"params": {"scale": weights, "bias": bias}}
        return layer.apply(held, x.swapaxes(1, 2)).swapaxes(1, 2)

    agrees("InstanceNorm1d", instance_norm, {"affine": True}, {**SIZES, "length": 5})


def test_the_ledger_says_what_flax_does(linen):
    jax = pytest.importorskip("jax")
    known = ledger()
    x = np.array([[1.0], [3.0]])

    def after(batch, **options):
        layer = linen.BatchNorm(use_running_average=False, **options)
        state = layer.init(jax.random.key(0), batch)
        return layer.apply(state, batch, mutable=["batch_stats"])[1]["batch_stats"]

    def close(found, slug):
        np.testing.assert_allclose(
            np.squeeze(found), np.squeeze(known[slug].measure()[1]), rtol=1e-6
        )

    close(after(x, momentum=0.9)["mean"], "batch-norm-momentum")
    close(after(x)["mean"], "batch-norm-default-momentum")
    close(after(x, momentum=0.9)["var"], "batch-norm1d-running-variance")
    one = np.ones((1, 1))
    layer = linen.BatchNorm(use_running_average=False)
    output, _ = layer.init_with_output(jax.random.key(0), one)
    close(output, "batch-norm-of-one")
    assert linen.InstanceNorm().use_scale is linen.InstanceNorm().use_bias is True
    assert linen.InstanceNorm().epsilon == known["instance-norm-eps"].measure()[1]


def test_the_statistics_of_flax_nnx_are_float32(linen):
    nnx = pytest.importorskip("flax.nnx")
    jax = pytest.importorskip("jax")
    theirs = ledger()["batch-norm-statistics-dtype"].measure()[1]
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of just that
        layer = nnx.BatchNorm(
            1, momentum=2 / 3, dtype=np.float64, param_dtype=np.float64, rngs=nnx.Rngs(0)
        )
        layer(np.array([[0.0], [2.0]]))
        mean = np.asarray(layer.mean[...])
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, theirs, rtol=1e-7)


# --- edges ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["BatchNorm1d", "InstanceNorm1d"])
def test_finite_and_silent_wherever_pytorch_is_finite(name, dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    g = rng.standard_normal((4, 3, 5)).astype(dtype)
    compared = 0
    for edge in [0.0, 1e-30, 1e-8, 1.0, 1e4, 1e8, 1e15, 1e18]:
        for values in (np.full(g.shape, edge), edge * rng.standard_normal(g.shape)):
            values = values.astype(dtype)
            x = torch.tensor(values, requires_grad=True)
            theirs = getattr(torch.nn, name)(3, affine=True).to(x.dtype)
            theirs(x).backward(torch.tensor(g))
            layer = getattr(nn, name)(3, affine=True)
            for held in (*layer.parameter_names, *layer.buffer_names[:2]):
                array = getattr(layer, held)
                setattr(layer, held, None if array is None else array.astype(dtype))
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                mine = layer.forward(values), layer.backward(values, g)
            for our, their in zip(mine, (theirs(x).detach().numpy(), x.grad.numpy()), strict=True):
                assert our.dtype == dtype
                if np.isfinite(their).all():
                    compared += 1
                    assert np.isfinite(our).all(), edge
    assert compared >= 28


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.BatchNorm1d(3, convention="both"), "BatchNorm1d: convention='both'"),
        (lambda: nn.BatchNorm2d(3, eps=-1.0), "BatchNorm2d: eps=-1.0 must not be negative"),
        (lambda: nn.BatchNorm1d(3).forward(np.zeros((2, 4))), r"BatchNorm1d: .* 3 channels"),
        (lambda: nn.BatchNorm2d(3).forward(np.zeros((2, 3))), "BatchNorm2d: expected"),
        (lambda: nn.InstanceNorm1d(3).forward(np.zeros((2, 3))), "InstanceNorm1d: expected"),
        (lambda: nn.BatchNorm1d(3).forward(np.zeros((1, 3))), "more than one value per channel"),
        (lambda: nn.InstanceNorm2d(1).forward(np.zeros((4, 1, 1, 1))), "more than one value"),
        (
            lambda: nn.BatchNorm1d(1).backward(np.zeros((1, 1)), np.zeros((1, 1))),
            "more than one value per channel",
        ),
    ],
)
def test_a_wrong_option_or_input_is_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize("name", ["BatchNorm1d", "InstanceNorm3d"])
def test_an_option_that_there_is_not_is_named(name):
    with pytest.raises(UsageError, match=f"option of {name}.*decay"):
        crosscheck.check(name, options={"decay": 0.1})
    with pytest.raises(TypeError, match="decay"):
        getattr(nn, name)(4, decay=0.1)


def test_one_sample_is_enough_in_evaluation():
    layer = nn.BatchNorm1d(2, training=False)
    np.testing.assert_allclose(layer.forward(np.ones((1, 2))), np.ones((1, 2)), rtol=1e-5)
