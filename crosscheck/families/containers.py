"""Sequential: layers in a chain."""

from __future__ import annotations

from crosscheck.families import activations, linear
from crosscheck.networks import network

_BY_NAME = {layer.name: layer for family in (linear, activations) for layer in family.LAYERS}

LAYERS = (network(_BY_NAME["Linear"], _BY_NAME["Sigmoid"], _BY_NAME["Linear"], name="Sequential"),)
