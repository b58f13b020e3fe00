"""Arrays are never equal by accident, and every agreement states what would have shown."""

import numpy as np
import pytest

from crosscheck.comparison import Kind, Verdict, compare_arrays, compare_numbers


def test_shapes_come_first():
    outcome = compare_arrays(np.zeros((8, 4)), np.zeros(4), 1.0)
    assert (outcome.verdict, outcome.kind) == (Verdict.DISAGREE, Kind.SHAPE)


def test_dtypes_come_before_values():
    outcome = compare_arrays(np.zeros(3, np.float32), np.zeros(3), 1.0)
    assert (outcome.verdict, outcome.kind) == (Verdict.DISAGREE, Kind.DTYPE)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_disagrees_with_what_is(bad):
    right = np.array([1.0, 2.0])
    for left, other in (([bad, 2.0], right), (right, [bad, 2.0])):
        outcome = compare_arrays(np.asarray(left), np.asarray(other), 1e300)
        assert (outcome.verdict, outcome.kind) == (Verdict.DISAGREE, Kind.NON_FINITE)


def test_nan_agrees_with_nothing_not_even_nan():
    both = np.array([np.nan, 1.0])
    assert compare_arrays(both, both.copy(), 1.0).verdict is Verdict.UNCHECKED


def test_equal_infinities_agree_and_opposite_ones_do_not():
    left = np.array([-np.inf, 1.0])
    assert compare_arrays(left, left.copy(), 1e-9).verdict is Verdict.AGREE
    assert compare_arrays(left, -left, 1e9).verdict is Verdict.DISAGREE


def test_empty_arrays_are_not_compared():
    assert compare_arrays(np.zeros((0, 3)), np.zeros((0, 3)), 1.0).verdict is Verdict.UNCHECKED


def test_integers_are_compared_exactly():
    assert compare_arrays(np.array([1, 2]), np.array([1, 2]), 0.0).verdict is Verdict.AGREE
    assert compare_arrays(np.array([1, 2]), np.array([1, 3]), 10.0).verdict is Verdict.DISAGREE


def test_an_agreement_states_an_error_that_would_have_shown():
    rng = np.random.default_rng(0)
    right = rng.standard_normal((5, 7))
    left = right + 1e-12 * rng.standard_normal(right.shape)
    outcome = compare_arrays(left, right, 1e-11)
    assert outcome.verdict is Verdict.AGREE and outcome.limit is not None
    for index in np.ndindex(right.shape):
        for sign in (-1, 1):
            planted = left.copy()
            planted[index] += sign * outcome.limit
            assert compare_arrays(planted, right, 1e-11).verdict is Verdict.DISAGREE


def test_a_comparison_that_cannot_fail_is_unchecked(monkeypatch):
    """The negative control: make the comparison blind, and the agreement is taken back."""
    from crosscheck import comparison

    blind = comparison.Outcome(Verdict.AGREE, 0.0, 1.0)
    monkeypatch.setattr(comparison, "_compare", lambda *a: blind)
    outcome = comparison.compare_arrays(np.ones(3), np.zeros(3), 1.0)
    assert (outcome.verdict, outcome.kind) == (Verdict.UNCHECKED, Kind.CONTROL)


def test_numbers_that_are_not_finite_disagree():
    assert compare_numbers(np.nan, 1.0, 1e9, 0.5).verdict is Verdict.DISAGREE
    assert compare_numbers(1.0, 1.0, np.inf, 0.5).verdict is not Verdict.AGREE


def test_the_limit_of_a_probe():
    outcome = compare_numbers(1.0, 1.0 + 1e-10, 1e-9, 0.5)
    assert outcome.limit == pytest.approx((1e-9 + 1e-10) / 0.5, rel=1e-3)


def test_what_one_case_is_too_coarse_to_show_is_no_open_question_if_another_shows_it():
    from dataclasses import replace

    import crosscheck
    from crosscheck.comparison import Comparison, Kind, Outcome, coarse, overall

    case = crosscheck.check("Tanh", against=("numeric",), dtypes=("float64",)).comparisons[0].case
    agrees = Comparison(case, "grad_x", "a", "b", Outcome(Verdict.AGREE, 0.0, 1.0))
    vague = replace(agrees, outcome=Outcome(Verdict.UNCHECKED, kind=Kind.COARSE, reason="coarse"))
    assert overall([agrees, vague]) is Verdict.AGREE and coarse([agrees, vague]) == {id(vague)}
    other = replace(vague, right="c")  # that witness has not been compared at all
    assert overall([agrees, other]) is Verdict.UNCHECKED
    assert overall([vague]) is Verdict.UNCHECKED
    open_question = replace(agrees, outcome=Outcome(Verdict.UNCHECKED, reason="NaN"))
    assert overall([agrees, vague, open_question]) is Verdict.UNCHECKED


def test_the_schema_knows_every_kind_of_disagreement():
    from crosscheck.comparison import Kind
    from crosscheck.report.schema import schema

    kinds = schema()["properties"]["comparisons"]["items"]["properties"]["kind"]["enum"]
    assert set(kinds) == {kind.value for kind in Kind} | {None}
