"""reference_nn's optimizers, schedules and clipping: what torch does with odd and bad input, and more."""

import math
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

import crosscheck
import reference_nn as nn
from crosscheck import MissingFramework, UsageError, Verdict
from crosscheck.cli import cli

NAMES = [name for name, layer in crosscheck.catalogue.items() if layer.group == "optimizers"]
SCHEDULES = [name for name, layer in crosscheck.catalogue.items() if layer.group == "schedules"]


def torch_of(name, weights, **options):
    torch = pytest.importorskip("torch")
    leaves = [torch.nn.Parameter(torch.from_numpy(w.copy())) for w in weights]
    return leaves, getattr(torch.optim, name)(leaves, **options)


def test_every_optimizer_of_torch_but_three_is_there():
    torch = pytest.importorskip("torch")
    theirs = {
        name
        for name, found in vars(torch.optim).items()
        if isinstance(found, type) and issubclass(found, torch.optim.Optimizer)
    } - {"Optimizer"}
    assert theirs - set(NAMES) <= {"ASGD", "LBFGS", "SparseAdam"}
    assert set(NAMES) <= theirs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lr", [-0.1, math.nan])
def test_a_negative_or_nan_learning_rate_is_refused(name, lr):
    weights = [np.zeros((2, 3))]
    with pytest.raises(ValueError, match=f"{name}: invalid learning rate"):
        getattr(nn, name)(weights, lr=lr)
    if not (name == "SGD" and math.isnan(lr)):  # which torch lets through
        with pytest.raises(ValueError, match="earning rate"):
            torch_of(name, weights, lr=lr)


BAD_OPTIONS = [
    ("SGD", {"momentum": -1.0}),
    ("SGD", {"weight_decay": -1.0}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("Rprop", {"etas": (1.2, 0.5)}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("Adam", {"eps": -1.0}),
    ("Adam", {"eps": math.nan}),
    ("Adamax", {"betas": (0.9, 1.0)}),
    ("NAdam", {"momentum_decay": -1.0}),
    ("RAdam", {"betas": (math.nan, 0.9)}),
    ("Adagrad", {"lr_decay": -1.0}),
    ("Adagrad", {"initial_accumulator_value": -1.0}),
    ("Adadelta", {"rho": 1.5}),
    ("RMSprop", {"alpha": -0.1}),
    ("RMSprop", {"momentum": math.nan}),
    ("Adafactor", {"beta2_decay": 0.1}),
    ("Adafactor", {"d": 0.5}),
    ("Adafactor", {"eps": (-1.0, 1e-3)}),
    ("Muon", {"momentum": -0.1}),
    ("Muon", {"adjust_lr_fn": "other"}),
]


@pytest.mark.parametrize(("name", "options"), BAD_OPTIONS, ids=[f"{n}-{o}" for n, o in BAD_OPTIONS])
def test_bad_options_are_refused_as_torch_does(name, options):
    weights = [np.zeros((2, 3))]
    with pytest.raises(ValueError, match=name):
        getattr(nn, name)(weights, **options)
    with pytest.raises((ValueError, RuntimeError)):
        torch_of(name, weights, **options)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "empty"),
        (np.zeros(3), "a list of arrays"),
        ([np.zeros(3, int)], "real numbers"),
        ([[1.0, 2.0]], "real numbers"),
        ([np.broadcast_to(np.zeros(1), (3,))], "read-only"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        nn.SGD(parameters)


def test_the_same_parameter_twice_is_refused():
    w = np.zeros(3)
    with pytest.raises(ValueError, match="twice"):
        nn.SGD([w, w])


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        ([np.zeros((3, 2)), np.zeros(3)], r"gradient 0 has shape \(3, 2\)"),
        ([np.zeros((2, 3)), np.zeros(1)], r"gradient 1 has shape \(1,\)"),
        ([np.zeros((2, 3), np.float32), np.zeros(3)], "float32"),
        ([np.zeros((2, 3))], "1 gradients for 2 parameters"),
        ([[0.0], np.zeros(3)], "type list"),
    ],
)
def test_gradients_that_do_not_fit_are_refused_before_anything_changes(gradients, message):
    weights = [np.ones((2, 3)), np.ones(3)]
    optimizer = nn.Adam(weights)
    with pytest.raises(ValueError, match=message):
        optimizer.step(gradients)
    assert all((w == 1).all() for w in weights)
    assert optimizer.state[0]["step"] == 0


def test_a_step_before_any_backward_changes_nothing_as_in_torch():
    weights = [np.ones((2, 3))]
    optimizer = nn.Adam(weights, lr=0.1)
    with pytest.warns(UserWarning, match="call backward first"):
        optimizer.step([None])
    leaves, theirs = torch_of("Adam", [np.ones((2, 3))], lr=0.1)
    theirs.step()
    assert (weights[0] == 1).all() and (leaves[0].detach().numpy() == 1).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "Muon"])
def test_a_parameter_without_gradient_waits_and_its_steps_are_its_own(name):
    """torch counts steps per parameter: one that comes late has its bias corrected from its first."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal((2, 3)), rng.standard_normal(3)]
    leaves, theirs = torch_of(name, weights)
    ours = getattr(nn, name)(weights)
    for t in range(4):
        gradients = [rng.standard_normal((2, 3)), rng.standard_normal(3) if t > 1 else None]
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = None if gradient is None else torch.from_numpy(gradient.copy())
        theirs.step()
        ours.step(gradients)
    # NAdam's product of momenta is float32 in torch, see the ledger.
    room = 1e-9 if name == "NAdam" else 1e-14
    for w, leaf in zip(weights, leaves, strict=True):
        assert np.max(np.abs(w - leaf.detach().numpy())) < room


def test_a_schedule_sets_the_rate_of_the_next_step():
    w = np.zeros(2)
    optimizer = nn.SGD([w])
    schedule = nn.StepLR(1.0, step_size=2, gamma=0.5)
    for step in range(4):
        optimizer.lr = schedule(step)
        optimizer.step([np.ones(2)])
    assert (w == -(1 + 1 + 0.5 + 0.5)).all()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("step", "message"), [(-1, "0 or larger"), (1.5, "whole number"), (True, "whole number")]
)
def test_a_step_that_is_none_is_refused(name, step, message):
    with pytest.raises(ValueError, match=message):
        getattr(nn, name)(0.1)(step)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("lr", [-0.1, math.nan])
def test_a_schedule_of_no_rate_is_refused(name, lr):
    with pytest.raises(ValueError, match="learning rate"):
        getattr(nn, name)(lr)


def test_one_cycle_past_its_end_raises_as_in_torch():
    pytest.importorskip("torch")
    import torch

    from crosscheck.families.schedules import torch_rates

    schedule = nn.OneCycleLR(0.1, total_steps=5)
    with pytest.raises(ValueError, match="past its end: it has 5 steps"):
        schedule(6)

    def make(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=5, cycle_momentum=False
        )

    rates = torch_rates(make, 0.1, 6)  # one past the end is let through, and goes on
    assert np.max(np.abs(np.array(rates) - [schedule(t) for t in range(6)])) < 1e-16
    with pytest.raises(ValueError, match="total steps"):
        torch_rates(make, 0.1, 7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.ConstantLR(0.1, factor=1.5),
        lambda: nn.LinearLR(0.1, start_factor=0.0),
        lambda: nn.LinearLR(0.1, total_iters=0),
        lambda: nn.StepLR(0.1, step_size=0),
        lambda: nn.CosineAnnealingLR(0.1, T_max=0),
        lambda: nn.CosineAnnealingWarmRestarts(0.1, T_mult=0),
        lambda: nn.OneCycleLR(0.1, pct_start=1.5),
        lambda: nn.OneCycleLR(0.1, anneal_strategy="other"),
        lambda: nn.OneCycleLR(0.1, convention="keras"),
    ],
)
def test_bad_schedules_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_clipping_refuses_what_torch_refuses():
    for value in (-1.0, math.nan):
        with pytest.raises(ValueError, match="max_norm"):
            nn.clip_grad_norm_([np.ones(3)], value)
        with pytest.raises(ValueError, match="clip_value"):
            nn.clip_grad_value_([np.ones(3)], value)
    infinite = [np.array([math.inf, 1.0])]
    with pytest.raises(ValueError, match="inf: nothing clipped"):
        nn.clip_grad_norm_(infinite, 1.0, error_if_nonfinite=True)
    assert infinite[0][1] == 1.0


def test_clipping_nothing_and_zeros():
    assert nn.clip_grad_norm_([], 1.0) == 0.0
    zeros = [np.zeros(3)]
    for convention in ("torch", "jax"):
        assert nn.clip_grad_norm_(zeros, 1.0, convention=convention) == 0.0
        assert (zeros[0] == 0).all()


# --- the ledger -------------------------------------------------------------------------------

OURS = {layer for layer in crosscheck.catalogue if crosscheck.catalogue[layer].convention}
ENTRIES = [entry for entry in crosscheck.ledger().values() if entry.layer in OURS]


def test_the_ledger_knows_where_the_frameworks_differ():
    assert {entry.layer for entry in ENTRIES} >= {
        "Adam", "AdamW", "NAdam", "RAdam", "Rprop", "SGD", "RMSprop", "Adagrad", "Adafactor",
        "Muon", "CosineAnnealingLR", "OneCycleLR", "clip_grad_norm_",
    }  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.slug)
def test_a_known_difference_still_exists(entry):
    """Far above rounding, which is below 1e-14 here; then reference_nn has to say whom it follows."""
    pytest.importorskip("torch")
    pytest.importorskip("optax")
    theirs, others = entry.measure()
    assert theirs.shape == others.shape
    assert np.max(np.abs(theirs - others)) > 1e-12
    assert entry.option or entry.mapping
    if entry.option:
        assert crosscheck.catalogue[entry.layer].options[entry.option] == entry.follows == "torch"


# --- the harness ------------------------------------------------------------------------------


def test_without_optax_jax_is_no_witness_and_no_error(both, monkeypatch):
    import crosscheck.checking as checking

    there = checking.installed
    monkeypatch.setattr(checking, "installed", lambda name: name != "optax" and there(name))
    report = crosscheck.check("SGD", options={}, dtypes=("float64",))
    assert report.witnesses["jax"] == "not installed: optax"
    assert report.verdict is Verdict.AGREE
    with pytest.raises(MissingFramework, match="pip install optax"):
        crosscheck.check("SGD", against=("jax",))


def test_an_optimizer_that_nobody_compares_is_unchecked_not_right(monkeypatch):
    import crosscheck.checking as checking

    monkeypatch.setattr(checking, "installed", lambda name: False)
    for name in ("Adam", "StepLR", "clip_grad_norm_"):
        report = crosscheck.check(name, options={})
        assert report.verdict is Verdict.UNCHECKED
        assert "nobody to compare with" in str(report.unchecked())
    # A layer with a gradient still has its numeric derivative.
    assert crosscheck.check("Sigmoid", options={}).verdict is Verdict.AGREE


def test_the_numeric_witness_says_that_it_does_not_apply(torch):
    report = crosscheck.check("SGD", options={}, dtypes=("float64",), against=("torch", "numeric"))
    assert report.witnesses["numeric"] == "does not apply (no gradient)"
    assert not any(c.right == "numeric" for c in report.comparisons)
    with pytest.raises(UsageError, match="nothing to differentiate"):
        crosscheck.check("SGD", against=("numeric",))


def test_a_run_says_of_each_witness_all_that_there_is_to_say(torch):
    arguments = ["run", "Linear", "StepLR", "--dtype", "float64", "--against", "torch,numeric"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    said = " ".join(result.output.split())
    assert "numeric random directions / does not apply (no gradient)" in said


class Functional:
    """step(parameters, gradients) returns new ones."""

    def __init__(self, parameters, lr=1e-3):
        self.lr = lr

    def step(self, parameters, gradients):
        return [p - self.lr * g for p, g in zip(parameters, gradients, strict=True)]


class OfLayers:
    """Takes layers and asks them, as the optimizer of many exercises does."""

    def __init__(self, layers, lr=1e-3):
        self.layers, self.lr = layers, lr

    def step(self):
        for layer in self.layers:
            for p, g in zip(*layer.get_params(), strict=True):
                p -= self.lr * g


@pytest.mark.parametrize("style", [Functional, OfLayers])
def test_other_styles_of_optimizers_are_understood(an_oracle, style):
    report = crosscheck.check("SGD", style, options={})
    assert report.verdict is Verdict.AGREE, str(report)

    class Wrong(style):
        def __init__(self, parameters, lr=1e-3):
            super().__init__(parameters, 2 * lr)

    assert crosscheck.check("SGD", Wrong, options={}).verdict is Verdict.DISAGREE


def test_optimizers_of_the_frameworks_may_be_the_subject():
    torch = pytest.importorskip("torch")
    optax = pytest.importorskip("optax")

    def mine(lr):
        return optax.adam(lr)

    def other(lr):
        return optax.rmsprop(lr)

    def none(lr):
        return 3

    quick = {"dtypes": ("float64",)}
    report = crosscheck.check("Adam", torch.optim.Adam, **quick)
    assert report.verdict is Verdict.AGREE and "convention" in str(report.notes)
    assert crosscheck.check("Adam", mine, options={}, **quick).verdict is Verdict.AGREE
    assert crosscheck.check("Adam", other, options={}, **quick).verdict is Verdict.DISAGREE
    wrong = crosscheck.check("Adam", torch.optim.RMSprop, options={}, **quick)
    assert wrong.verdict is Verdict.DISAGREE
    # PyTorch's own Muon rounds to bfloat16, as the ledger says: it is not its formula.
    assert crosscheck.check("Muon", torch.optim.Muon, options={}).verdict is Verdict.DISAGREE
    assert "expected an optax" in str(
        crosscheck.check("Adam", none, options={}, **quick).comparisons[0]
    )


@pytest.mark.parametrize("subject", [object, type("NoStep", (), {"__init__": lambda s, p: None})])
def test_a_class_without_step_is_answered_in_words(subject):
    report = crosscheck.check("SGD", subject, options={}, dtypes=("float64",))
    assert report.verdict is Verdict.DISAGREE


def test_importing_the_schedules_of_the_catalogue_warns_of_nothing(torch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crosscheck.check("OneCycleLR", options={}, dtypes=("float64",), against=("torch",))
