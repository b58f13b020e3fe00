"""The catalogue: every layer that crosscheck knows, by name. One file a family.

Adding a layer means one file in `reference_nn` and one entry here: each module of this package
has a tuple ``LAYERS``, and that is all there is to register.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import ModuleType

from crosscheck.errors import unknown
from crosscheck.spec import Layer


def families() -> list[ModuleType]:
    """The modules of the catalogue, one a family, by name."""
    return [
        importlib.import_module(f"{__name__}.{info.name}")
        for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name)
    ]


class Catalogue(Mapping[str, Layer]):
    """Name → `Layer`, in the order of the families; a wrong name is answered with the nearest."""

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        layers: dict[str, Layer] = {}
        for module in families():
            for layer in getattr(module, "LAYERS", ()):
                if layer.name in layers:
                    raise ValueError(f"two catalogue entries are called {layer.name}")
                layers[layer.name] = layer
        return layers

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._layers[name]
        except KeyError:
            raise unknown("layer", name, self._layers) from None

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        return f"<catalogue of {len(self)} layers>"


catalogue = Catalogue()


def family(layer: Layer) -> str:
    """The family of a layer of the catalogue in words, such as ``transposed convolution``; else ""."""
    for module in families():
        if any(layer is own for own in getattr(module, "LAYERS", ())):
            return module.__name__.rpartition(".")[2].replace("_", " ")
    return ""


def named(name: str) -> Layer:
    """The layer of that name; what a pickled layer of the catalogue is made from."""
    return catalogue[name]
