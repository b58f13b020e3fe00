"""What is known of how somebody's class is built and of where, and how, it keeps its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False)
class Naming:
    """What is known beforehand of how a subject is built and where it keeps things.

    Attributes:
        attributes: parameter or buffer → where it is (``W``, ``params.W1``); ``grad_<parameter>``
            → where its gradient is left. What is not here is looked for (`names`).
        constructor: the positional arguments, as axis names, options or numbers; those of the
            layer's spec if None.
        turned: parameter → the order in which the subject keeps the canonical axes: ``(1, 0)`` is
            transposed.
        parts: parameter → where the subject keeps the equal blocks along its first axis
            (`crosscheck.spec.Layer.blocks`).
        summed: parameter without a place of its own → the one in whose place the subject keeps the
            sum of both (`crosscheck.spec.Layer.sums`).
        scalars: whether the constructor takes one number where the spec has one per axis of space.
    """

    attributes: Mapping[str, str] = field(default_factory=dict)
    constructor: tuple[str | int, ...] | None = None
    turned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    summed: Mapping[str, str] = field(default_factory=dict)
    scalars: bool = False
