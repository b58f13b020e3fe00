"""Activations: kinks, mistakes that people make, refusals, the error function, JAX's libraries."""

import math
from functools import partial

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from reference_nn.special import erf, erfc

quick = partial(crosscheck.check, dtypes=("float64",))


ACTIVATIONS = [name for name, layer in crosscheck.catalogue.items() if layer.group == "activations"]


# --- mistakes ---------------------------------------------------------------------------------


class SoftmaxElementwise(nn.Softmax):
    """The Jacobian taken for a diagonal: only y (1 − y)."""

    def backward(self, x, grad_output):
        y = self.forward(x)
        return grad_output * y * (1 - y)


class SoftmaxReturnsUpstream(nn.Softmax):
    """As if the loss had been differentiated through the softmax already."""

    def backward(self, x, grad_output):
        return grad_output.copy()


class SoftmaxOfEverything(nn.Softmax):
    def forward(self, x):
        e = np.exp(x - x.max())
        return e / e.sum()


class SoftmaxOverflows(nn.Softmax):
    def forward(self, x):
        with np.errstate(all="ignore"):
            e = np.exp(x)
            return e / e.sum(axis=self.dim, keepdims=True)


class SoftmaxOfAnotherAxis(nn.Softmax):
    def forward(self, x):
        return nn.Softmax(0).forward(x)

    def backward(self, x, grad_output):
        return nn.Softmax(0).backward(x, grad_output)


class LogOfSoftmax(nn.LogSoftmax):
    """−∞ where the probability rounds to 0."""

    def forward(self, x):
        with np.errstate(divide="ignore"):
            return np.log(nn.Softmax(self.dim).forward(x))


class SoftminWithoutItsMinus(nn.Softmin):
    def backward(self, x, grad_output):
        return -super().backward(x, grad_output)


class GLUSwapped(nn.GLU):
    def forward(self, x):
        a, b = np.split(x, 2, axis=self.dim)
        return b * nn.Sigmoid().forward(a)


class TanhOfInput(nn.Tanh):
    """1 − x² instead of 1 − tanh²."""

    def derivative(self, x):
        return 1 - x**2


class ELUOfOutput(nn.ELU):
    """The derivative taken at the output: right for a ReLU, and only there."""

    def derivative(self, x):
        return super().derivative(self.forward(x))


class SELUWithoutScale(nn.SELU):
    def derivative(self, x):
        return super().derivative(x) / self.SCALE


class ReLUAtZero(nn.ReLU):
    """x ≥ 0 for x > 0: different at the kink alone."""

    def derivative(self, x):
        return (x >= 0).astype(x.dtype)


class ReLUInPlace(nn.ReLU):
    def forward(self, x):
        x[x <= 0] = 0
        return x


class ReLU6IgnoresUpstream(nn.ReLU6):
    def backward(self, x, grad_output):
        return self.derivative(x)


class LeakyReLUInFloat32(nn.LeakyReLU):
    """A buffer of the wrong dtype: the slope keeps seven digits."""

    def derivative(self, x):
        slopes = np.ones(x.shape, dtype=np.float32)
        slopes[x <= 0] = self.negative_slope
        return slopes


class GELUApproximate(nn.GELU):
    def __init__(self):
        super().__init__("tanh")


class PReLUWithoutMask(nn.PReLU):
    """∂y/∂a = x everywhere instead of where x < 0."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = (grad_output * x).sum().reshape(1)
        return grad


class PReLUMean(nn.PReLU):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = self.grad_weights / len(x)
        return grad


class PReLUOverChannels(nn.PReLU):
    """One sum for all the slopes, where each channel has its own."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights = np.full_like(self.grad_weights, self.grad_weights.sum())
        return grad


MISTAKES = [
    ("Softmax", SoftmaxElementwise, {}, "backward-wrong", "grad_x"),
    ("Softmax", SoftmaxReturnsUpstream, {}, "backward-wrong", "grad_x"),
    ("Softmax", SoftmaxOfEverything, {}, "forward-wrong", "output"),
    ("Softmax", SoftmaxOverflows, {}, "non-finite", "output"),
    ("Softmax", SoftmaxOfAnotherAxis, {}, "forward-wrong", "output"),
    ("LogSoftmax", LogOfSoftmax, {}, "non-finite", "output"),
    ("Softmin", SoftminWithoutItsMinus, {}, "backward-wrong", "grad_x"),
    ("GLU", GLUSwapped, {}, "forward-wrong", "output"),
    ("Tanh", TanhOfInput, {}, "backward-wrong", "grad_x"),
    ("ELU", ELUOfOutput, {}, "backward-wrong", "grad_x"),
    ("SELU", SELUWithoutScale, {}, "backward-wrong", "grad_x"),
    ("ReLU", ReLUAtZero, {}, "backward-wrong-by-oracles", "grad_x"),
    ("ReLU", ReLUInPlace, {}, "contract", "contract: inputs unchanged"),
    ("ReLU6", ReLU6IgnoresUpstream, {}, "backward-wrong", "grad_x"),
    ("LeakyReLU", LeakyReLUInFloat32, {}, "backward-wrong", "grad_x"),
    ("GELU", GELUApproximate, {}, "forward-wrong", "output"),
    ("PReLU", PReLUWithoutMask, {"num_parameters": 1}, "backward-wrong", "grad_weights"),
    ("PReLU", PReLUMean, {"num_parameters": 1}, "convention-mismatch", "grad_weights"),
    (
        "PReLU",
        PReLUOverChannels,
        {"num_parameters": 3, "channels": 3},
        "backward-wrong",
        "grad_weights",
    ),
]


@pytest.mark.parametrize(
    ("layer", "wrong", "sizes", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(frameworks, layer, wrong, sizes, code, quantity):
    report = quick(layer, wrong, options={}, sizes=sizes)
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_only_the_slope_is_blamed_for_its_wrong_gradient(frameworks):
    report = quick("PReLU", PReLUMean, options={}, sizes={"num_parameters": 1})
    assert {finding.quantity for finding in report.findings} == {"grad_weights"}
    assert "1/batch" in report.findings[0].explanation


def test_a_kink_taken_from_the_other_side_is_found_at_the_kink_alone(frameworks):
    report = quick("ReLU", ReLUAtZero, options={})
    assert {c.case.kind for f in report.findings for c in f.comparisons} == {"kinks"}


# --- kinks ------------------------------------------------------------------------------------

#: Layer, options, kink, what PyTorch and what JAX (or flax, for PReLU) return there.
CONVENTIONS = [
    ("LeakyReLU", {"negative_slope": 0.25}, 0.0, 0.25, 1.0),
    ("Hardtanh", {}, -1.0, 0.0, 1.0),
    ("Hardtanh", {}, 1.0, 0.0, 1.0),
    ("Hardtanh", {"min_val": -0.5, "max_val": 0.75}, 0.75, 0.0, 1.0),
    ("PReLU", {"init": 0.125}, 0.0, 0.125, 1.0),
]


@pytest.mark.parametrize(("name", "options", "kink", "torch", "jax"), CONVENTIONS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_derivative_at_a_kink_can_be_set(name, options, kink, torch, jax, dtype):
    x, upstream = np.array([kink], dtype), np.array([-1.5], dtype)
    for convention, derivative in (("torch", torch), ("jax", jax)):
        layer = getattr(nn, name)(**options, convention=convention)
        for parameter, value in layer.parameters().items():
            setattr(layer, parameter, value.astype(dtype))
        grad = layer.backward(x, upstream)
        assert grad.dtype == dtype
        np.testing.assert_array_equal(grad, np.array([-1.5 * derivative], dtype))
    default = getattr(nn, name)(**options)
    np.testing.assert_array_equal(
        default.backward(x.astype("float64"), np.array([-1.5])), [-1.5 * torch]
    )


@pytest.mark.parametrize("convention", ["torch", "jax"])
@pytest.mark.parametrize("name", ["LeakyReLU", "Hardtanh", "PReLU"])
def test_either_convention_is_accepted_and_the_difference_named(frameworks, name, convention):
    report = quick(name, options={"convention": convention})
    assert report.verdict is Verdict.AGREE, str(report)
    (slug,) = {c.known for c in report.comparisons if c.known}
    assert crosscheck.differences.ledger()[slug].layer == name
    assert {c.case.kind for c in report.comparisons if c.known} == {"kinks"}


@pytest.mark.parametrize("name", ["LeakyReLU", "Hardtanh", "PReLU"])
def test_a_third_convention_is_not_accepted(frameworks, name):

    class Between(getattr(nn, name)):
        """The mean of both sides."""

        def backward(self, x, grad_output):
            one = super().backward(x, grad_output)
            self.convention = "jax"
            grad = (one + super().backward(x, grad_output)) / 2
            self.convention = "torch"
            return grad

    report = quick(name, Between, options={})
    assert report.verdict is Verdict.DISAGREE
    assert {finding.quantity for finding in report.findings} == {"grad_x"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ELU", {"alpha": 0.7}),
        ("CELU", {"alpha": 1.6}),
        ("Hardshrink", {"lambd": 0.25}),
        ("Softshrink", {"lambd": 0.25}),
        ("Threshold", {"threshold": -0.5}),
        ("Softplus", {"beta": 2.5}),
    ],
)
def test_kinks_that_an_option_moves(frameworks, name, options):
    report = quick(name, options=options)
    assert report.verdict is Verdict.AGREE, str(report)
    assert "kinks" in {c.case.kind for c in report.comparisons}


# --- values at the edge -----------------------------------------------------------------------

EDGES = [0.0, 1e-30, 1e-8, 0.25, 0.5, 1, 3, 6, 19, 21, 40, 90, 110, 720, 760, 1e4, 1e10, 1e30]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n not in ("GLU", "PReLU")])
def test_finite_and_silent_wherever_pytorch_is_finite(name, dtype):
    torch = pytest.importorskip("torch")
    values = np.array([[sign * edge for edge in EDGES for sign in (1, -1)]], dtype)
    layer = crosscheck.catalogue[name]
    for options in ({}, *layer.variants):
        problem = layer.problem(options)
        ours = getattr(nn, name)(**problem.options)
        x = torch.tensor(values, requires_grad=True)
        output = layer.torch(problem)(x)
        output.sum().backward()
        mine = ours.forward(values), ours.backward(values, np.ones_like(values))
        for got, theirs in zip(mine, (output.detach().numpy(), x.grad.numpy()), strict=True):
            assert got.dtype == dtype
            assert np.isfinite(got[np.isfinite(theirs)]).all(), options


@pytest.mark.parametrize("name", ["ReLU", "ReLU6", "Hardtanh", "Hardshrink", "Softshrink", "Mish"])
def test_nan_stays_nan(name):
    assert np.isnan(getattr(nn, name)().forward(np.array([np.nan]))).all()


def test_integers_are_not_truncated():
    x, upstream = np.array([-2, 3]), np.array([1.0, 1.0])
    np.testing.assert_array_equal(nn.LeakyReLU(0.25).forward(x), [-0.5, 3])
    np.testing.assert_array_equal(nn.LeakyReLU(0.25).backward(x, upstream), [0.25, 1])
    np.testing.assert_array_equal(nn.Hardtanh(-0.5, 0.5).forward(x), [-0.5, 0.5])
    np.testing.assert_array_equal(nn.Threshold(0, 0.5).forward(x), [0.5, 3])
    np.testing.assert_array_equal(
        nn.Hardsigmoid().backward(np.array([1]), np.array([1.0])), [1 / 6]
    )


def test_gelu_keeps_its_digits_where_it_is_small():
    x = np.linspace(-30, -5, 101)
    exact = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x])
    np.testing.assert_allclose(nn.GELU().forward(x), exact, rtol=1e-13)


# --- the error function -----------------------------------------------------------------------


def roundings(got, exact):
    """The largest error in units in the last place."""
    return np.max(
        np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(got.dtype))
    )


POINTS = np.concatenate(
    [
        np.linspace(-6.5, 6.5, 4001),
        np.logspace(-30, 1, 300),
        -np.logspace(-30, 1, 300),
        [0, 0.5, 30],
    ]
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_erf_is_right_to_a_few_roundings(dtype):
    x = POINTS.astype(dtype)
    got = erf(x)
    assert got.dtype == dtype
    assert roundings(got, np.array([math.erf(v) for v in x])) <= 4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_erfc_keeps_its_digits_at_large_x(dtype):
    x = np.linspace(-5, 9, 3001).astype(dtype)
    got = erfc(x)
    assert got.dtype == dtype
    exact = np.array([math.erfc(v) for v in x])
    error = np.abs(got.astype(np.float64) - exact) / exact / np.finfo(dtype).eps
    assert np.max(error - np.maximum(x, 0) ** 2) <= 8


def test_the_error_functions_at_the_ends_and_for_no_elements():
    x = np.array([np.inf, -np.inf, 1e300, -1e300, np.nan])
    np.testing.assert_array_equal(erf(x), [1, -1, 1, -1, np.nan])
    np.testing.assert_array_equal(erfc(x), [0, 2, 0, 2, np.nan])
    assert erf(np.zeros((0, 3))).shape == (0, 3)
    assert erf(np.array(0.25)).shape == ()


def test_a_complex_step_differentiates_erf():
    x = np.linspace(-5, 5, 201)
    derivative = erf(x + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(derivative, 2 / math.sqrt(math.pi) * np.exp(-x * x), rtol=1e-11)


# --- refusals ---------------------------------------------------------------------------------

MATRIX = np.ones((2, 3))

REFUSED = [
    (lambda: nn.GELU("sigmoid"), "GELU: approximate='sigmoid' is not one of 'none', 'tanh'"),
    (lambda: nn.LeakyReLU(convention="tf"), "LeakyReLU: convention='tf' is not one of"),
    (lambda: nn.Hardtanh(convention="tf"), "Hardtanh: convention='tf' is not one of"),
    (lambda: nn.PReLU(convention="tf"), "PReLU: convention='tf' is not one of"),
    (lambda: nn.Hardtanh(1, -1), "Hardtanh: max_val=-1 must be larger than min_val=1"),
    (lambda: nn.CELU(0), "CELU: alpha=0"),
    (lambda: nn.Softshrink(-0.1), "Softshrink: lambd=-0.1"),
    (lambda: nn.Softmax(None), "Softmax: dim=None is not the number of an axis"),
    (lambda: nn.Softmax(2).forward(MATRIX), r"Softmax: dim=2 is no axis .* \(2, 3\)"),
    (lambda: nn.LogSoftmax(-3).backward(MATRIX, MATRIX), r"LogSoftmax: dim=-3 is no axis"),
    (lambda: nn.GLU(5).forward(MATRIX), r"GLU: dim=5 is no axis"),
    (lambda: nn.GLU(1).forward(MATRIX), r"GLU: axis 1 .* \(2, 3\) has odd length 3"),
    (
        lambda: nn.GLU(0).backward(MATRIX, MATRIX),
        r"GLU: grad_output has shape \(2, 3\), expected \(1, 3\)",
    ),
    (lambda: nn.PReLU(2).forward(MATRIX), r"PReLU: 2 slopes .* \(batch, 2, …\), found \(2, 3\)"),
    (lambda: nn.PReLU(2).forward(np.ones(2)), r"PReLU: 2 slopes .* found \(2,\)"),
    (
        lambda: nn.ReLU().backward(MATRIX, MATRIX[:, :1]),
        r"ReLU: grad_output has shape \(2, 1\), expected \(2, 3\)",
    ),
    (
        lambda: nn.Softmax().backward(MATRIX, MATRIX[0]),
        r"Softmax: grad_output has shape \(3,\), expected \(2, 3\)",
    ),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- JAX's libraries --------------------------------------------------------------------------

FLAX = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "CELU": "celu",
    "SELU": "selu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Hardsigmoid": "hard_sigmoid",
    "Hardswish": "hard_swish",
    "Hardtanh": "hard_tanh",
    "Softplus": "softplus",
    "Softsign": "soft_sign",
    "LogSigmoid": "log_sigmoid",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "GLU": "glu",
}


@pytest.mark.parametrize("name", list(FLAX))
def test_flax_computes_the_same_as_our_jax_twin(name):
    linen = pytest.importorskip("flax.linen")

    def flax(x):
        return getattr(linen, FLAX[name])(x)

    axes = crosscheck.catalogue[name].axes()
    sizes = {axis: 2 + number for number, axis in enumerate(axes)}
    report = quick(name, flax, options={}, sizes=sizes, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_flax_gelu(approximate):
    linen = pytest.importorskip("flax.linen")

    def gelu(x):
        return linen.gelu(x, approximate=approximate == "tanh")

    report = quick("GELU", gelu, options={"approximate": approximate}, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_flax_prelu():
    linen = pytest.importorskip("flax.linen")

    def prelu(x, weights):
        return linen.PReLU().apply({"params": {"negative_slope": weights[0]}}, x)

    sizes = {"num_parameters": 1}
    report = quick("PReLU", prelu, options={}, sizes=sizes, against=("jax", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


def test_flax_prelu_starts_from_another_slope():
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")
    start = linen.PReLU().init(jax.random.key(0), np.ones(3, np.float32))
    entry = crosscheck.differences.ledger()["prelu-initial-slope"]
    theirs = np.asarray(start["params"]["negative_slope"])
    assert theirs == entry.measure()[1].astype(np.float32)
    assert nn.PReLU().weights == entry.measure()[0]


def test_equinox_prelu():
    equinox = pytest.importorskip("equinox")
    jax = pytest.importorskip("jax")

    def prelu(x, weights):
        slopes = weights[:, None]  # one per channel; equinox knows no batch
        return jax.vmap(equinox.nn.PReLU(slopes))(x)

    sizes = {"num_parameters": 3, "channels": 3}
    report = quick("PReLU", prelu, options={}, sizes=sizes, against=("jax", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


def test_jax_softplus_is_ours_without_a_threshold():
    jax = pytest.importorskip("jax")
    x = np.linspace(19, 40, 50)
    with jax.enable_x64(True):
        theirs = np.asarray(jax.nn.softplus(x))
    ours = nn.Softplus(threshold=math.inf).forward(x)
    np.testing.assert_allclose(ours, theirs, rtol=4e-16)
    assert np.any(nn.Softplus().forward(x) != theirs)
