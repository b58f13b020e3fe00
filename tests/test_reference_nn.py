"""The whole catalogue: reference_nn agrees with every witness, on every declared option."""

import pytest

import crosscheck
from crosscheck import Verdict


@pytest.mark.parametrize("name", list(crosscheck.catalogue))
def test_layer_agrees_with_every_witness(name):
    report = crosscheck.check(name)
    assert report.verdict is Verdict.AGREE, str(report)
