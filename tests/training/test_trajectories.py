"""Training side by side: right ones walk one path, and a wrong one is seen to leave it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import reference_nn as nn
from crosscheck import MissingFramework, UsageError, Verdict
from crosscheck.cli import cli
from crosscheck.training import MODELS, train
from crosscheck.training.curves import require_target
from crosscheck.training.digits import batches, digits

pytest.importorskip("sklearn")
pytest.importorskip("torch")

STEPS = 8


@pytest.mark.parametrize("name", MODELS)
def test_all_frameworks_walk_the_same_path(name):
    pytest.importorskip("optax")
    training = train(name, steps=STEPS)
    assert training.verdict is Verdict.AGREE, [str(p) for p in training.partings]
    assert training.horizon == STEPS
    assert {who for who, _ in training.losses} == {"reference_nn", "torch", "jax"}
    assert all(len(m) == STEPS for m in training.margins.values())
    # It was training: the weights have moved, and the three ways are the same to 12 digits.
    exact = [losses for (_, dtype), losses in training.losses.items() if dtype == "float64"]
    assert np.ptp([losses[-1] for losses in exact]) < 1e-12
    assert all(losses[0] != losses[-1] for losses in exact)


@pytest.fixture
def without_jax(monkeypatch):
    """PyTorch alone: nothing is compiled."""
    import crosscheck.training.trajectory as trajectory

    there = trajectory.installed
    monkeypatch.setattr(trajectory, "installed", lambda name: name != "jax" and there(name))


def sgd(**wrong):
    def make(parameters):
        return nn.SGD(parameters, **{"lr": 0.05, "momentum": 0.9, **wrong})

    return make


class NotCleared(nn.SGD):
    total = None

    def step(self, gradients):
        before = self.total or [0 * g for g in gradients]
        self.total = [a + b for a, b in zip(before, gradients, strict=True)]
        super().step(self.total)


#: The step after which each has to be seen.
WRONG = [
    ("nesterov", sgd(nesterov=True), 1),
    ("lr", sgd(lr=0.05 * (1 + 1e-9)), 1),
    ("momentum", sgd(momentum=0.9 * (1 + 1e-8)), 2),
    ("not cleared", lambda p: NotCleared(p, lr=0.05, momentum=0.9), 2),
]


@pytest.mark.parametrize(("what", "make", "seen"), WRONG, ids=[w[0] for w in WRONG])
def test_a_wrong_optimizer_leaves_the_path_at_once(without_jax, what, make, seen):
    training = train("mlp", steps=5, subject=make)
    assert training.verdict is Verdict.DISAGREE
    first = min(p.step for p in training.partings)
    assert first == seen, [str(p) for p in training.partings]
    assert all("torch" in (p.left, p.right) for p in training.partings)


def test_the_right_optimizer_as_a_subject_agrees(without_jax):
    assert train("mlp", steps=5, subject=sgd()).verdict is Verdict.AGREE


class ForgetsThePast(nn.LSTM):
    """The gradient does not go back through time: only the last step's is used."""

    def backward(self, x, h0, c0, grad_output, grad_hn=None, grad_cn=None):
        last = [x[:, -1:], *(a if a is None else a for a in (None, None))]
        states = self.forward(x[:, :-1])
        found = super().backward(last[0], states[1], states[2], grad_output[:, -1:])
        grad_x = np.zeros_like(x)
        grad_x[:, -1:] = found[0]
        return grad_x, found[1], found[2]


def test_a_wrong_layer_leaves_the_path(without_jax):
    from crosscheck.training.models import LastOutput

    def reference(rng):
        return nn.Sequential(
            LastOutput(ForgetsThePast(8, 24, batch_first=True, rng=rng)),
            nn.Linear(24, 10, rng=rng),
        )

    training = train(replace(MODELS["lstm"], reference=reference), steps=2)
    assert training.verdict is Verdict.DISAGREE
    assert {p.parameter for p in training.partings} == {"0.weight_ih_l0"}
    assert all(p.step == 1 for p in training.partings)


def test_a_frameworks_weights_that_leave_the_path_are_seen(without_jax, monkeypatch):
    """The frameworks themselves are compared too: here one that drops the gradient of a bias."""
    from crosscheck.training.walkers import TorchWalker

    step = TorchWalker.step

    def dropping(self, x, y):
        before = self.leaves["2.bias"].detach().clone()
        loss = step(self, x, y)
        self.leaves["2.bias"].data.copy_(before)
        return loss

    monkeypatch.setattr(TorchWalker, "step", dropping)
    training = train("mlp", steps=2)
    assert training.verdict is Verdict.DISAGREE
    # The bias itself does not move in the framework, so it has no horizon; the rest parts next.
    assert training.horizons["2.bias"] == 0
    assert min(p.step for p in training.partings) == 2


def test_beyond_the_horizon_it_is_unchecked_and_said(without_jax):
    """Adam divides the rounding of a gradient that is zero (that of the keys' bias) by its own size."""
    training = train("encoder", "Adam", steps=4)
    assert training.horizons["2.self_attn.in_proj_bias"] == 0
    assert training.verdict is Verdict.UNCHECKED
    assert training.horizons["4.weights"] == 4


@pytest.mark.parametrize("optimizer", ["AdamW", "RMSprop", "Adagrad", "Rprop"])
def test_other_optimizers_walk_along(without_jax, optimizer):
    training = train("mlp", optimizer, steps=4)
    assert not training.partings, [str(p) for p in training.partings]


def test_a_kink_that_one_float32_way_crosses_alone_is_no_mistake(without_jax, monkeypatch):
    """In this training one activation lies so close to a ReLU's kink that rounding decides."""
    import crosscheck.training.trajectory as trajectory

    assert not train("encoder", steps=60, seed=4).partings
    monkeypatch.setattr(trajectory, "NEARBY_WALKS", 0)
    alone = train("encoder", steps=60, seed=4)
    assert all(p.dtype == "float32" for p in alone.partings)


def test_a_seed_names_the_weights_and_the_batches(without_jax):
    one, same, other = (train("mlp", steps=2, seed=s).losses for s in (1, 1, 2))
    assert one == same != other


def test_the_data_are_exact_in_float32_and_split_without_overlap():
    data = digits()
    assert (data.train_x == data.train_x.astype(np.float32)).all()
    assert len(data.train_x) + len(data.test_x) == 1797
    x, y = next(batches(data, 0, 40))
    assert x.shape == (40, 8, 8) and y.shape == (40,)


def test_an_epoch_shows_every_image_once():
    data = digits()
    count = len(data.train_x) // 32
    drawn = batches(data, 0, 32)
    seen = np.concatenate([next(drawn)[0] for _ in range(count)]).reshape(count * 32, -1)
    assert len(np.unique(seen, axis=0)) == len(np.unique(data.train_x.reshape(-1, 64), axis=0)) or (
        len(seen) == count * 32
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train("mpl"), "mlp"),
        (lambda: train("mlp", "Adams"), "Adam"),
        (lambda: train("mlp", "Linear"), "unknown optimizer"),
        (lambda: train("mlp", options={"rl": 1}), "lr"),
        (lambda: train("mlp", steps=0), "steps=0"),
        (lambda: train("mlp", batch=10_000), "1438 images"),
        (lambda: train("mlp", batch=True), "batch=True"),
        (lambda: train("mlp", options={"lr": -1}), "SGD: invalid learning rate -1"),
        (lambda: train("mlp", options={"lr": "much"}), "SGD"),
        (lambda: train("mlp", "Muon"), "only matrices"),
        (lambda: require_target("/nowhere/at/all.png"), "no folder"),
        (lambda: require_target("curves.xyz"), ".svg"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_frameworks_that_diverge_leave_nothing_to_compare(without_jax):
    training = train("mlp", options={"lr": 1e30}, steps=3)
    assert not training.partings
    assert training.horizon < 3


def test_nobody_to_walk_beside(monkeypatch):
    import crosscheck.training.trajectory as trajectory

    monkeypatch.setattr(trajectory, "installed", lambda name: False)
    with pytest.raises(MissingFramework, match="nobody to walk beside"):
        train("mlp", steps=1)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    import crosscheck.training.digits as module

    monkeypatch.setattr(module, "installed", lambda name: False)
    module.digits.cache_clear()
    with pytest.raises(MissingFramework, match=r"crosscheck\[train\]"):
        train("mlp", steps=1)


def test_the_command(without_jax, tmp_path):
    pytest.importorskip("matplotlib")
    arguments = ["train", "mlp", "--steps", "3", "--plot", "c.png", "--json", "t.json"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.exception is None and result.return_value == 0, result.output
    assert "after each of 3 steps" in result.output
    assert max(map(len, result.output.splitlines())) <= 100
    data = json.loads((tmp_path / "t.json").read_text())
    assert data["format"] == "crosscheck-training" and data["horizon"] == 3
    assert len(data["walks"]) == 4 and len(data["walks"][0]["losses"]) == 3
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_the_command_ends_with_1_where_the_ways_part(without_jax, monkeypatch):
    update = nn.SGD.update

    def wrong(self, p, g, state):
        update(self, p, g * (1 + 1e-6), state)

    monkeypatch.setattr(nn.SGD, "update", wrong)
    result = CliRunner().invoke(cli, ["train", "mlp", "--steps", "2"], standalone_mode=False)
    assert result.return_value == 1
    assert "parts after step 1" in result.output
