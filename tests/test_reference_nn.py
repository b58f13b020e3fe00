"""The whole catalogue: reference_nn agrees with every witness, on every declared option."""

import pytest

import crosscheck
from crosscheck import Verdict
from crosscheck.checking import NOBODY
from crosscheck.implementations import ORACLES


@pytest.mark.parametrize("name", list(crosscheck.catalogue))
def test_layer_agrees_with_every_witness(name):
    report = crosscheck.check(name)
    if set(report.unchecked()) == {NOBODY}:
        pytest.skip(NOBODY)
    alone = [name for name in ORACLES if report.witnesses[name] == "not installed"]
    differ = [
        reason for reason in report.unchecked() if reason.startswith("PyTorch and JAX differ")
    ]
    if alone and differ and set(report.unchecked()) == {*differ}:
        assert not report.findings
        pytest.skip(f"{' and '.join(alone)} not installed: {differ[0]}")
    assert report.verdict is Verdict.AGREE, str(report)
