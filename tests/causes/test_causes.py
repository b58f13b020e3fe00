"""Every planted mistake is found, in the right quantity and in no other, and called by its name."""

import warnings

import numpy as np
import plants
import pytest
from plants.plant import wrong_gradient

import crosscheck
import reference_nn as nn
from crosscheck import Verdict, catalogue
from crosscheck.causes import CERTAINTIES, RULES
from crosscheck.checking import check_cases

PLANTS = plants.every()
#: What happens only because of something else that is blamed already.
CONSEQUENCE = "follows-from-forward"
#: Plants that the cases they are checked on do not give away, with the reason. Nothing certain may
#: be said of them that is wrong.
UNNAMED = {
    "38-fresh-bag-assigned-EmbeddingBag": "a row overwrites itself inside its own bag too",
    "34-unpadded-in-backward-AvgPool1d": "with some sizes the shapes fit by chance, and it raises not",
    "41-bias-times-depth-Conv3d": "the number of channels is the same in all of its cases",
}


def report_of(plant, against=("torch", "numeric")):
    pytest.importorskip("torch")
    return check_cases(catalogue[plant.layer], plant.cases(), plant.make, against=against)


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.id for plant in PLANTS])
def test_a_planted_mistake_is_found_blamed_and_named(plant):
    report = report_of(plant)
    assert report.verdict is Verdict.DISAGREE
    own = [f for f in report.findings if f.cause != CONSEQUENCE]
    assert {f.quantity for f in own} <= set(plant.quantities), str(report)
    certain = [f.cause for f in own if f.certainty == "proved"]
    assert set(certain) <= set(plant.causes), str(report)
    if plant.id not in UNNAMED:
        assert next(f.cause for f in own if f.cause) in plant.causes, str(report)


def test_every_plant_has_a_name_of_its_own():
    assert len({plant.id for plant in PLANTS}) == len(PLANTS) >= 300
    assert set(UNNAMED) <= {plant.id for plant in PLANTS}


@pytest.mark.parametrize("number", [1, 9, 14, 20, 23, 36, 43, 54])
def test_mistakes_are_named_with_jax_as_the_only_framework(number):
    """One plant of each, in a small layer: the oracle's arrays and answers come from JAX."""
    pytest.importorskip("jax")
    plant = next(p for p in PLANTS if p.number == number)
    own = [f for f in report_of(plant, ("jax",)).findings if f.cause != CONSEQUENCE]
    assert own[0].cause in plant.causes


def test_causes_are_planted_in_two_layers_where_they_apply():
    layers = {}
    for plant in PLANTS:
        for cause in plant.causes[:1]:
            layers.setdefault(cause, set()).add(plant.layer)
    single = {cause for cause, where in layers.items() if len(where) < 2}
    # A factor of 1 − p is a dropout's alone; * for @ is Linear's.
    assert not single - {"option-factor", "shapes-do-not-fit"}, single


def test_rules_are_well_formed():
    slugs = [rule.slug for rule in RULES]
    assert all(s == s.lower() and " " not in s for s in slugs)
    for rule in RULES:
        assert rule.question.endswith("?"), rule.slug
        assert rule.answer.rstrip()[-1] in ".):}", rule.slug
        assert rule.title and rule.codes


# --- what is said of what no rule knows ------------------------------------------------------


class OddColumn(nn.Linear):
    """Nobody's mistake: one column of a gradient is a cube."""

    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_weights[:, 1] = self.grad_weights[:, 1] ** 3
        return grad


def test_an_unknown_mistake_is_called_unknown_and_shows_its_evidence():
    pytest.importorskip("torch")
    report = crosscheck.check("Linear", OddColumn, options={}, against=("torch",),
                              sizes={"out_features": 4})  # fmt: skip
    (finding,) = report.findings
    assert finding.cause is None and finding.certainty == "" and finding.answer == ""
    assert "no known mistake fits" in finding.explanation
    assert "column 1" in finding.explanation and finding.evidence and finding.hint


@pytest.mark.parametrize("seed", range(12))
def test_noise_is_never_given_a_cause_for_certain(seed):
    """Gradients that are wrong at random, in ways that no rule describes."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    layer = ["Linear", "Conv2d", "Softmax", "LayerNorm", "MaxPool2d", "MSELoss"][seed % 6]
    scale = rng.uniform(0.5, 2.0)

    def noise(g, *arguments):
        local = np.random.default_rng(int(abs(g.sum()) * 1e6) % 2**32)
        return g * (1 + scale * local.standard_normal(g.shape))

    wrong = wrong_gradient(layer, "prediction" if layer == "MSELoss" else "x", noise)
    report = crosscheck.check(layer, wrong, options={}, dtypes=("float64",),
                              against=("torch", "numeric"), seed=seed)  # fmt: skip
    assert report.verdict is Verdict.DISAGREE
    assert [f.cause for f in report.findings if f.certainty == "proved"] == []


def test_hints_come_in_two_levels_and_only_the_second_gives_it_away():
    pytest.importorskip("torch")
    plant = next(p for p in PLANTS if p.id == "23-not-summed-Linear")
    (finding,) = report_of(plant).findings
    assert finding.certainty == CERTAINTIES[0]
    assert finding.hint.endswith("?") and "sum(axis" not in finding.hint
    assert ".sum(axis=0)" in finding.answer


def test_a_factor_at_one_size_is_not_called_certain():
    """At a single size nobody can tell a factor of 3 from a factor of batch = 3."""
    pytest.importorskip("torch")
    wrong = wrong_gradient("Linear", "bias", lambda g, s, x, *a: g * len(x))
    sizes = {"batch": 3, "in_features": 2, "out_features": 4}
    report = crosscheck.check("Linear", wrong, options={}, sizes=sizes, against=("torch",))
    (finding,) = report.findings
    assert finding.cause == "constant-factor" and finding.certainty == "likely"
    assert "batch" in " ".join(finding.evidence)


def test_a_rule_that_fails_costs_the_hint_and_not_the_report(monkeypatch):
    pytest.importorskip("torch")
    from crosscheck import causes
    from crosscheck.causes.rule import Rule

    def failing(evidence):
        raise RuntimeError("a bug")

    broken = Rule("broken", "never", failing, "?", ".")
    monkeypatch.setattr(causes, "RULES", (broken, *RULES))
    wrong = wrong_gradient("Linear", "bias", lambda g, *a: -g)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = crosscheck.check("Linear", wrong, options={}, dtypes=("float64",),
                                  against=("torch",))  # fmt: skip
    assert report.findings[0].cause == "sign-flipped"
    assert any("'broken'" in str(w.message) for w in caught)
