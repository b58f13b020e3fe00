"""The whole catalogue: reference_nn agrees with every witness, on every declared option."""

import pytest

import crosscheck
from crosscheck import Verdict
from crosscheck.checking import NOBODY


@pytest.mark.parametrize("name", list(crosscheck.catalogue))
def test_layer_agrees_with_every_witness(name):
    report = crosscheck.check(name)
    if set(report.unchecked()) == {NOBODY}:
        pytest.skip(NOBODY)
    assert report.verdict is Verdict.AGREE, str(report)
