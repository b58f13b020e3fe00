"""Mistakes planted in correct layers, as data: what is wrong, where, and what has to be said of it."""

from plants import fresh, gathering, operands, places, reduction, scale, sequences, state, windows
from plants.plant import Plant


def every() -> list[Plant]:
    """All plants, in the order of the list of mistakes."""
    found = [
        plant
        for module in (
            scale,
            operands,
            reduction,
            windows,
            gathering,
            places,
            sequences,
            state,
            fresh,
        )
        for plant in module.plants()
    ]
    return sorted(found, key=lambda plant: plant.number)
