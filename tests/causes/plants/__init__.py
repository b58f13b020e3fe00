"""Mistakes planted in correct layers, as data: what is wrong, where, and what has to be said of it."""

from dataclasses import replace

from plants import (
    fresh,
    gathering,
    operands,
    places,
    reduction,
    scale,
    sequences,
    state,
    windows,
)
from plants.plant import Plant

#: Numbers of the list that were planted together with their rules.
LATER = (7, 37, 45)


def every() -> list[Plant]:
    """All plants, in the order of the list of mistakes."""
    before = (scale, operands, reduction, windows, sequences, state)
    found = [plant for module in (*before, fresh) for plant in module.plants()]
    found = [replace(p, with_rule=p.number in LATER) for p in found]
    found += [
        replace(plant, with_rule=True)
        for module in (gathering, places)
        for plant in module.plants()
    ]
    return sorted(found, key=lambda plant: plant.number)
