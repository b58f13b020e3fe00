"""A sample of the long run over the catalogue, and that it could fail; and of the page's measurement."""

import pytest

import crosscheck
from benchmarks import causes_everywhere, page


def test_errors_of_one_layer_are_named_and_those_of_nobody_are_not():
    pytest.importorskip("torch")
    found = [*causes_everywhere.outcomes(crosscheck.catalogue["Softsign"])]
    assert {kind for kind, *_ in found} == {*causes_everywhere.NAMES, *causes_everywhere.NAMELESS}
    for kind, _, said in found:
        assert said == {
            "found": True, "right quantity": True, "right cause first": True,
            "wrong but certain": False,
        }, kind  # fmt: skip


def test_the_run_counts_a_cause_that_is_wrong(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(causes_everywhere, "NAMES", {"halved": ("sign-flipped",)})
    monkeypatch.setattr(causes_everywhere, "NAMELESS", ())
    ((_, _, said),) = causes_everywhere.outcomes(crosscheck.catalogue["Softsign"])
    assert said["found"] and not said["right cause first"] and said["wrong but certain"]


def test_the_page_is_measured():
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    report = crosscheck.check("Linear", page.BiasNotSummed, options={}, against=("torch",))
    one, three = page.measure([report]), page.measure([report] * 3)
    assert three["checks"] == 3 * one["checks"] and one["kB"] < three["kB"] < 3 * one["kB"]
