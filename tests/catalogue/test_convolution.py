"""Convolutions and their transposes: mistakes people make, JAX's libraries, refusals."""

from functools import partial
from itertools import product

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.checking import check_cases
from crosscheck.sampling import cases, option_sets
from reference_nn.convolution import correlate, weight_gradient
from reference_nn.windows import pad

quick = partial(crosscheck.check, dtypes=("float64",))
NAMES = [f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)]


def first_case(name, options=None):
    return next(cases(crosscheck.catalogue[name], options=options or {}, dtypes=("float64",)))


# --- every combination of options -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_combination_of_options_agrees(torch, name):
    layer = crosscheck.catalogue[name]
    first = [next(cases(layer, options=options)) for options in option_sets(layer, 0)]
    report = check_cases(layer, first, against=("torch", "numeric"))
    assert report.verdict is Verdict.AGREE, str(report)


def by_definition(x, weights, stride, dilation):
    """y[n, o, p] = Σ x[n, c, s p + d k] w[o, c, k], number by number."""
    span = dilation * (weights.shape[2] - 1) + 1
    count = (x.shape[2] - span) // stride + 1
    output = np.zeros((x.shape[0], weights.shape[0], count))
    for n, o, p, c, k in product(*map(range, (*output.shape, *weights.shape[1:]))):
        output[n, o, p] += x[n, c, stride * p + dilation * k] * weights[o, c, k]
    return output


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_a_convolution_and_its_transpose_by_definition(stride, dilation):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 9)), rng.standard_normal((4, 3, 3))
    layer = nn.Conv1d(3, 4, 3, stride=stride, dilation=dilation, bias=False)
    layer.weights = w
    expected = by_definition(x, w, stride, dilation)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=1e-12)
    # <conv(x), y> = <x, transpose(y)>, with the same weights: they are (in, out, k) there.
    back = nn.ConvTranspose1d(4, 3, 3, stride=stride, dilation=dilation, bias=False)
    back.weights = w
    y = rng.standard_normal(expected.shape)
    transposed = back.forward(y)
    seen = x[..., : transposed.shape[-1]]
    np.testing.assert_allclose((expected * y).sum(), (seen * transposed).sum(), rtol=1e-12)


# --- mistakes ---------------------------------------------------------------------------------


class TrueConvolution(nn.Conv2d):
    """The kernel is flipped, as in signal processing."""

    def forward(self, x):
        kept, self.weights = self.weights, np.flip(self.weights, (2, 3))
        output = super().forward(x)
        self.weights = kept
        return output


class KernelNotFlippedInBackward(nn.Conv2d):
    """∂L/∂x as a full correlation of G with the kernel as it is."""

    def backward(self, x, grad_output):
        kept, self.weights = self.weights, np.flip(self.weights, (2, 3))
        grad_x = super().backward(x, grad_output)
        self.weights = kept
        return grad_x


class WeightsOfTheUnpadded(nn.Conv1d):
    """∂L/∂w from x where x̄ belongs: shifted by the padding."""

    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        ((before, after),) = self.padding
        shifted = np.pad(x, [(0, 0), (0, 0), (0, before + after)])
        how = (self.stride, self.dilation, self.groups)
        self.grad_weights = weight_gradient(shifted, grad_output, self.weights.shape[2:], *how)
        return grad_x


class BiasForEachChannel(nn.Conv2d):
    """Added once for every input channel: right for one channel, and for differences always."""

    def forward(self, x):
        return super().forward(x) + (x.shape[1] - 1) * self.bias[:, None, None]

    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = self.grad_bias * x.shape[1]
        return grad_x


class BiasOfTheFirstPosition(nn.Conv2d):
    """Summed over the batch alone, at one position."""

    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = grad_output[:, :, 0, 0].sum(axis=0)
        return grad_x


class EmptySlice(nn.Conv2d):
    """dx[:, :, p:-p, p:-p] where p is 0."""

    def backward(self, x, grad_output):
        grad_x = pad(super().backward(x, grad_output), self.padding)
        (p, _), (q, _) = self.padding
        return grad_x[:, :, p:-p, q:-q]


class AssignsWhereItShouldAdd(nn.Conv1d):
    """Overlapping windows: the last one to write wins."""

    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        total, kernel = np.zeros_like(x), self.weights.shape[2]
        for p in range(grad_output.shape[2]):
            start = p * self.stride[0]
            patch = np.einsum("no,ock->nck", grad_output[:, :, p], self.weights)
            total[:, :, start : start + kernel] = patch
        return total


class HeightForWidth(nn.Conv2d):
    """The stride of the rows for the columns too."""

    def forward(self, x):
        stride, self.stride = self.stride, (self.stride[0], self.stride[0])
        output = super().forward(x)
        self.stride = stride
        return output


class GroupsOfNeighbours(nn.Conv1d):
    """The channels dealt out in turn, where each group has neighbours."""

    def forward(self, x):
        order = np.arange(x.shape[1]).reshape(-1, self.groups).T.ravel()
        return super().forward(x[:, order])


class FlippedKernel(nn.ConvTranspose2d):
    """jax.lax.conv_transpose's default."""

    def forward(self, x):
        kept, self.weights = self.weights, np.flip(self.weights, (2, 3))
        output = super().forward(x)
        self.weights = kept
        return output


class ExtraAtTheFront(nn.ConvTranspose1d):
    """output_padding at the wrong end."""

    def _cropping(self):
        return tuple((after, before) for before, after in super()._cropping())


class NothingInTheExtra(nn.ConvTranspose1d):
    """output_padding as zeros added behind: they are outputs that inputs may reach."""

    def forward(self, x):
        output = super().forward(x)
        (extra,) = self.output_padding
        output[..., output.shape[-1] - extra :] = self.bias[:, None]
        return output


class BiasOfTheInput(nn.ConvTranspose1d):
    """∂L/∂b counted over the positions of the input."""

    def backward(self, x, grad_output):
        grad_x = super().backward(x, grad_output)
        self.grad_bias = grad_output[..., : x.shape[2]].sum(axis=(0, 2))
        return grad_x


class SpreadAgain(nn.ConvTranspose1d):
    """∂L/∂x by the forward's own operation, not by its transpose."""

    def backward(self, x, grad_output):
        super().backward(x, grad_output)
        how = (self.stride, self.dilation, self.groups)
        flipped = np.flip(self.weights, 2)
        ((before, after),) = self._cropping()
        full = pad(grad_output, ((before, after),))
        return correlate(full, flipped, *how)


MISTAKES = [
    ("Conv2d", TrueConvolution, {}, "forward-wrong", "output"),
    ("Conv2d", KernelNotFlippedInBackward, {}, "backward-wrong", "grad_x"),
    ("Conv1d", WeightsOfTheUnpadded, {"padding": 1}, "backward-wrong", "grad_weights"),
    ("Conv2d", BiasForEachChannel, {}, "forward-wrong", "output"),
    ("Conv2d", BiasOfTheFirstPosition, {}, "backward-wrong", "grad_bias"),
    ("Conv2d", EmptySlice, {}, "wrong-shape", "grad_x"),
    ("Conv1d", AssignsWhereItShouldAdd, {}, "backward-wrong", "grad_x"),
    ("Conv2d", HeightForWidth, {"stride": (1, 2)}, "wrong-shape", "output"),
    ("Conv1d", GroupsOfNeighbours, {"groups": 2}, "forward-wrong", "output"),
    ("ConvTranspose2d", FlippedKernel, {}, "forward-wrong", "output"),
    (
        "ConvTranspose1d", ExtraAtTheFront, {"stride": 2, "padding": 1, "output_padding": 1},
        "forward-wrong", "output",
    ),
    (
        "ConvTranspose1d", NothingInTheExtra, {"stride": 2, "padding": 1, "output_padding": 1},
        "forward-wrong", "output",
    ),
    ("ConvTranspose1d", BiasOfTheInput, {}, "backward-wrong", "grad_bias"),
    ("ConvTranspose1d", SpreadAgain, {}, "backward-wrong", "grad_x"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(torch, name, wrong, options, code, quantity):
    report = quick(name, wrong, options=options, against=("torch", "numeric"))
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_a_bias_for_each_channel_is_right_for_one_channel_and_for_differences(torch):
    check = partial(quick, "Conv2d", BiasForEachChannel, options={})
    assert check(against=("numeric",)).verdict is Verdict.AGREE
    one = check(against=("torch", "numeric"), sizes={"in_channels": 1})
    assert one.verdict is Verdict.AGREE


# --- JAX's libraries --------------------------------------------------------------------------


def channels_last(x):
    return x.transpose(0, 2, 3, 1)


def channels_first(x):
    return x.transpose(0, 3, 1, 2)


CONVOLUTIONS = [
    {"stride": 2, "padding": 1},
    {"groups": 2, "dilation": 2},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_flax_convolution(linen, options):
    """Channels last, kernels HWIO, groups included."""
    case = first_case("Conv2d", options)
    p = case.problem

    def convolve(x, weights, bias):
        layer = linen.Conv(
            p.out_channels, (p.kernel_height, p.kernel_width), p.stride, [(p.padding,) * 2] * 2,
            kernel_dilation=p.dilation, feature_group_count=p.groups, param_dtype=np.float64,
        )  # fmt: skip
        given = {"kernel": weights.transpose(2, 3, 1, 0), "bias": bias}
        return channels_first(layer.apply({"params": given}, channels_last(x)))

    report = check_cases(p.layer, [case], convolve, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
def test_equinox_convolution(eqx, name):
    """Single samples, a bias (out, 1, 1); the transposed kernel flipped, in and out exchanged."""
    transposed = "Transpose" in name
    options = {"stride": 2, "padding": 1, **({"output_padding": 1} if transposed else {})}
    case = first_case(name, options)
    p = case.problem

    def convolve(x, weights, bias):
        import jax

        kernel = (p.kernel_height, p.kernel_width)
        make = getattr(eqx.nn, name)
        layer = make(p.in_channels, p.out_channels, kernel, key=jax.random.key(0), **options)
        if transposed:
            weights = jax.numpy.flip(weights.swapaxes(0, 1), (2, 3))
        given = [weights, bias[:, None, None]]
        return jax.vmap(eqx.tree_at(lambda m: [m.weight, m.bias], layer, given))(x)

    report = check_cases(p.layer, [case], convolve, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


@pytest.mark.parametrize("transpose_kernel", [True, False])
def test_flax_transposed_convolution(linen, transpose_kernel):
    """Kernels (h, w, out, in) as they are, or (h, w, in, out) flipped in space."""
    case = first_case("ConvTranspose2d", {"stride": 2, "padding": 1})
    p = case.problem
    kernel = (p.kernel_height, p.kernel_width)

    def convolve(x, weights, bias):
        import jax.numpy as jnp

        layer = linen.ConvTranspose(
            p.out_channels, kernel, (2, 2), [(k - 2, k - 2) for k in kernel],
            transpose_kernel=transpose_kernel, param_dtype=np.float64,
        )  # fmt: skip
        held = weights.transpose(2, 3, 1, 0)
        if not transpose_kernel:
            held = jnp.flip(weights.transpose(2, 3, 0, 1), (0, 1))
        given = {"kernel": held, "bias": bias}
        return channels_first(layer.apply({"params": given}, channels_last(x)))

    report = check_cases(p.layer, [case], convolve, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


# --- the ends, refusals -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_float32_stays_float32_and_far_out_nothing_overflows(name):
    case = next(cases(crosscheck.catalogue[name], dtypes=("float32",)))
    p, arrays = case.problem, case.arrays()
    layer = crosscheck.implementations.conventions.build(getattr(nn, name), p)
    layer.weights, layer.bias = arrays["weights"], arrays["bias"]
    x, upstream = arrays["x"] * np.float32(1e4), *case.upstream().values()
    found = [layer.forward(x), layer.backward(x, upstream), layer.grad_weights, layer.grad_bias]
    for array in found:
        assert np.isfinite(array).all() and array.dtype == np.float32


def test_the_gradient_of_unused_elements_is_zero():
    """A stride of 2 leaves the last column unseen."""
    layer, x = nn.Conv1d(1, 1, 2, stride=2), np.ones((1, 1, 5))
    assert layer.backward(x, np.ones((1, 1, 2)))[0, 0, 4] == 0


X = np.zeros((2, 4, 5, 6))
REFUSED = [
    (lambda: nn.Conv2d(4, 6, 3, padding_mode="reflect"), "Conv2d: padding_mode='reflect'"),
    (lambda: nn.Conv2d(4, 6, 3, padding="full"), "Conv2d: padding='full' is not one of 'same'"),
    (lambda: nn.Conv2d(4, 6, 3, 2, "same"), "padding='same' needs stride 1"),
    (lambda: nn.Conv2d(4, 6, 3, groups=4), "groups=4 must divide in_channels=4 and out_channels=6"),
    (lambda: nn.Conv2d(4, 6, (3, 3, 3)), r"kernel_size=\(3, 3, 3\): expected a number or 2"),
    (lambda: nn.Conv2d(3, 6, 3).forward(X), r"Conv2d: expected 3 channels, got .*\(2, 4, 5, 6\)"),
    (lambda: nn.Conv1d(4, 6, 3).forward(X), r"Conv1d: expected \(batch, channels, 1 more\)"),
    (lambda: nn.Conv2d(4, 6, 7).forward(X), "does not fit"),
    (
        lambda: nn.ConvTranspose2d(4, 6, 3, output_padding=1),
        r"output_padding=1 must be smaller than stride or dilation",
    ),
    (lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="same"), "padding_mode='same'"),
    (lambda: nn.ConvTranspose2d(4, 6, 3, groups=3), "groups=3 must divide"),
    (lambda: nn.ConvTranspose2d(3, 6, 3).forward(X), "ConvTranspose2d: expected 3 channels"),
    (lambda: nn.ConvTranspose2d(4, 6, 2, padding=8).forward(X), r"padding=\(8, 8\) leaves nothing"),
    (lambda: nn.ConvTranspose2d(4, 6, 2, padding=3).forward(X), r"leaves .* size \(6, 7\)"),
    (
        lambda: nn.ConvTranspose1d(4, 6, 2, padding=-1),
        r"ConvTranspose1d: padding=\(-1,\) must be 0",
    ),
    (lambda: nn.ConvTranspose1d(4, 6, 2, stride=0), r"ConvTranspose1d: stride=\(0,\) must be 1"),
    (lambda: nn.Conv2d(4, 6, 3, stride=(1, 0)), r"Conv2d: stride=\(1, 0\) must be 1 or more"),
    (lambda: nn.Conv2d(4, 6, 3, dilation=0), r"Conv2d: dilation=\(0, 0\) must be 1 or more"),
    (lambda: nn.Conv2d(4, 6, 3, padding=-1), r"Conv2d: padding=\(-1, -1\) must be 0 or more"),
    (lambda: nn.Conv2d(4, 6, 0), r"Conv2d: kernel_size=\(0, 0\) must be 1 or more"),
    (lambda: nn.Conv2d(4, 6, 3, groups=0), "Conv2d: groups=0 must divide"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_layer_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
