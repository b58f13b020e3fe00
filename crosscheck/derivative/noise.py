"""What rounding does to a forward around a point: how much, and whether it is float32's."""

from __future__ import annotations

from dataclasses import dataclass

from crosscheck.derivative.complex_step import STEP, complex_step
from crosscheck.derivative.extended import Extended
from crosscheck.derivative.guards import SINGLE, computes_in_float32
from crosscheck.derivative.line import Line, NotFinite

#: With more elements a complex step is confirmed in float64: extended precision multiplies matrices
#: without a library, which takes longer than everything else then.
MANY = 2**16


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the rounding noise.

    Attributes:
        real: in f.
        imaginary: in the derivative by a complex step; None where that is not available.
        low: whether the forward computes in float32 whatever it is given.
    """

    real: float
    imaginary: float | None
    low: bool


def noise_around(joint: Line, complex_steps: bool) -> tuple[Noise, Extended]:
    """Measured along all blocks at once, for all probes; and the point in extended precision."""
    try:
        usable = complex_steps and complex_step(joint) is not None
        real, imaginary = joint.noise(STEP if usable else 0.0)
    except NotFinite:
        return Noise(0.0, None, False), Extended(joint, 0.0)
    noise = Noise(real, imaginary if usable else None, False)
    count = sum(v.size for v in joint.direction.values())
    extended = Extended(joint, real, wanted=not usable or count <= MANY)
    single = or_single(joint, noise)
    if single.low and extended.joint is not None and not in_float32(extended.joint):
        single = noise  # saturated, or large numbers that cancel: more digits tell them apart
    return single, extended


def or_single(line: Line, noise: Noise) -> Noise:
    """The noise, or that of float32 where the forward turns out to compute in it."""
    if not in_float32(line):
        return noise
    return Noise(max(noise.real, SINGLE * line.weigh(dict(line.base))[1]), None, True)


def in_float32(line: Line) -> bool:
    """`computes_in_float32`; not where an output is not finite next to the point."""
    try:
        return computes_in_float32(line)
    except NotFinite:
        return False
