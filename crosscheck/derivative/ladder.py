"""Extrapolated central differences over a ladder of steps, with an error estimate.

Central differences have an error series in h², so Neville's scheme in h² over consecutive steps
removes one term per column (Richardson 1911; Ridders 1982). Every entry of the tableau is a candidate:
its estimated error is what its neighbours differ by (truncation) plus what rounding does to its
weights (the measured noise over the steps). Large steps come first: where the function is smooth
three or four suffice. Where kinks lie within the large steps, only small ones see the plateau, and
their noise is the price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosscheck.derivative.line import Line, NotFinite

#: Steps in units of the spread, as exponents of two: halving, then jumping below the kinks.
EXPONENTS = (4, 5, 6, 7, 9, 12, 16, 20, 24)
#: Columns of the tableau: more terms removed gain nothing and cost noise.
COLUMNS = 4
#: Safety factors, calibrated for a coverage of 99.9 % (benchmarks/derivative.py).
TRUNCATION, ROUNDING = 10.0, 8.0
#: Good enough to stop: estimated error in units of the natural size.
ENOUGH = 2e-13


@dataclass(frozen=True)
class Rung:
    """One step: its size, the difference quotient, its natural size and the one-sided gap."""

    step: float
    slope: float
    size: float
    gap: float


@dataclass(frozen=True)
class Estimate:
    """A derivative and its estimated error; `size` is the natural size of the derivative."""

    value: float
    error: float
    size: float


def climb(
    line: Line, noise: float, budget: int, enough: float = ENOUGH, below: tuple[Rung, ...] = ()
) -> list[Rung]:
    """Evaluate pairs at ever smaller steps until the best estimate is good enough.

    Args:
        line: the function along the direction.
        noise: standard deviation of the noise in its values.
        budget: forward evaluations at most.
        enough: the relative error at which to stop.
        below: rungs of an earlier climb, to go on from.

    Steps where an output is not finite are left out.
    """
    rungs = [*below]
    start = line.evaluations
    for exponent in EXPONENTS:
        if rungs and 2.0**-exponent >= rungs[-1].step:
            continue
        if line.evaluations - start + 2 > budget:
            break
        step = 2.0**-exponent
        try:
            rungs.append(Rung(step, *line.pair(step)))
        except NotFinite:
            continue
        if len(rungs) >= 3:
            found = best(rungs, noise)
            if found.error <= enough * found.size and one_sided_gap(rungs, noise) is None:
                break
    return rungs


def best(rungs: list[Rung], noise: float) -> Estimate:
    """The entry of the tableau with the smallest estimated error."""
    size = float(np.median([rung.size for rung in rungs]))
    chosen = Estimate(rungs[-1].slope, np.inf, size)
    count = len(rungs)
    # table[j][i]: the extrapolation over rungs i … i+j, and the weights of the slopes in it.
    table = [[rung.slope for rung in rungs]]
    weights = [np.eye(count)]
    squares = np.array([rung.step**2 for rung in rungs])
    for column in range(1, min(COLUMNS, count)):
        row, coefficients = [], []
        for i in range(count - column):
            far, near = squares[i], squares[i + column]
            factor = far / (far - near)
            row.append(factor * table[column - 1][i + 1] + (1 - factor) * table[column - 1][i])
            coefficients.append(
                factor * weights[column - 1][i + 1] + (1 - factor) * weights[column - 1][i]
            )
        table.append(row)
        weights.append(np.array(coefficients))
    per_slope = noise / (np.sqrt(2.0) * np.sqrt(squares))  # noise of one difference quotient
    for column, row in enumerate(table):
        for i, value in enumerate(row):
            near = [table[column - 1][i + 1], table[column - 1][i]] if column else []
            near = near[:1]
            if i:
                near.append(row[i - 1])
            if i + 1 < len(row):
                near.append(row[i + 1])
            if len(near) < 2 and count > 1 and not (column and i == 0 and len(row) == 1):
                continue
            truncation = max(abs(value - other) for other in near) if near else np.inf
            rounding = float(np.sqrt(np.sum((weights[column][i] * per_slope) ** 2)))
            error = TRUNCATION * truncation + ROUNDING * rounding
            if error < chosen.error:
                chosen = Estimate(value, error, size)
    return chosen


def one_sided_gap(rungs: list[Rung], noise: float) -> float | None:
    """The difference of the one-sided derivatives at the point itself, or None if there is none.

    The gap of a smooth function is odd in h: a₁h + a₃h³ + …, so extrapolating it to h = 0 over
    three steps leaves nothing; of a kink it leaves the jump.
    """
    if len(rungs) < 3:
        return None
    steps = np.array([rung.step for rung in rungs[-3:]])
    gaps = np.array([rung.gap for rung in rungs[-3:]])
    matrix = np.stack([np.ones(3), steps, steps**3], axis=1)
    weights = np.linalg.inv(matrix)[0]
    left = float(abs(weights @ gaps))
    rounding = float(np.sqrt(np.sum((weights * noise * np.sqrt(6.0) / steps) ** 2)))
    size = max(rung.size for rung in rungs)
    truncation = float(abs(left - abs(2 * gaps[2] - gaps[1]))) if steps[1] == 2 * steps[2] else 0.0
    return left if left > 1e-4 * size + 4 * truncation + ROUNDING * rounding else None
