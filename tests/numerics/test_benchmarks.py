"""A sample of the long runs, and that they could fail."""

import json

import numpy as np
import pytest

from benchmarks import derivatives, false_alarms, power
from benchmarks.journal import Journal
from benchmarks.layers import CLASSES, SUBJECTS, elements
from benchmarks.peers import harness, numeric_alone
from benchmarks.plants import KINDS, Planted
from crosscheck.differences import ANY, ledger
from crosscheck.numeric import Numeric

WITHOUT_JAX = ("torch", "numeric")


def test_correct_code_raises_no_alarm():
    """One number per layer and scale in turn: a sample of the 100,000."""
    found = false_alarms.run(range(0, 7 * len(false_alarms.entries()), 5), WITHOUT_JAX)
    assert found["checks"] > 200 and found["comparisons"] > 1_000
    # Without JAX nobody says that PyTorch's known differences are differences.
    known = {d.layer for d in ledger().values() if ANY in d.kinds}
    assert [alarm for alarm in found["alarms"] if alarm["layer"] not in known] == []
    assert sum(found["unchecked"].values()) <= 0.02 * found["comparisons"], found["unchecked"]


def test_the_tally_counts_an_alarm(monkeypatch):
    """The rule made a million times stricter calls correct code wrong, and the tally says so."""
    from crosscheck import tolerance

    for constant in ("C", "c"):
        monkeypatch.setattr(tolerance, constant, 1e-6)
    assert len(false_alarms.run(range(30), WITHOUT_JAX)["alarms"]) > 0


def test_the_estimate_covers_the_truth_in_a_sample():
    records = [record for point in derivatives.points(80) for record in derivatives.measure(*point)]
    found = derivatives.summary(records)
    assert found["not covered"] == [] and found["covered"] == 1
    assert found["most forward evaluations in a run"] <= 60
    assert found["table"]["all smooth · complex step"]["median"] < 1e-15


def test_there_are_layers_of_every_size_and_kinds_of_error():
    assert len(SUBJECTS) >= 10 and len(KINDS) >= 20
    for subject in SUBJECTS:
        for index, wanted in enumerate(CLASSES):
            assert 0.7 * wanted <= elements(subject.problem(index)) <= 1.7 * wanted, subject.name


@pytest.mark.parametrize("name", ["Linear", "LayerNorm"])
def test_every_kind_of_planted_error_is_found(name, monkeypatch):
    monkeypatch.setattr(power, "assemble", _without_jax(power.assemble))
    subject = next(s for s in SUBJECTS if s.name == name)
    with np.errstate(all="ignore"):
        bench, right = power.prepare(power.Part(subject, 0, "float64", 1.0, 1))
        assert not harness(right, bench) and not numeric_alone(right, bench)
        seen = set()
        for place, (quantity, kind) in enumerate(
            (q, k) for q in bench.case.problem.differentiable for k in KINDS
        ):
            plant = Planted(right, kind, quantity, place)
            if not plant.equivalent(bench.case):
                seen.add(kind)
                assert harness(plant, bench), (kind, quantity)
                assert numeric_alone(plant, bench), (kind, quantity)
    assert len(seen) >= 20


def _without_jax(assemble):
    def panel(layer, implementation, against, convention):
        return assemble(layer, implementation, against or WITHOUT_JAX, convention)

    return panel


def test_an_error_below_rounding_is_equivalent_and_not_counted():
    subject = SUBJECTS[0]
    case = subject.case(0, 0)
    right = false_alarms.reference(subject.layer).bind(case.problem)
    kinds = {**KINDS, "nothing": lambda c: c.gradient * (1 + 1e-15)}
    assert not Planted(right, "times 2", "weights", 0).equivalent(case)
    from benchmarks import plants

    old, plants.KINDS = plants.KINDS, kinds
    try:
        assert Planted(right, "nothing", "weights", 0).equivalent(case)
    finally:
        plants.KINDS = old


def test_a_run_that_was_stopped_goes_on(tmp_path):
    path = tmp_path / "run.journal"
    journal = Journal(path, {"layers": 3})
    journal.add("0", {"checks": 2})
    journal.add("50", {"checks": 3})
    with path.open("a") as handle:
        handle.write('{"part": "100", "resu')  # stopped while it was writing
    again = Journal(path, {"layers": 3})
    assert again.parts == {"0": {"checks": 2}, "50": {"checks": 3}}
    with pytest.raises(SystemExit, match="journal of another run"):
        Journal(path, {"layers": 4})
    assert json.loads(path.read_text().splitlines()[0]) == {"layers": 3}


def test_tallies_add_up():
    total = false_alarms.merge(
        [
            {"checks": 2, "alarms": [1], "unchecked": {"a": 1}, "worst": {"x": 0.1}},
            {"checks": 3, "alarms": [], "unchecked": {"a": 2, "b": 1}, "worst": {"x": 0.3}},
        ]
    )
    assert total == {
        "checks": 5, "alarms": [1], "unchecked": {"a": 3, "b": 1}, "worst": {"x": 0.3},
    }  # fmt: skip


def test_hearing_is_reused_only_for_the_same_forward():
    """A plant changes gradients only: what was heard of the forward holds for it."""
    assert {"forward", "vjp"} <= set(dir(Planted)) and hasattr(Numeric, "probes")
    subject = SUBJECTS[0]
    case = subject.case(0, 0)
    right = false_alarms.reference(subject.layer).bind(case.problem)
    plant = Planted(right, "times 2", "weights", 0)
    one, other = right.forward(case.arrays()), plant.forward(case.arrays())
    assert all(np.array_equal(one[k], other[k]) for k in one)
