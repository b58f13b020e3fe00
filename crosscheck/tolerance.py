"""The one rule: how far two right answers may lie apart, from the frameworks' own rounding.

    tolerance = C · e32 · u(dtype)/u(float32)  +  c · u(dtype) · max|quantity|
                + u(dtype) · max|cotangent| · terms · (max(1, max|input|), in float64)

e32 is measured on the case itself: each framework runs it in float32 and in float64, on the same
float32 numbers, and on a few nearby inputs with upstream gradients of other signs; e32 is the largest
element-wise difference seen for the quantity. u is the unit roundoff. The last term, for gradients only, is what one rounding of the upstream
gradient, or of its product with an input or a parameter, can do, in a sum of as many terms as there are
upstream elements to an element of the gradient: it matters where the true gradient is zero, cancels, or
saturates to nothing, and e32 with it, because float32 saturates earlier, and the sum of a few numbers may be
exact in one order and not in another.

C and c are the only constants, set once from a measured rate of false alarms
(``benchmarks/false_alarms.py``). With C = 10 the closest call in 10,000 checks of right code came to 0.83
of its tolerance, and every factor of 1.8 left a quarter as many above it, which makes about 20 false
alarms in 100,000 checks; C = 40 makes less than one. No layer, dtype or case has a number of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crosscheck.evaluation import Bound, Evaluation, ImplementationError, both_precisions, cast
from crosscheck.spec import Array, Values

#: Multiple of the measured float32 error that a right answer may be off.
C = 40.0
#: Roundings of the largest element that a right answer may be off.
c = 40.0
#: Nearby inputs on which e32 is measured besides the case's own.
NEARBY = 2
#: An agreement says nothing if an error of this share of the quantity could hide in it.
VACUOUS = 1e-2

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24}


@dataclass(frozen=True)
class Rounding:
    """What was measured of the frameworks' rounding on one case.

    Attributes:
        e32: quantity → largest difference between a float32 and a float64 answer.
        size: quantity → largest magnitude of the quantity.
        upstream: largest magnitude in the cotangents.
        given: largest magnitude in the inputs and parameters.
        source: who was measured: ``"torch, jax"``.
        outputs: the quantities that are outputs or buffers, not gradients.
        terms: gradient → upstream elements to each of its own, at least 1.
        overflows: the quantities that overflow in float32 where they are finite in float64.
    """

    e32: Mapping[str, float]
    size: Mapping[str, float]
    upstream: float
    given: float
    source: str
    outputs: frozenset[str]
    overflows: frozenset[str] = frozenset()
    terms: Mapping[str, float] = field(default_factory=dict)

    def tolerance(self, quantity: str, dtype: str) -> float:
        """The rule, for one quantity in one dtype."""
        u = UNIT_ROUNDOFF[dtype]
        # Only where it is not float32 itself that was measured: it saturates before float64 does.
        given = 1.0 if dtype == "float32" else max(1.0, self.given)
        floor = u * self.upstream * self.terms.get(quantity, 1.0) * given
        floor = 0.0 if quantity in self.outputs else floor
        return (
            C * self.e32.get(quantity, 0.0) * u / UNIT_ROUNDOFF["float32"]
            + c * u * self.size.get(quantity, 0.0)
            + floor
        )

    def vacuous(self, quantity: str, limit: float) -> bool:
        """Whether an error that could hide is as large as what is compared."""
        size = max(self.size.get(quantity, 0.0), float(np.finfo(np.float64).tiny))
        natural = self.given if quantity in self.outputs else self.upstream
        return limit > VACUOUS * size and limit > VACUOUS**2 * natural

    def norm(self, quantity: str, array: Array | None) -> float:
        """What a detection limit is related to: the 2-norm of an array's finite elements.

        A gradient that vanishes against the upstream gradient (a saturated softmax's, the key
        bias's) has no size of its own: there it is the largest upstream gradient.
        """
        if array is None or array.dtype.kind != "f":
            return 0.0
        finite = array[np.isfinite(array)].astype(np.float64, copy=False)
        found = math.sqrt(float(finite @ finite))
        natural = 0.0 if quantity in self.outputs else self.upstream
        return found if found > VACUOUS**2 * natural else natural


def measure(
    witnesses: Mapping[str, Bound], values: Values, cotangents: Values, rng: np.random.Generator
) -> tuple[Rounding, dict[tuple[str, str], Evaluation]]:
    """Run every witness in both precisions, at the point and near it.

    Args:
        witnesses: name → what to measure: the frameworks, if there are any.
        values, cotangents: the case's arrays, real ones in float64.
        rng: draws the nearby inputs.

    A witness that raises or is not finite in float32 is left out for that point.

    Returns:
        What was measured; and by (witness, dtype) the evaluations at the point itself, where the
        values are representable in float32, so that nobody has to be asked twice.
    """
    answers: dict[tuple[str, str], Evaluation] = {}
    exact_in_single = all(
        np.array_equal(array, array.astype(np.float32))
        for array in (*values.values(), *cotangents.values())
        if array.dtype.kind == "f"
    )
    e32: dict[str, float] = {}
    terms: dict[str, float] = {}
    upstream_elements = sum(array.size for array in cotangents.values())
    size: dict[str, float] = {}
    outputs: set[str] = set()
    overflows: set[str] = set()
    for number in range(1 + NEARBY):
        point = cast(_near(values, rng) if number else values, "float32")
        upstream = cast(_turned(cotangents, rng) if number else cotangents, "float32")
        for name, bound in witnesses.items():
            try:
                low, high = both_precisions(bound, point, upstream)
            except ImplementationError:
                continue
            if number == 0 and exact_in_single:
                answers |= {(name, "float32"): low, (name, "float64"): high}
            outputs |= set(high.outputs)
            rounded = quantities(low)
            for quantity, exact in quantities(high).items():
                found = rounded.get(quantity)
                if found is None or found.shape != exact.shape or exact.dtype.kind != "f":
                    continue
                if number == 0:
                    terms[quantity] = max(1.0, upstream_elements / max(exact.size, 1))
                    size[quantity] = max(size.get(quantity, 0.0), largest_finite(exact))
                    if (np.isfinite(exact) & ~np.isfinite(found)).any():
                        overflows.add(quantity)
                e32[quantity] = max(e32.get(quantity, 0.0), largest_finite(found - exact))
            del low, high, rounded, exact, found  # large ones, before the next witness is asked
    upstream_size = max((largest(a) for a in cotangents.values()), default=0.0)
    given = max((largest(a) for a in values.values() if a.dtype.kind == "f"), default=0.0)
    names = ", ".join(witnesses)
    sets = frozenset(outputs), frozenset(overflows)
    return Rounding(e32, size, upstream_size, given, names, *sets, terms), answers


def quantities(evaluation: Evaluation) -> dict[str, Array]:
    """Every array of an evaluation under the name a report gives it."""
    return {
        **evaluation.outputs,
        **{f"grad_{name}": gradient for name, gradient in evaluation.gradients.items()},
    }


def largest(array: Array) -> float:
    """The largest magnitude, 0 for an empty array; NaN if there is one."""
    # What np.max and np.min come to, without the way there: it is asked of every comparison.
    high = np.maximum.reduce(array, axis=None, initial=0.0)
    return max(float(high), -float(np.minimum.reduce(array, axis=None, initial=0.0)))


def largest_finite(array: Array) -> float:
    """The largest magnitude of the finite elements, 0 where there are none."""
    found = largest(array)
    return found if math.isfinite(found) else largest(np.asarray(array)[np.isfinite(array)])


def _near(values: Values, rng: np.random.Generator) -> dict[str, Array]:
    """Real values up to a thousandth smaller in magnitude: in every domain, rounded anew."""
    found = dict(values)
    for name, array in values.items():
        if array.dtype.kind == "f":
            factor = np.asarray(rng.uniform(0, 2.0**-10, array.shape))
            np.subtract(1, factor, out=factor)  # in place: these may be large
            factor *= array
            found[name] = factor
    return found


def _turned(cotangents: Values, rng: np.random.Generator) -> dict[str, Array]:
    """Cotangents of nearly the same magnitudes, with signs of their own.

    Where a few of them are summed, their signs decide whether a partial sum is rounded at all: near
    the case's own cotangents one framework's order of summation may be exact each time.
    """
    return {
        name: array * rng.choice([-1.0, 1.0], array.shape)
        for name, array in _near(cotangents, rng).items()
    }


def sources(names: Sequence[str]) -> str:
    """For a report: whose rounding set the tolerance."""
    return " and ".join(names) or "nobody"
