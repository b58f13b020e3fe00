"""Ratios over several sizes are fitted as products of powers, or not at all."""

import pytest

from crosscheck.causes.fit import fit

SIZES = [{"N": 2, "C": 3, "D": 5}, {"N": 4, "C": 3, "D": 7}, {"N": 3, "C": 5, "D": 2},
         {"N": 6, "C": 2, "D": 4}]  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (lambda s: 0.5, "1/2"),
        (lambda s: s["N"], "N"),
        (lambda s: 1 / s["C"], "1/C"),
        (lambda s: s["N"] / s["C"], "N/C"),
        (lambda s: 1 / (s["N"] * s["C"]), "1/(N·C)"),
        (lambda s: 2 * s["N"] ** 2, "2·N²"),
        (lambda s: s["N"] * s["C"] / s["D"], "N·C/D"),
    ],
)
def test_a_product_of_sizes_is_named(formula, expected):
    found = fit([formula(s) for s in SIZES], SIZES)
    assert found is not None and str(found) == expected


def test_what_is_no_product_of_sizes_is_not_fitted():
    assert fit([1.1, 2.7, 0.4, 3.9], SIZES) is None


def test_too_few_cases_do_not_fit_everything():
    """Two sizes and two cases would fit any two ratios."""
    found = fit([2.3, 4.1], SIZES[:2])
    assert found is None


def test_a_case_that_agrees_counts():
    """Ratio N in one case and 1 in another, where N is not 1, is no factor of N."""
    assert fit([2.0, 1.0], [{"N": 2}, {"N": 3}]) is None
    found = fit([2.0, 1.0], [{"N": 2}, {"N": 1}])
    assert found is not None and str(found) == "N"
