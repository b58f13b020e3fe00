"""Layout: the invertible map between the canonical array and the one a framework holds.

One declaration carries weights out and gradients back::

    Layout.parse("weight: in out -> out in")     # torch.nn.Linear's
    Layout.parse("kernel: o i h w -> h w i o")   # flax's convolution
    Layout.parse("weight: i o h w -> o i ~h ~w") # ~ flips an axis
    Layout.parse("weight: (heads dim) in -> in heads dim", heads=4)   # () joins and splits axes

The grammar is einops' with ``~`` added; only bijections can be written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from crosscheck.errors import UsageError
from crosscheck.spec import Array

_TOKEN = re.compile(r"\(([^()]*)\)|(~?\w+)")


def _sides(side: str, text: str) -> tuple[tuple[str, ...], ...]:
    groups = tuple(
        tuple(match[1].split()) if match[2] is None else (match[2],)
        for match in _TOKEN.finditer(side)
    )
    if _TOKEN.sub("", side).strip():
        raise UsageError(f"layout {text!r}: cannot read {side!r}")
    return groups


@dataclass(frozen=True)
class Layout:
    """How one array is held elsewhere.

    Attributes:
        name: the name there.
        here, there: the axes on each side; an axis is a tuple of the names joined in it.
        sizes: sizes of names that cannot be told from the shape (joined ones, all but one).
    """

    name: str
    here: tuple[tuple[str, ...], ...] = ()
    there: tuple[tuple[str, ...], ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str, **sizes: int) -> Layout:
        """Read ``"name"`` or ``"name: axes here -> axes there"``.

        Raises:
            UsageError: the two sides do not name the same axes, each once.
        """
        name, colon, rest = (part.strip() for part in text.partition(":"))
        if not colon:
            return cls(name)
        left, arrow, right = rest.partition("->")
        if not arrow:
            raise UsageError(f"layout {text!r}: expected 'name: axes here -> axes there'")
        here, there = _sides(left, text), _sides(right, text)
        flat = [[a.lstrip("~") for group in side for a in group] for side in (here, there)]
        if sorted(flat[0]) != sorted(flat[1]) or len(set(flat[0])) != len(flat[0]):
            raise UsageError(f"layout {text!r}: both sides must name the same axes, each once")
        return cls(name, here, there, tuple(sorted(sizes.items())))

    def out(self, array: Array) -> Array:
        """Canonical → the framework's; a new C-contiguous array."""
        return self._move(array, self.here, self.there)

    def back(self, array: Array) -> Array:
        """The framework's → canonical; the inverse of `out`."""
        return self._move(array, self.there, self.here)

    def _move(
        self, array: Array, source: tuple[tuple[str, ...], ...], target: tuple[tuple[str, ...], ...]
    ) -> Array:
        if not source and not target:
            return np.array(array, order="C")
        order = None if self.sizes else _order(source, target)
        if order is not None and array.ndim == len(order):
            return np.array(array.transpose(order), order="C")
        if array.ndim != len(source):
            raise UsageError(
                f"layout of {self.name}: shape {array.shape} has not {len(source)} axes"
            )
        sizes = self._sizes(array, source)
        names = [axis for group in source for axis in group]
        split = array.reshape([sizes[axis.lstrip("~")] for axis in names])
        bare = [axis.lstrip("~") for axis in names]
        wanted = [axis for group in target for axis in group]
        moved = split.transpose([bare.index(axis.lstrip("~")) for axis in wanted])
        flips = {axis[1:] for axis in (*names, *wanted) if axis.startswith("~")}
        moved = np.flip(
            moved, tuple(i for i, axis in enumerate(wanted) if axis.lstrip("~") in flips)
        )
        joined = [math.prod(sizes[a.lstrip("~")] for a in group) for group in target]
        return np.array(moved.reshape(joined), order="C")

    def _sizes(self, array: Array, source: tuple[tuple[str, ...], ...]) -> Mapping[str, int]:
        sizes = dict(self.sizes)
        for length, group in zip(array.shape, source, strict=True):
            unknown = [axis.lstrip("~") for axis in group if axis.lstrip("~") not in sizes]
            known = math.prod(sizes.get(axis.lstrip("~"), 1) for axis in group)
            if len(unknown) > 1 or (unknown and known and length % known):
                raise UsageError(f"layout of {self.name}: sizes of {unknown} cannot be told")
            if unknown:
                sizes[unknown[0]] = length // max(known, 1)
            elif known != length:
                raise UsageError(
                    f"layout of {self.name}: {group} is {known}, the array has {length}"
                )
        return sizes


@cache
def _order(
    source: tuple[tuple[str, ...], ...], target: tuple[tuple[str, ...], ...]
) -> tuple[int, ...] | None:
    """The order of the axes, where nothing is joined, split or flipped."""
    if any(len(group) != 1 or group[0].startswith("~") for group in (*source, *target)):
        return None
    return tuple(source.index(group) for group in target)
