"""The table of a run: a row a layer, or a row a family of those that agree; and what follows from what."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import crosscheck
import reference_nn as nn
from crosscheck import Verdict
from crosscheck.families import families, family
from crosscheck.report.following import following
from crosscheck.report.text import summary_table


class Doubled(nn.Linear):
    def backward(self, x, grad_output):
        return 2 * super().backward(x, grad_output)


@pytest.fixture(scope="module")
def right():
    pytest.importorskip("torch")
    return crosscheck.check("Linear", against=("torch", "numeric"), dtypes=("float64",))


def printed(reports, most):
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None).print(summary_table(reports, most))
    return stream.getvalue().rstrip().splitlines()


def everywhere(report):
    """The same report of every layer of the catalogue."""
    return [replace(report, layer=layer) for layer in crosscheck.catalogue.values()]


def test_many_layers_are_put_together_by_family(right):
    reports = everywhere(right)
    head, *rows = printed(reports, 40)
    names = {f.__name__.rpartition(".")[2] for f in families() if getattr(f, "LAYERS", ())}
    assert len(rows) == len(names) <= 40 and max(map(len, [head, *rows])) <= 100
    counted = [re.match(r"(.+) \((\d+)\) +(\d+) +(\d+) +agree", row) for row in rows]
    assert all(counted), rows
    assert {m[1].replace(" ", "_") for m in counted} == names
    assert sum(int(m[2]) for m in counted) == len(reports)
    assert sum(int(m[4]) for m in counted) == len(reports) * len(right.comparisons)


def test_what_disagrees_or_is_unchecked_has_a_row_of_its_own(right):
    reports = everywhere(right)
    wrong = crosscheck.check("Linear", Doubled, against=("torch", "numeric"), dtypes=("float64",))
    unchecked = replace(
        right,
        layer=crosscheck.catalogue["GELU"],
        comparisons=tuple(
            replace(c, outcome=replace(c.outcome, verdict=Verdict.UNCHECKED))
            for c in right.comparisons
        ),
    )
    rows = printed([wrong, unchecked, *reports[2:]], 40)
    assert any(re.match(r"Linear .* differ", row) for row in rows)
    assert any(re.match(r"GELU .* unchecked", row) for row in rows)
    assert sum("(" in row for row in rows) == len(rows) - 3  # the head and these two


def test_few_layers_and_verbose_runs_have_a_row_each(right):
    reports = everywhere(right)
    assert len(printed(reports[:40], 40)) == 41
    assert len(printed(reports, None)) == len(reports) + 1


def test_the_family_of_a_layer_is_its_module():
    assert family(crosscheck.catalogue["ConvTranspose1d"]) == "transposed convolution"
    assert family(replace(crosscheck.catalogue["Linear"], name="Mine")) == ""


class PreNorm(nn.TransformerEncoderLayer):
    def __init__(self, d_model, nhead, dim_feedforward):
        super().__init__(d_model, nhead, dim_feedforward, norm_first=True)


class Cubed(nn.Tanh):
    def forward(self, x):
        return np.tanh(x) ** 3

    def backward(self, x, grad_output):
        t = np.tanh(x)
        return grad_output * 3 * t * t * (1 - t * t)


@pytest.mark.parametrize(
    ("layer", "wrong", "shown", "said"),
    [
        ("TransformerEncoderLayer", PreNorm, 1, "Different for the same reason: output, grad_src"),
        ("Tanh", Cubed, 1, "Right derivatives of the wrong forward, and so different too: grad_x."),
        ("Linear", Doubled, 1, ""),
    ],
)
def test_what_follows_from_another_finding_takes_one_line(layer, wrong, shown, said):
    pytest.importorskip("torch")
    report = crosscheck.check(
        layer, wrong, options={}, against=("torch", "numeric"), dtypes=("float64",)
    )
    text = " ".join(str(report).split())
    assert text.count("difference [") == shown, str(report)
    assert said in text
    pytest.importorskip("jinja2")
    assert all(f.quantity in report._repr_html_() for f in report.findings)


def test_two_mistakes_are_both_told():
    """What only looks like a consequence is none."""
    pytest.importorskip("torch")

    class Twice(nn.Linear):
        def backward(self, x, grad_output):
            grad_x = super().backward(x, grad_output)
            self.grad_bias, self.grad_weights = -self.grad_bias, 3 * self.grad_weights
            return grad_x

    report = crosscheck.check("Linear", Twice, options={}, against=("torch",), dtypes=("float64",))
    assert following(report.findings) == ["", ""]
    assert str(report).count("Proved:") == 2
