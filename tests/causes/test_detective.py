"""Every difference between frameworks that can be planted is identified as what it is."""

import ports
import pytest
from ports_by_axis import RECOGNISED

import crosscheck
from crosscheck import Verdict, catalogue, sampling
from crosscheck.checking import check_cases

PORTS = ports.every()
#: What is a factor of everything that a loss gives.
SCALES = ("loss-half", "option-reduction", "smooth-l1-or-huber", "mean-over-samples")


def cases(port):
    spec = catalogue[port.layer]
    drawn = sampling.cases(spec, options=port.options, dtypes=("float64",), extra=3)
    return [c for c in drawn if c.memory == "plain" and c.kind in port.kinds]


def checked(port, against=("torch", "numeric")):
    pytest.importorskip("torch")
    return check_cases(catalogue[port.layer], cases(port), port.make, against=against)


@pytest.mark.parametrize(
    "port", PORTS, ids=[f"{p.layer}-{p.name}".replace(" ", "-") for p in PORTS]
)
def test_a_convention_is_identified(port):
    report = checked(port)
    assert report.verdict is Verdict.DISAGREE
    first = report.findings[0]
    if first.code == "convention-mismatch":  # a scale has a code of its own, and says whose it is
        said = first.evidence[-1]
        assert port.slug in SCALES
    else:
        assert (first.code, first.cause) == ("convention", port.slug), str(report)
        said = first.explanation
    assert port.says in said, said
    assert first.answer and first.evidence


@pytest.mark.parametrize(("layer", "port", "says"), RECOGNISED, ids=[r[0] for r in RECOGNISED])
def test_an_order_that_shapes_tell_is_a_note(a_framework, layer, port, says):
    report = crosscheck.check(layer, port, options={}, dtypes=("float64",))
    assert report.verdict is Verdict.AGREE, str(report)
    assert any("convention-mismatch: weights" in n and says in n for n in report.notes)
