"""Ratios fitted over several sizes: k · N^a · C^b, a root of a size too, named in axis names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from crosscheck.spec import Problem

#: Two ratios are the same number up to this.
SAME = 1e-6
#: The powers of a size that a normalisation goes wrong by.
POWERS = (1, -1, 2, -2, 0.5, -0.5)


@dataclass(frozen=True)
class Fit:
    """ratio = number · Π size^power, over every case.

    Attributes:
        number: the constant.
        powers: size name → power; empty where the ratio is the same at all sizes.
        cases: how many different sets of sizes it was fitted on.
    """

    number: float
    powers: Mapping[str, float]
    cases: int

    def __str__(self) -> str:
        over = [_power(n, -p) for n, p in self.powers.items() if p < 0]
        times = [_power(n, p) for n, p in self.powers.items() if p > 0]
        top = "·".join(times)
        if not np.isclose(self.number, 1, rtol=SAME):
            top = f"{number(self.number)}·{top}" if top else number(self.number)
        bottom = "·".join(over)
        if not bottom:
            return top or "1"
        return f"{top or '1'}/({bottom})" if len(over) > 1 else f"{top or '1'}/{bottom}"


def fit(ratios: Sequence[float], sizes: Sequence[Mapping[str, float]]) -> Fit | None:
    """The simplest product of powers of sizes that all ratios are.

    Args:
        ratios: one per case; cases that agree count, with ratio 1.
        sizes: the named sizes of each case.

    Returns:
        None where no product of at most three sizes fits, or where too few different cases
        were seen to tell one fit from another.
    """
    if not ratios:
        return None
    known = np.asarray(ratios, dtype=np.float64)
    if _constant(known):
        return Fit(float(known[0]), {}, len(known))
    names = [n for n in sizes[0] if all(n in s for s in sizes)]
    table = {n: np.asarray([s[n] for s in sizes], dtype=np.float64) for n in names}
    names = [n for n in names if not _constant(table[n])]
    found: list[Fit] = []
    for count in (1, 2, 3):
        if count >= len(known) and count > 1:
            break  # as many unknowns as cases: anything fits
        for chosen in combinations(names, count):
            for powers in product(POWERS if count == 1 else POWERS[:2], repeat=count):
                rest = known.copy()
                for name, power in zip(chosen, powers, strict=True):
                    rest = rest / table[name] ** power
                if _constant(rest):
                    chosen_powers = dict(zip(chosen, powers, strict=True))
                    found.append(Fit(float(rest[0]), chosen_powers, len(known)))
        if found:
            break
    # With few cases several may fit: the one with the plainest number is meant.
    return min(found, key=lambda f: abs(np.log(abs(f.number))), default=None)


def sizes_of(problem: Problem) -> dict[str, float]:
    """The sizes that a factor may be made of: the axes, whole-number options, and the positions.

    ``positions`` is the number of output elements per sample and channel, where outputs have
    axes of their own; the product of a kernel's sizes is one size.
    """
    found = {name: float(size) for name, size in problem.sizes.items()}
    for name, value in problem.options.items():
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            found[name] = float(value)
    shape = next(iter(problem.outputs.values())).shape(problem)
    if len(shape) > 2:
        found["positions"] = float(np.prod(shape[2:]))
        for axis, size in enumerate(shape[2:]):
            found[f"output axis {axis + 2}"] = float(size)
    kernel = [n for name, n in problem.sizes.items() if name.startswith("kernel_")]
    if kernel:
        found["·".join(n for n in problem.sizes if n.startswith("kernel_"))] = float(
            np.prod(kernel)
        )
    return found


def number(k: float) -> str:
    """A number as a fraction with a small denominator where it is one."""
    for denominator in (1, 2, 3, 4, 5, 6, 8, 10):
        top = round(float(k) * denominator)
        if top and np.isclose(k * denominator, top, rtol=SAME):
            return str(top) if denominator == 1 else f"{top}/{denominator}"
    return f"{k:.4g}"


def _power(name: str, power: float) -> str:
    return {0.5: f"√{name}", 1: name, 2: f"{name}²"}[power]


def _constant(numbers: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    return bool(np.allclose(numbers, numbers[0], rtol=SAME, atol=0))
