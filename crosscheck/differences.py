"""Known differences between PyTorch and JAX, as data. Each is measured, and tested to still exist.

A `Difference` lives in the catalogue file of its layer (a tuple ``LEDGER``); `ledger()` collects
them. A check that meets PyTorch and JAX disagreeing where an entry says so names the entry instead
of blaming anyone; the layer under test has to agree with one of the two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crosscheck.spec import Array

#: In `Difference.kinds`: every case may show it.
ANY = "any"


@dataclass(frozen=True)
class Difference:
    """One place where the frameworks compute different things under the same name.

    Attributes:
        slug: a stable name, such as ``leaky-relu-at-zero``.
        layer: the catalogue entry it concerns.
        what: one sentence: what differs.
        torch, jax: what each of them does, a few words or a formula.
        measure: both answers on the same input, (torch's, jax's); they differ, or the entry is
            out of date. Imports the frameworks inside.
        follows: ``"torch"`` or ``"jax"``: what reference_nn does by default.
        option: the option of the layer that sets reference_nn to ``"torch"`` or ``"jax"``, or
            None with `mapping` saying how the catalogue bridges the difference.
        mapping: how the catalogue's twin makes both compute the same (an argument, a layout), if
            it does; then no case shows the difference.
        kinds: the kinds of case (names in `Layer.special`) in which a check meets it; `ANY` for
            all.
        quantities: the quantities that differ there, such as ``grad_x``.
        derivative: whether at least one of the two gradients is the derivative of its forward; else
            the numeric witness is no judge.
    """

    slug: str
    layer: str
    what: str
    torch: str
    jax: str
    measure: Callable[[], tuple[Array, Array]]
    follows: str = "torch"
    option: str | None = None
    mapping: str | None = None
    kinds: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    derivative: bool = True


def ledger() -> dict[str, Difference]:
    """Slug → known difference, over the whole catalogue."""
    from crosscheck.families import families

    entries: dict[str, Difference] = {}
    for module in families():
        for entry in getattr(module, "LEDGER", ()):
            if entry.slug in entries:
                raise ValueError(f"two ledger entries are called {entry.slug}")
            entries[entry.slug] = entry
    return entries
