"""The ledger of known differences, over all families: each is there, and says what it concerns."""

from dataclasses import replace

import numpy as np
import pytest

import crosscheck
from crosscheck.differences import ANY, ledger

ENTRIES = list(ledger().values())
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.slug for entry in ENTRIES])


@each_entry
def test_the_difference_still_exists(entry):
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    ours, theirs = entry.measure()
    assert not np.array_equal(ours, theirs, equal_nan=True), "no difference: remove the entry"


def test_a_difference_that_has_gone_away_fails():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    for answer in (np.ones(2), np.array([np.nan, 1.0])):
        gone = replace(ENTRIES[0], measure=lambda answer=answer: (answer, answer.copy()))
        with pytest.raises(AssertionError, match="remove the entry"):
            test_the_difference_still_exists(gone)


@each_entry
def test_the_entry_names_what_there_is(entry):
    layer = crosscheck.catalogue[entry.layer]
    assert entry.follows in ("torch", "jax")
    assert set(entry.kinds) <= {ANY, *layer.special}
    combinations = ({}, *layer.variants)
    quantities = set()
    for options in combinations:
        problem = layer.problem(options)
        quantities |= {*problem.outputs, *problem.buffers}
        quantities |= {f"grad_{name}" for name in problem.differentiable}
    assert set(entry.quantities) <= quantities
    # A case shows it, or an option sets it, or it is said how the catalogue bridges it.
    assert (entry.kinds and entry.quantities) or entry.option or entry.mapping


@each_entry
def test_the_option_of_an_entry_can_be_set_to_either_side(entry):
    if entry.option is None:
        return
    layer = crosscheck.catalogue[entry.layer]
    for side in ("torch", "jax"):
        assert layer.problem({entry.option: side})[entry.option] == side
    assert layer.options[entry.option] == entry.follows
