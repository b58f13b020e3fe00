"""Losses: mistakes that people make, kinks, PyTorch at the edges, optax, CTC path by path, refusals."""

import itertools
from functools import partial
from math import comb

import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.sampling import build

quick = partial(crosscheck.check, dtypes=("float64",))

LOSSES = [name for name, layer in crosscheck.catalogue.items() if layer.group == "losses"]


# --- mistakes ---------------------------------------------------------------------------------


def hot(prediction, target):
    return np.eye(prediction.shape[1], dtype=prediction.dtype)[target]


class AssumesProbabilities(nn.CrossEntropyLoss):
    """The forward applies softmax, the backward takes its input for the result."""

    def backward(self, prediction, target, grad_output=1.0):
        return grad_output * (prediction - hot(prediction, target)) / len(prediction)


class NotDivided(nn.CrossEntropyLoss):
    """The gradient of the sum, of a loss that is a mean."""

    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) * len(prediction)


class SoftmaxOfEverything(nn.CrossEntropyLoss):
    def forward(self, prediction, target):
        e = np.exp(prediction - prediction.max())
        return -np.log((e / e.sum())[np.arange(len(e)), target]).mean()


class Overflows(nn.CrossEntropyLoss):
    """No maximum is subtracted."""

    def forward(self, prediction, target):
        e = np.exp(prediction)
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(p)), target]).mean()


class WritesIntoItsInput(nn.CrossEntropyLoss):
    """The one-hot vector is subtracted in place, from an array that was not copied."""

    def forward(self, prediction, target):
        loss = super().forward(prediction, target)
        prediction -= prediction.max(axis=1, keepdims=True)
        return loss


class MeanOverSamples(nn.CrossEntropyLoss):
    """With class weights: divided by the number of samples, not by the sum of their weights."""

    def forward(self, prediction, target):
        each = nn.CrossEntropyLoss(self.weight, reduction="none").forward(prediction, target)
        return each.mean()


class CountsTheIgnored(nn.NLLLoss):
    """The mean divides by all samples, those that are ignored too."""

    def forward(self, prediction, target):
        each = nn.NLLLoss(self.weight, self.ignore_index, "none").forward(prediction, target)
        return each.mean()


class DoublePrecision(nn.NLLLoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction.astype(np.float64), target, grad_output)


class SignFlipped(nn.L1Loss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(target, prediction, grad_output)


class OnlyBatch(nn.BCEWithLogitsLoss):
    """Averages over all elements, and divides the gradient by the batch alone."""

    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) * prediction.shape[1]


class NaiveSigmoid(nn.BCEWithLogitsLoss):
    def forward(self, prediction, target):
        p = 1 / (1 + np.exp(-prediction))
        return -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()


class Unclamped(nn.BCELoss):
    """0 · log 0 is NaN."""

    def forward(self, prediction, target):
        return -(target * np.log(prediction) + (1 - target) * np.log(1 - prediction)).mean()


class IgnoresUpstream(nn.HuberLoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target)


class NotClipped(nn.HuberLoss):
    """The gradient of the square, far out too."""

    def backward(self, prediction, target, grad_output=1.0):
        return nn.MSELoss(self.reduction).backward(prediction, target, grad_output) / 2


class HuberForSmooth(nn.SmoothL1Loss):
    """Right for beta = 1 only."""

    def forward(self, prediction, target):
        return nn.HuberLoss(self.reduction, delta=self.beta).forward(prediction, target)


class ElementsForBatch(nn.KLDivLoss):
    """The gradient of reduction="mean" for reduction="batchmean"."""

    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) / prediction.shape[1]


class NoZeroInTheLogarithm(nn.KLDivLoss):
    """0 log 0 is NaN for a one-hot target."""

    def forward(self, prediction, target):
        return (target * (np.log(target) - prediction)).mean()


class ConstantVariance(nn.GaussianNLLLoss):
    """Half of the variance's gradient is forgotten."""

    def backward(self, prediction, target, var, grad_output=1.0):
        grad, grad_var = super().backward(prediction, target, var, grad_output)
        return grad, grad_var - grad_output / var / 2 / var.size


class RateForLogarithm(nn.PoissonNLLLoss):
    def backward(self, prediction, target, grad_output=1.0):
        return grad_output * (1 - target / (prediction + self.eps)) / prediction.size


class ConstantLength(nn.CosineEmbeddingLoss):
    """The lengths are taken for constants."""

    def backward(self, x1, x2, target, grad_output=1.0):
        length = np.linalg.norm(x1, axis=1) * np.linalg.norm(x2, axis=1)
        cosine = (x1 * x2).sum(axis=1) / length
        slope = np.where(target > 0, -1, cosine >= self.margin) / length / len(x1)
        return grad_output * slope[:, None] * x2, grad_output * slope[:, None] * x1


class OneSideOfTheAnchor(nn.TripletMarginLoss):
    """The anchor is pulled and never pushed."""

    def backward(self, anchor, positive, negative, grad_output=1.0):
        _, second, third = super().backward(anchor, positive, negative, grad_output)
        return -second, second, third


class SwapWithoutItsGradient(nn.TripletMarginLoss):
    def backward(self, anchor, positive, negative, grad_output=1.0):
        near, far, other = self._distances(anchor, positive, negative)
        active = near - np.minimum(far, other) + self.margin > 0
        upstream = (active * grad_output / len(anchor))[:, None]
        pull = upstream * self._slope(anchor, positive, near)
        push = upstream * self._slope(anchor, negative, far)
        return pull - push, -pull, push


class RanksTheWrongWay(nn.MarginRankingLoss):
    def backward(self, x1, x2, target, grad_output=1.0):
        return super().backward(x1, x2, target, grad_output)[::-1]


class HingeWithoutTarget(nn.HingeEmbeddingLoss):
    """A hinge for both targets."""

    def forward(self, prediction, target):
        return np.maximum(0, self.margin - target * prediction).mean()


class MergesRepeats(nn.CTCLoss):
    """Steps over the blank between equal labels, which would collapse to one."""

    def _stretched(self, *arguments):
        stretched, skips = super()._stretched(*arguments)
        skips[:, 3::2] = True
        return stretched, skips


class IgnoresLengths(nn.CTCLoss):
    """Every sample is read to the end."""

    def forward(self, log_probs, targets, input_lengths, target_lengths):
        lengths = np.full_like(input_lengths, len(log_probs))
        return super().forward(log_probs, targets, lengths, target_lengths)


class PlainMean(nn.CTCLoss):
    """The mean over samples, not divided by their target lengths."""

    def forward(self, *arguments):
        return nn.CTCLoss(self.blank, "none").forward(*arguments).mean()


MISTAKES = [
    ("CrossEntropyLoss", AssumesProbabilities, {}, "backward-wrong", "grad_prediction"),
    ("CrossEntropyLoss", NotDivided, {}, "backward-wrong", "grad_prediction"),
    ("CrossEntropyLoss", SoftmaxOfEverything, {}, "forward-wrong", "output"),
    ("CrossEntropyLoss", Overflows, {}, "non-finite", "output"),
    ("CrossEntropyLoss", WritesIntoItsInput, {}, "contract", "contract: inputs unchanged"),
    ("CrossEntropyLoss", MeanOverSamples, {"weighted": True}, "forward-wrong", "output"),
    ("NLLLoss", CountsTheIgnored, {"ignore_index": 1}, "forward-wrong", "output"),
    ("L1Loss", SignFlipped, {}, "backward-wrong", "grad_prediction"),
    ("BCEWithLogitsLoss", OnlyBatch, {}, "backward-wrong", "grad_prediction"),
    ("BCEWithLogitsLoss", NaiveSigmoid, {}, "non-finite", "output"),
    ("BCELoss", Unclamped, {}, "non-finite", "output"),
    ("HuberLoss", IgnoresUpstream, {}, "backward-wrong", "grad_prediction"),
    ("HuberLoss", NotClipped, {}, "backward-wrong", "grad_prediction"),
    ("SmoothL1Loss", HuberForSmooth, {"beta": 0.4}, "forward-wrong", "output"),
    ("KLDivLoss", ElementsForBatch, {"reduction": "batchmean"}, "backward-wrong", "grad_prediction"),
    ("KLDivLoss", NoZeroInTheLogarithm, {}, "non-finite", "output"),
    ("GaussianNLLLoss", ConstantVariance, {}, "backward-wrong", "grad_var"),
    ("PoissonNLLLoss", RateForLogarithm, {}, "backward-wrong", "grad_prediction"),
    ("CosineEmbeddingLoss", ConstantLength, {}, "backward-wrong", "grad_x1"),
    ("TripletMarginLoss", OneSideOfTheAnchor, {}, "backward-wrong", "grad_anchor"),
    ("TripletMarginLoss", SwapWithoutItsGradient, {"swap": True}, "backward-wrong", "grad_positive"),
    ("MarginRankingLoss", RanksTheWrongWay, {}, "backward-wrong", "grad_x1"),
    ("HingeEmbeddingLoss", HingeWithoutTarget, {}, "forward-wrong", "output"),
    ("CTCLoss", MergesRepeats, {}, "forward-wrong", "output"),
    ("CTCLoss", IgnoresLengths, {}, "forward-wrong", "output"),
    ("CTCLoss", PlainMean, {}, "forward-wrong", "output"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wrong", "options", "code", "quantity"),
    MISTAKES,
    ids=[mistake[1].__name__ for mistake in MISTAKES],
)
def test_a_planted_mistake_is_found(frameworks, name, wrong, options, code, quantity):
    report = quick(name, wrong, options=options)
    assert report.verdict is Verdict.DISAGREE
    assert (code, quantity) in {(f.code, f.quantity) for f in report.findings}, str(report)


def test_every_loss_has_a_planted_mistake():
    planted = {mistake[0] for mistake in MISTAKES}
    elsewhere = {"MSELoss"}  # tests/core/test_mistakes.py
    assert planted | elsewhere == set(LOSSES)


def test_a_gradient_in_double_precision_is_found_in_float32():
    report = crosscheck.check("NLLLoss", DoublePrecision, options={}, dtypes=("float32",))
    assert report.verdict is Verdict.DISAGREE
    assert ("wrong-dtype", "grad_prediction") in {(f.code, f.quantity) for f in report.findings}


def test_a_factor_of_one_feature_is_no_mistake(frameworks):
    """Only where there are several features does the forgotten factor show."""
    report = quick("BCEWithLogitsLoss", OnlyBatch, options={}, sizes={"features": 1})
    assert report.verdict is Verdict.AGREE


# --- where PyTorch and JAX differ -------------------------------------------------------------

CONVENTIONS = [
    ("L1Loss", "equal", "grad_prediction"),
    ("BCELoss", "certain", "grad_prediction"),
    ("GaussianNLLLoss", "collapsed", "grad_var"),
    ("HingeEmbeddingLoss", "at margin", "grad_prediction"),
    ("MarginRankingLoss", "tied", "grad_x1"),
    ("CosineEmbeddingLoss", "orthogonal", "grad_x2"),
    ("CTCLoss", "distinct", "grad_log_probs"),
]


@pytest.mark.parametrize("convention", ["torch", "jax"])
@pytest.mark.parametrize(("name", "kind", "quantity"), CONVENTIONS)
def test_a_convention_follows_its_framework(frameworks, name, kind, quantity, convention):
    report = quick(name, options={"convention": convention})
    assert report.verdict is Verdict.AGREE, str(report)
    verdicts = {
        c.right: c.verdict
        for c in report.comparisons
        if c.case.kind == kind and c.quantity == quantity and c.left == report.subject
    }
    other = {"torch": "jax", "jax": "torch"}[convention]
    assert verdicts[convention] is Verdict.AGREE
    assert verdicts[other] is Verdict.DISAGREE


@pytest.mark.parametrize(("name", "kind", "quantity"), CONVENTIONS)
def test_a_third_convention_is_not_accepted(frameworks, name, kind, quantity):
    class Between(getattr(nn, name)):
        """The mean of both frameworks' gradients."""

        def backward(self, *arguments):
            found = []
            for self.convention in ("torch", "jax"):
                gradients = super().backward(*arguments)
                found.append(gradients if isinstance(gradients, tuple) else (gradients,))
            return tuple((a + b) / 2 for a, b in zip(*found, strict=True))

    report = quick(name, Between, options={})
    assert report.verdict is Verdict.DISAGREE
    assert quantity in {finding.quantity for finding in report.findings}


@pytest.mark.parametrize("convention", ["torch", "jax"])
def test_triplet_at_the_margin(torch, convention):
    """max(0, 1 − 2 + 1) = 0: the kink, which rounding hides unless eps is 0."""
    vectors = [np.array([[value]]) for value in (0.0, 1.0, 2.0)]
    loss = nn.TripletMarginLoss(eps=0, convention=convention)
    assert loss.forward(*vectors) == 0
    found = [g.item() for g in loss.backward(*vectors)]
    assert found == ([0, 1, -1] if convention == "torch" else [0, 0, 0])


def pytorch(torch, module, arrays, wanted, upstream=None):
    """Output and gradients by PyTorch."""
    tensors = [torch.tensor(a) for a in arrays]
    for i in wanted:
        tensors[i].requires_grad_(True)
    output = module(*tensors)
    upstream = torch.ones_like(output) if upstream is None else torch.tensor(upstream)
    gradients = torch.autograd.grad(output, [tensors[i] for i in wanted], upstream)
    return output.detach().numpy(), [g.numpy() for g in gradients]


def agree(torch, name, arrays, wanted=(0,), rtol=1e-12, **options):
    """reference_nn's loss and gradients are PyTorch's, in silence."""
    ours = getattr(nn, name)(**options)
    held = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    output, gradients = pytorch(torch, getattr(torch.nn, name)(**held), arrays, wanted)
    np.testing.assert_allclose(ours.forward(*arrays), output, rtol, 1e-15)
    found = ours.backward(*arrays, np.ones_like(output))
    found = found if isinstance(found, tuple) else (found,)
    for mine, theirs in zip(found, gradients, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol, 1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_images(torch, smoothing):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 4, 2, 5))
    target = rng.integers(0, 4, (3, 2, 5))
    options = {"weight": np.array([0.5, 2, 1, 3]), "ignore_index": 2}
    for reduction in ("mean", "sum", "none"):
        agree(torch, "CrossEntropyLoss", (x, target), reduction=reduction,
              label_smoothing=smoothing, **options)  # fmt: skip
        agree(torch, "NLLLoss", (x, target), reduction=reduction, **options)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_a_class_switched_off_costs_nothing(torch, name):
    x = np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, 0.25]])
    agree(torch, name, (x, np.array([2, 1])))
    agree(torch, name, (x, np.array([2, 0])), ignore_index=0)


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_all_ignored(name):
    x, target = np.ones((2, 3)), np.array([1, 1])
    assert np.isnan(getattr(nn, name)(ignore_index=1).forward(x, target))  # PyTorch: NaN too
    assert np.isnan(getattr(nn, name)(ignore_index=1).backward(x, target)).any()
    for reduction, expected in (("sum", 0), ("none", [0, 0])):
        loss = getattr(nn, name)(ignore_index=1, reduction=reduction)
        np.testing.assert_array_equal(loss.forward(x, target), expected)
        np.testing.assert_array_equal(loss.backward(x, target), np.zeros((2, 3)))


def test_certain_and_wrong(torch):
    """PyTorch's 1e-12 is a float32 in float64 too: hence the tolerance."""
    p, t = np.array([0.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0])
    agree(torch, "BCELoss", (p, t), rtol=1e-8, reduction="sum")
    np.testing.assert_array_equal(
        nn.BCELoss(reduction="sum", convention="jax").backward(p, t), [0, 0, 1, -1]
    )


def test_one_variance_for_a_sample(torch):
    rng = np.random.default_rng(2)
    x, t, v = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), np.array([0.5, 1, 2])
    for var in (v, v[:, None], rng.uniform(0.5, 2, (1, 4))):
        agree(torch, "GaussianNLLLoss", (x, t, var), (0, 2), full=True)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3])
def test_triplets_at_distance_0(torch, p):
    anchor = np.array([[1.0, 0.0], [0.5, 0.5]])
    negative = np.array([[1.0, 0.5], [0.5, 0.5]])
    agree(torch, "TripletMarginLoss", (anchor, anchor.copy(), negative), (0, 1, 2), p=p, eps=0)


def test_a_tie_of_the_swapped_distance(torch):
    """The negative is as far from the anchor as from the positive: each gets one half."""
    arrays = np.array([[0.0, 0]]), np.array([[2.0, 0]]), np.array([[1.0, 0.5]])
    agree(torch, "TripletMarginLoss", arrays, (0, 1, 2), eps=0, swap=True)


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss"])
def test_far_out_nothing_overflows(torch, name):
    d = np.array([1e20, -1e30, 3e-30], np.float32)
    if name == "MSELoss":
        d = d / np.float32(1e15)
    agree(torch, name, (d, np.zeros_like(d)), rtol=1e-6)


def test_counts_too_large(torch):
    agree(torch, "PoissonNLLLoss", (np.array([1e4, -1e4, 2.0]), np.array([2.0, 0.0, 3.0])))


@pytest.mark.parametrize("name", LOSSES)
def test_the_upstream_gradient_is_1_unless_given(name):
    layer = crosscheck.catalogue[name]
    for reduction in ("mean", "sum", "none"):
        case = next(crosscheck.sampling.cases(layer, options={"reduction": reduction}))
        arrays = case.arrays()
        inputs = [arrays[name] for name in case.problem.inputs]
        loss = getattr(nn, name)(reduction=reduction)
        shape = case.problem.outputs["output"].shape(case.problem)
        mine, ones = loss.backward(*inputs), loss.backward(*inputs, np.ones(shape))
        np.testing.assert_equal(mine, ones)


@pytest.mark.parametrize("name", LOSSES)
def test_options_given_as_numpy_numbers_decide_no_dtype(name):
    layer = crosscheck.catalogue[name]
    case = next(crosscheck.sampling.cases(layer, options={}, dtypes=("float32",)))
    arrays, upstream = case.arrays(), np.float64(-0.75)
    inputs = [arrays[name] for name in case.problem.inputs]
    parameters = {"delta", "beta", "margin", "eps", "p", "label_smoothing"}
    options = {k: np.float64(v) for k, v in layer.options.items() if k in parameters}
    loss = getattr(nn, name)(**options)
    assert loss.forward(*inputs).dtype == np.float32
    gradients = loss.backward(*inputs, upstream)
    for gradient in gradients if isinstance(gradients, tuple) else (gradients,):
        assert gradient.dtype == np.float32


# --- CTC, path by path ------------------------------------------------------------------------


def collapse(path, blank):
    merged = [label for label, _ in itertools.groupby(path)]
    return tuple(label for label in merged if label != blank)


def by_paths(log_probs, target, blank):
    """−log of the summed probability of every path that collapses to the target."""
    steps, classes = log_probs.shape
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        if collapse(path, blank) == tuple(target):
            total += np.exp(sum(log_probs[t, k] for t, k in enumerate(path)))
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_sums_over_every_path(blank):
    rng = np.random.default_rng(3)
    labels = [k for k in range(3) if k != blank]
    targets = [t for n in range(4) for t in itertools.product(labels, repeat=n)]
    x = rng.standard_normal((5, len(targets), 3))
    log_probs = nn.LogSoftmax(2).forward(x)
    input_lengths = rng.integers(1, 6, len(targets))
    padded = np.full((len(targets), 3), -7)  # beyond its length a target is not looked at
    for row, target in zip(padded, targets, strict=True):
        row[: len(target)] = target
    lengths = np.array([len(target) for target in targets])
    found = nn.CTCLoss(blank, "none").forward(log_probs, padded, input_lengths, lengths)
    expected = [
        by_paths(log_probs[:steps, n], target, blank)
        for n, (target, steps) in enumerate(zip(targets, input_lengths, strict=True))
    ]
    assert np.isinf(expected).any() and np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def ctc_arguments(seed=4):
    rng = np.random.default_rng(seed)
    log_probs = nn.LogSoftmax(2).forward(rng.standard_normal((6, 5, 4)))
    targets = np.array([[1, 2, 3], [1, 1, 0], [2, 0, 0], [3, 3, 3], [1, 2, 1]])
    return log_probs, targets, np.array([6, 5, 4, 3, 0]), np.array([3, 2, 0, 3, 1])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_of_empty_and_impossible_targets(torch, reduction):
    arguments = ctc_arguments()
    ours = nn.CTCLoss(reduction=reduction, zero_infinity=True, convention="torch")
    theirs = torch.nn.CTCLoss(reduction=reduction, zero_infinity=True)
    output, (gradient,) = pytorch(torch, theirs, arguments, (0,))
    np.testing.assert_allclose(ours.forward(*arguments), output, rtol=1e-12)
    found = ours.backward(*arguments, np.ones_like(output))
    np.testing.assert_allclose(found, gradient, rtol=1e-11, atol=1e-15)


def test_ctc_of_an_impossible_target_is_infinite_and_has_no_gradient():
    arguments = ctc_arguments()
    loss = nn.CTCLoss(reduction="none")
    np.testing.assert_array_equal(np.isinf(loss.forward(*arguments)), [0, 0, 0, 1, 1])
    gradient = loss.backward(*arguments)
    np.testing.assert_array_equal(np.isnan(gradient).any(axis=(0, 2)), [0, 0, 0, 1, 0])


def test_ctc_both_gradients_are_one_before_the_log_softmax():
    log_probs, *others = ctc_arguments()
    upstream = np.array([0.5, -1.25, 2, 1, 1])
    softmax = nn.LogSoftmax(2)
    one, other = (
        softmax.backward(
            log_probs,
            nn.CTCLoss(0, "none", True, convention).backward(log_probs, *others, upstream),
        )
        for convention in ("torch", "jax")
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
    assert np.abs(one).max() > 0.1


def test_ctc_of_a_long_sequence_does_not_underflow():
    steps, classes = 3000, 5
    log_probs = np.full((steps, 1, classes), -np.log(classes))
    rest = np.array([[1, 2]]), np.array([steps]), np.array([2])
    criterion = nn.CTCLoss(reduction="sum")
    # Blanks, 1s, blanks, 2s, blanks: four changes in 3000 steps, some of the runs empty.
    paths = sum(
        len(list(itertools.combinations(range(3), k))) * comb(steps - 1, 1 + k) for k in range(4)
    )
    expected = steps * np.log(5) - np.log(float(paths))
    for dtype in (np.float64, np.float32):
        args = log_probs.astype(dtype), *rest
        # One rounding a step, of a number as large as the result.
        bound = steps * np.finfo(dtype).eps / 2
        np.testing.assert_allclose(criterion.forward(*args), expected, rtol=bound)
        assert np.isfinite(criterion.backward(*args)).all()


# --- optax ------------------------------------------------------------------------------------


def by_sample(prediction, target):
    """optax has classes last."""
    import jax.numpy as jnp

    return jnp.moveaxis(prediction, 1, -1), jnp.moveaxis(target, 1, -1)


def one_hot(x, target):
    import jax

    return jax.nn.one_hot(target, x.shape[1], dtype=x.dtype)


OPTAX = [
    ("MSELoss", {}, lambda o, x, t: o.squared_error(x, t).mean()),
    ("HuberLoss", {"delta": 0.4}, lambda o, x, t: o.huber_loss(x, t, delta=0.4).mean()),
    ("SmoothL1Loss", {"beta": 0.4}, lambda o, x, t: o.huber_loss(x, t, delta=0.4).mean() / 0.4),
    (
        "CrossEntropyLoss",
        {"extra_dimension": True, "reduction": "none"},
        lambda o, x, t: o.softmax_cross_entropy_with_integer_labels(x, t, axis=1),
    ),
    (
        "CrossEntropyLoss",
        {"label_smoothing": 0.1},
        lambda o, x, t: o.softmax_cross_entropy(x, o.smooth_labels(one_hot(x, t), 0.1)).mean(),
    ),
    (
        "CrossEntropyLoss",
        {"probabilities": True, "extra_dimension": True},
        lambda o, x, t: o.softmax_cross_entropy(*by_sample(x, t)).mean(),
    ),
    ("BCEWithLogitsLoss", {}, lambda o, x, t: o.sigmoid_binary_cross_entropy(x, t).mean()),
    ("KLDivLoss", {"reduction": "batchmean"}, lambda o, x, t: o.kl_divergence(x, t).mean()),
    (
        "KLDivLoss",
        {"reduction": "batchmean", "log_target": True},
        lambda o, x, t: o.kl_divergence_with_log_targets(x, t).mean(),
    ),
]


@pytest.mark.parametrize(("name", "options", "loss"), OPTAX)
def test_optax_computes_the_same_as_our_jax_twin(optax, name, options, loss):
    def by_optax(prediction, target):
        return loss(optax.losses, prediction, target)

    report = quick(name, by_optax, options=options, against=("jax",))
    assert report.verdict is Verdict.AGREE, str(report)


def test_optax_cosine(optax, x64):
    rng = np.random.default_rng(5)
    x1, x2 = rng.standard_normal((2, 4, 3))
    target, loss = np.array([1.0, -1, 1, -1]), nn.CosineEmbeddingLoss(reduction="none")
    cosine = np.asarray(optax.losses.cosine_similarity(x1, x2))
    expected = np.where(target > 0, 1 - cosine, np.maximum(cosine, 0))
    np.testing.assert_allclose(loss.forward(x1, x2, target), expected, rtol=1e-11)


def test_optax_triplet_without_eps(optax, x64):
    a, p, n = np.random.default_rng(6).standard_normal((3, 5, 4))
    loss = nn.TripletMarginLoss(eps=0, reduction="none")
    theirs = partial(optax.losses.triplet_margin_loss, eps=0.0)
    output, pull = x64.vjp(theirs, a, p, n)
    np.testing.assert_allclose(loss.forward(a, p, n), output, rtol=1e-12)
    upstream = np.array([0.5, -1, 2, 1.5, -0.75])
    for mine, other in zip(loss.backward(a, p, n, upstream), pull(upstream), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-14)


def test_optax_ctc(optax, x64):
    """Its logits are (N, T, C) and go through a log_softmax, so its gradient is PyTorch's."""
    log_probs, targets, _, _ = ctc_arguments()
    steps, lengths = np.array([6, 5, 4, 6, 3]), np.array([3, 2, 1, 2, 1])
    loss = nn.CTCLoss(reduction="none", convention="torch")

    def theirs(logits):
        time_padding = np.arange(6) >= steps[:, None]
        label_padding = np.arange(3) >= lengths[:, None]
        return optax.losses.ctc_loss(
            logits, time_padding.astype(float), targets, label_padding.astype(float)
        )

    output, pull = x64.vjp(theirs, log_probs.transpose(1, 0, 2))
    np.testing.assert_allclose(loss.forward(log_probs, targets, steps, lengths), output, rtol=1e-10)
    upstream = np.array([0.5, -1, 2, 1.5, -0.75])
    gradient = np.asarray(pull(upstream)[0]).transpose(1, 0, 2)
    found = loss.backward(log_probs, targets, steps, lengths, upstream)
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-10)


def _kl_of_ledger(losses):
    q = np.log([[0.5, 0.5], [0.25, 0.75]])
    return losses.kl_divergence(q, np.array([[0.1, 0.9], [0.6, 0.4]])).mean()


def _weighted_of_ledger(losses):
    logits, target = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([0, 1])
    weights = np.array([1.0, 3.0])
    each = losses.softmax_cross_entropy_with_integer_labels(logits, target)
    return (weights[target] * each).mean()


def _triplet_of_ledger(losses):
    a, p, n = (np.array([v]) for v in ([0.5, 0.75], [0.0, 1.0], [0.0, 0.0]))
    return losses.triplet_margin_loss(a, p, n, norm_degree=3, eps=0.0)[0]


def _distance_of_ledger(losses):
    """The near distance alone: the far one is 0 up to eps, and so is the margin."""
    u, v = np.array([[0.3, -0.2]]), np.array([[0.1, 0.4]])
    return losses.triplet_margin_loss(u, v, u, margin=1.0)[0] - 1 + np.sqrt(1e-6)


LEDGER = {
    "l2-half": lambda losses: losses.l2_loss(2.0, 1.0),
    "smooth-l1-and-huber": lambda losses: losses.huber_loss(2.0, 0.0, delta=0.5),
    "hinge-embedding-is-no-hinge-loss": lambda losses: losses.hinge_loss(0.25, 1.0),
    "kl-mean": _kl_of_ledger,
    "weighted-mean": _weighted_of_ledger,
    "triplet-odd-p": _triplet_of_ledger,
    "triplet-eps": _distance_of_ledger,
}


@pytest.mark.parametrize("slug", list(LEDGER))
def test_the_ledger_says_what_optax_does(optax, x64, slug):
    expected = crosscheck.ledger()[slug].measure()[1]
    np.testing.assert_allclose(LEDGER[slug](optax.losses), expected, rtol=1e-12)


# --- refusals ---------------------------------------------------------------------------------

X, VECTOR = np.ones((2, 3)), np.ones(2)
CTC = np.zeros((4, 1, 3)), np.array([[1, 2]]), np.array([4]), np.array([2])


def ctc(index, value):
    return lambda: nn.CTCLoss().forward(*CTC[:index], value, *CTC[index + 1 :])


REFUSED = [
    (lambda: nn.MSELoss("median"), "MSELoss: reduction='median' is not one of 'mean', 'sum', 'none'"),
    (lambda: nn.MSELoss("batchmean"), "MSELoss: reduction='batchmean'"),
    (lambda: nn.KLDivLoss("all"), "KLDivLoss: reduction='all' .* 'batchmean'"),
    (lambda: nn.L1Loss(convention="tf"), "L1Loss: convention='tf' is not one of 'torch', 'jax'"),
    (lambda: nn.BCELoss(convention="tf"), "BCELoss: convention='tf'"),
    (lambda: nn.CTCLoss(convention="tf"), "CTCLoss: convention='tf'"),
    (lambda: nn.GaussianNLLLoss(convention="tf"), "GaussianNLLLoss: convention='tf'"),
    (lambda: nn.MarginRankingLoss(convention="tf"), "MarginRankingLoss: convention='tf'"),
    (lambda: nn.HuberLoss(delta=0), "HuberLoss: delta=0 must be positive"),
    (lambda: nn.SmoothL1Loss(beta=-1), "SmoothL1Loss: beta=-1 must not be negative"),
    (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), r"CrossEntropyLoss: label_smoothing=1.5"),
    (lambda: nn.TripletMarginLoss(margin=0), "TripletMarginLoss: margin=0 must be positive"),
    (lambda: nn.TripletMarginLoss(p=np.inf), "TripletMarginLoss: p=inf must be positive and finite"),
    (lambda: nn.MSELoss().forward(X, X[:, :1]), r"MSELoss: .* \(2, 3\) and \(2, 1\); .* every pair"),
    (lambda: nn.MSELoss().backward(X, X, np.ones(2)), r"MSELoss: grad_output has shape \(2,\)"),
    (
        lambda: nn.MSELoss("none").backward(X, X, np.ones(3)),
        r"grad_output has shape \(3,\), expected \(2, 3\), the output's with reduction='none'",
    ),
    (lambda: nn.BCELoss().forward(X + 1, X), r"BCELoss: .* outside \[0, 1\]"),
    (lambda: nn.GaussianNLLLoss().forward(X, X, -X), "GaussianNLLLoss: var has negative"),
    (
        lambda: nn.GaussianNLLLoss().forward(X, X, np.ones((2, 2))),
        r"GaussianNLLLoss: var has shape \(2, 2\); .* \(2, 3\)",
    ),
    (lambda: nn.NLLLoss().forward(VECTOR, np.array(0)), r"NLLLoss: .* \(N, C, ...\), got \(2,\)"),
    (
        lambda: nn.NLLLoss().forward(X, VECTOR),
        r"NLLLoss: class indices need shape \(2,\) and an integer dtype .* got \(2,\) and float64",
    ),
    (lambda: nn.CrossEntropyLoss().forward(X, np.array([0])), r"class indices need shape \(2,\)"),
    (lambda: nn.CrossEntropyLoss().forward(X, VECTOR), r"CrossEntropyLoss: .* \(2, 3\) and \(2,\)"),
    (lambda: nn.CrossEntropyLoss(ignore_index=1).forward(X, X), "ignore_index=1 is for class indices"),
    (
        lambda: nn.CrossEntropyLoss(np.ones(2)).forward(X, np.array([0, 1])),
        r"CrossEntropyLoss: weight has shape \(2,\), expected \(3,\)",
    ),
    (
        lambda: nn.CosineEmbeddingLoss().forward(X, X, X),
        r"CosineEmbeddingLoss: .* \(N, D\), target \(N,\); got \(2, 3\), \(2, 3\) and \(2, 3\)",
    ),
    (lambda: nn.MarginRankingLoss().forward(VECTOR, VECTOR, X), "MarginRankingLoss: its inputs have"),
    (lambda: nn.TripletMarginLoss().forward(X, X, VECTOR), "TripletMarginLoss: its inputs have"),
    (lambda: nn.HingeEmbeddingLoss().forward(X, VECTOR), "HingeEmbeddingLoss: its inputs have"),
    (ctc(0, X), r"CTCLoss: log_probs needs shape \(T, N, C\) .* got \(2, 3\)"),
    (ctc(1, np.array([[1, 3]])), "CTCLoss: a label lies outside 0 … 2"),
    (ctc(2, np.array([5])), r"CTCLoss: input_lengths needs 1 lengths in 0 … 4, got \[5\]"),
    (ctc(3, np.array([-1])), r"CTCLoss: target_lengths needs 1 lengths in 0 … 2, got \[-1\]"),
    (lambda: nn.CTCLoss(blank=3).forward(*CTC), "CTCLoss: blank=3 lies outside 0 … 2"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_a_loss_does_not_have_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("target", [[0, 3], [-1, 0]])
@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss"])
def test_a_class_that_does_not_exist_is_refused(name, target):
    with pytest.raises(IndexError, match=f"{name}: a class index lies outside 0 … 2"):
        getattr(nn, name)().forward(X, np.array(target))


@pytest.mark.parametrize("layer", ["CrossEntropyLoss", "NLLLoss"])
def test_no_case_ignores_every_target(layer):
    """The mean over nothing is 0/0, of which nothing can be said."""
    spec = crosscheck.catalogue[layer]
    problem = spec.problem({"ignore_index": 1}, {"batch": 4, "classes": 2})
    targets = [build(problem, seed, "distinct").values["target"] for seed in range(100)]
    assert all((t != 1).any() and t.min() >= 0 and t.max() < 2 for t in targets)
    assert any((t == 1).any() for t in targets)
