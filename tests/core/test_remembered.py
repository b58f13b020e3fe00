"""The frameworks' answers to a case are remembered; the subject's never are."""

import numpy as np
import pytest

import crosscheck
import reference_nn
from crosscheck import sampling
from crosscheck.checking import check_cases
from crosscheck.evaluation import Evaluation
from crosscheck.implementations import forget, oracle
from crosscheck.implementations.remembered import RECENT, Recent
from crosscheck.implementations.torch_module import TorchBound, TorchImplementation
from crosscheck.tolerance import Rounding

pytest.importorskip("torch")
LAYER = crosscheck.catalogue["Linear"]


@pytest.fixture
def asked(monkeypatch):
    """How often PyTorch was asked."""
    forget()
    calls = []
    vjp = TorchBound.vjp
    monkeypatch.setattr(TorchBound, "vjp", lambda *a: calls.append(1) or vjp(*a))
    yield calls
    forget()


def case(seed=0):
    return next(iter(sampling.cases(LAYER, options={}, seed=seed)))


def check(given, subject=None, **more):
    return check_cases(LAYER, [given], subject, against=("torch",), **more)


def rows(report):
    return [(c.quantity, c.left, c.right, c.outcome, c.norm) for c in report.comparisons]


def test_the_same_case_again_asks_nobody_and_says_the_same(asked):
    first = check(case())
    count = len(asked)
    assert count > 0
    again = check(case())
    assert len(asked) == count
    assert rows(first) == rows(again)


@pytest.mark.parametrize("which", ["value", "cotangent", "kind", "dtype of an input", "memory"])
def test_another_case_is_asked_about(asked, which):
    given = case()
    check(given)
    count = len(asked)
    moved = {k: a.copy() for k, a in given.values.items()}
    turned = {k: -a for k, a in given.cotangents.items()}
    moved["bias"].flat[-1] += 1
    other = {
        "value": {"values": moved},
        "cotangent": {"cotangents": turned},
        "kind": {"kind": "another"},
        "dtype of an input": {"values": {**given.values, "x": given.values["x"].astype("f4")}},
        "memory": {"memory": "strided"},
    }[which]
    check(given.with_values(**other))
    # How the subject is given the arrays is nothing to the frameworks.
    assert (len(asked) > count) == (which != "memory")


def test_a_layer_that_was_changed_is_judged_anew(asked):
    class Changed(reference_nn.Linear):
        wrong = 0.0

        def backward(self, x, grad_output):
            found = super().backward(x, grad_output)
            self.grad_bias = self.grad_bias + self.wrong
            return found

    assert check(case(), Changed).verdict is crosscheck.Verdict.AGREE
    Changed.wrong = 1e-9
    report = check(case(), Changed)
    assert report.verdict is crosscheck.Verdict.DISAGREE
    assert {f.quantity for f in report.findings} == {"grad_bias"}
    count = len(asked)
    Changed.wrong = 0.0
    assert check(case(), Changed).verdict is crosscheck.Verdict.AGREE
    assert len(asked) == count


def test_somebody_elses_oracle_is_asked_every_time(asked):
    own = {"torch": TorchImplementation(LAYER.torch)}
    check(case(), oracles=own)
    count = len(asked)
    check(case(), oracles=own)
    assert len(asked) == 2 * count


def test_an_answer_that_is_remembered_cannot_be_written_to(asked):
    check(case())
    ((rounding, answers), _), *_ = RECENT._found.values()
    assert isinstance(rounding, Rounding) and answers
    for answer in answers.values():
        with pytest.raises(ValueError, match="read-only"):
            answer.outputs["output"][...] = 0


def test_the_oldest_makes_way():
    def measured(n):
        found = Evaluation({"output": np.zeros(n)}, {"x": np.zeros(n)})
        return Rounding({}, {}, 1.0, 1.0, "", frozenset()), {("torch", "float64"): found}

    recent = Recent(budget=3 * 160, largest=200)
    for key in "abc":
        recent.put(key, measured(10))
    assert recent.get("a") is not None  # and is now the youngest
    recent.put("d", measured(10))
    assert recent.get("b") is None
    assert all(recent.get(key) is not None for key in "acd")
    recent.put("large", measured(20))
    assert recent.get("large") is None
    assert all(recent.get(key) is not None for key in "acd")
    recent.put("a", measured(10))  # again: it is not counted twice
    assert all(recent.get(key) is not None for key in "acd")


def test_twins_of_another_problem_have_answers_of_their_own(asked):
    one, other = case(0), case(1)
    assert oracle("torch", LAYER).bind(one.problem) is not None
    first = rows(check(one))
    assert rows(check(other)) != first
    assert rows(check(one)) == first
