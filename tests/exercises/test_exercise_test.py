"""`crosscheck exercise test`: a weak exercise is told what it would not notice; a good one is not."""

import ast
from dataclasses import replace

import pytest
from standin import in_process

from crosscheck.comparison import Verdict
from crosscheck.errors import UsageError
from crosscheck.exercises import judge, judging, load
from crosscheck.exercises.mutants import mutants
from crosscheck.exercises.mutate import advice, trial
from crosscheck.exercises.plants import plants
from crosscheck.submissions import read


@pytest.fixture(autouse=True)
def _a_machine_with_numpy_only(monkeypatch):
    """reference_nn is the witness there: no framework to import, nothing to compile."""
    monkeypatch.setattr(judging, "installed", lambda name: False)


SIGMOID = """
import numpy as np

class S:
    def __init__(self):
        self.unused = 1

    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        y = self.forward(x)
        return grad_output * y * (1 - y)
"""

LINEAR = """
import numpy as np

class L:
    def __init__(self, n, m):
        self.weights = 0.1 * np.random.randn(n, m)
        self.bias = np.zeros(m)

    def forward(self, x):
        return x @ self.weights + self.bias

    def backward(self, x, grad_output):
        self.grad_weights = x.T @ grad_output
        self.grad_bias = np.sum(grad_output, axis=0)
        return grad_output @ self.weights.T
"""


def exercise(tmp_path, text, solution):
    (tmp_path / "exercise.toml").write_text(text)
    (tmp_path / "solution.py").write_text(solution)
    return load(tmp_path)


def test_a_sound_exercise_notices_every_mistake(tmp_path):
    text = "[[items]]\nlayer = 'Sigmoid'\nname = 'S'\n"
    result = trial(exercise(tmp_path, text, SIGMOID), opener=in_process)
    assert result.sound and not result.unnoticed and not result.advice
    assert result.noticed > 30
    assert result.solution.earned == 3


def test_a_weak_exercise_is_told_what_it_misses(tmp_path):
    text = """
[[items]]
layer = "Linear"
name = "L"
sizes = { batch = 1, in_features = 3, out_features = 3 }
points = { output = 1, grad_weights = 1, grad_bias = 1 }
"""
    result = trial(exercise(tmp_path, text, LINEAR), opener=in_process)
    assert not result.sound and result.solution.earned == 3
    missed = {u.label.partition(": ")[2]: u.shows for u in result.unnoticed}
    # One sample: a mean is a sum.
    assert "grad_bias" in missed["np.sum(grad_output, axis=0) → np.mean(grad_output, axis=0)"]
    # Not worth points.
    assert missed["grad_x zero"] == "grad_x"
    assert "contract" in missed["an input changed in place"]
    assert {a.partition(": ")[2] for a in result.advice} >= {
        "batch is always 1: sums, means and shapes over it look alike",
        "fixed sizes are equal: a transposed array can pass",
        "grad_x, contract earn no points",
    }


def test_a_wrong_solution_is_said(tmp_path):
    text = "[[items]]\nlayer = 'Sigmoid'\nname = 'S'\n"
    found = exercise(tmp_path, text, SIGMOID.replace("(1 - y)", "y"))
    result = judge(found, read(found.solution), opener=in_process)
    assert result.earned == 2
    result = trial(replace(found, items=()), opener=in_process)
    assert not result.sound


def test_the_numeric_witness_alone_leaves_the_forward_unchecked(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "installed", lambda name: True)
    text = "against = ['numeric']\n[[items]]\nlayer = 'Sigmoid'\nname = 'S'\n"
    found = exercise(tmp_path, text, SIGMOID)
    assert judge(found, read(found.solution), opener=in_process).verdict is Verdict.UNCHECKED
    assert advice(found) == ["against: numeric alone cannot see a wrong forward"]


def test_no_solution(tmp_path):
    (tmp_path / "exercise.toml").write_text("[[items]]\nlayer = 'Sigmoid'\nname = 'S'\n")
    with pytest.raises(UsageError, match="no solution.py"):
        trial(load(tmp_path))
    (tmp_path / "solution.py").write_text("def (")
    with pytest.raises(UsageError, match="no valid Python"):
        trial(load(tmp_path))


def test_mutants_are_programs_and_each_is_another():
    found = [*mutants(LINEAR, frozenset({"L"}))]
    assert len(found) > 15 and len({m.text for m in found}) == len(found)
    for mutant in found:
        ast.parse(mutant.text)
        assert ast.unparse(ast.parse(mutant.text)) != ast.unparse(ast.parse(LINEAR))
        assert "__init__" not in mutant.where and mutant.owner == "L"
    labels = {m.label.partition(": ")[2] for m in found}
    assert "x.T → x" in labels
    assert "x.T @ grad_output → grad_output @ x.T" in labels
    assert "np.sum(grad_output, axis=0) → grad_output" in labels
    assert not [*mutants(LINEAR, frozenset({"Other"}))]


def test_plants_change_what_they_say(tmp_path):
    text = "[[items]]\nlayer = 'Linear'\nname = 'L'\n"
    item = exercise(tmp_path, text, LINEAR).items[0]
    from crosscheck.exercises.judging import drawn

    labels = [p.label for p in plants(item, drawn(item, 0)[0].problem)]
    assert len(labels) == len(set(labels)) and "grad_weights transposed" in labels
    assert "grad_bias divided by the batch" in labels
