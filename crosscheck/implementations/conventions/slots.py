"""Where a hand-written layer keeps an array: an attribute, an entry of a dictionary, of a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from crosscheck.implementations.conventions.names import (
    ALIASES,
    GRADIENT_HOLDERS,
    first,
    gradient_names,
    parameter_names,
)


class Slot(NamedTuple):
    """One place.

    Attributes:
        owner: the object, dictionary or list that holds it.
        key: attribute name, key or index.
        label: what a person would write: ``W``, ``params['W1']``, ``layers[0].bias``.
    """

    owner: Any
    key: Any
    label: str

    def get(self) -> Any:
        """What is there; None where nothing is."""
        if isinstance(self.owner, dict):
            return self.owner.get(self.key)
        if isinstance(self.owner, list):
            return self.owner[self.key]
        return getattr(self.owner, self.key, None)

    def set(self, value: Any) -> None:
        """Put a value there."""
        if isinstance(self.owner, dict | list):
            self.owner[self.key] = value
        else:
            setattr(self.owner, self.key, value)


def raw(value: Any) -> Any:
    """The array inside somebody's tensor (its ``data``); anything else as it is."""
    return value if isinstance(value, np.ndarray) else getattr(value, "data", value)


def attributes(layer: Any) -> dict[str, Any]:
    """The object's own attributes, those in ``__slots__`` included."""
    found = dict(getattr(layer, "__dict__", {}))
    kind: type = type(layer)
    for name in _slots(kind):
        if hasattr(layer, name):
            found[name] = getattr(layer, name)
    return found


@lru_cache(maxsize=512)
def _slots(kind: type) -> tuple[str, ...]:
    """The names in ``__slots__`` of a class and of those it inherits from."""
    found = [base.__dict__.get("__slots__", ()) for base in kind.__mro__]
    return tuple(
        name for slots in found for name in ((slots,) if isinstance(slots, str) else slots)
    )


def parameter_slot(
    layer: Any, name: str, parameters: Sequence[str], stated: str | None
) -> Slot | None:
    """Where a layer keeps a parameter, or None.

    Args:
        layer: the object.
        name: the canonical name; of a network, ``"0.weights"``.
        parameters: all parameters of the layer, in order.
        stated: the name that the exercise states, if it does: ``W``, ``params.W``, ``layers.0.W``.
    """
    for path in (stated, name):
        found = None if path is None else _by_path(layer, path)
        if found is not None:
            return found
    return (
        _named(layer, parameter_names(name, parameters))
        or _in_part(layer, name)
        or _in_list(layer, name, parameters, ("params", "parameters", "weights", "biases"))
    )


def gradient_slot(
    layer: Any, name: str, parameters: Sequence[str], slot: Slot | None, stated: str | None
) -> Slot | None:
    """Where a layer leaves the gradient of a parameter, or None.

    Args:
        layer, name, parameters: as of `parameter_slot`.
        slot: where the parameter itself was found.
        stated: the name that the exercise states for the gradient.
    """
    if stated is not None:
        found = _by_path(layer, stated)
        if found is not None:
            return found
    own = name if slot is None else str(slot.key)
    if slot is not None and not isinstance(slot.owner, dict | list):
        found = _named(slot.owner, gradient_names(own), dictionaries=False)
        if found is not None:
            return found
    keys = list(gradient_names(own))
    for alias in parameter_names(name, parameters):
        keys += gradient_names(alias)
    holders = {k: v for k, v in attributes(layer).items() if isinstance(v, dict)}
    for holder in sorted(holders, key=lambda k: k.lstrip("_") not in GRADIENT_HOLDERS):
        content = holders[holder]
        for_gradients = holder.lstrip("_") in GRADIENT_HOLDERS
        bare = (own, *parameter_names(name, parameters)) if for_gradients else ()
        key = first((*keys, *bare), content)
        if key is not None:
            return Slot(content, key, f"{holder}[{key!r}]")
    return _named(layer, keys, dictionaries=False) or _in_list(
        layer, name, parameters, GRADIENT_HOLDERS + ("grad_weights", "grad_biases", "dW", "db")
    )


def same_object(layer: Any, have: Mapping[str, Any], value: Any, but: Slot) -> Iterator[Slot]:
    """The other places of a layer that hold the very same object: ``self.params = [self.W]``.

    Args:
        layer: the object.
        have: its `attributes`.
        value: what is looked for.
        but: the place that is known.
    """
    if value is None:
        return
    for key, held in have.items():
        if held is value and not (but.owner is layer and but.key == key):
            yield Slot(layer, key, key)
        elif isinstance(held, dict):
            yield from (
                Slot(held, k, k) for k, v in held.items() if v is value and held is not but.owner
            )
        elif isinstance(held, list):
            yield from (
                Slot(held, i, key)
                for i, v in enumerate(held)
                if v is value and held is not but.owner
            )


def array_names(layer: Any) -> list[str]:
    """For a message: the names of the arrays that an object holds."""
    found = []
    for name, value in attributes(layer).items():
        if isinstance(value, dict):
            found += [f"{name}[{k!r}]" for k, v in value.items() if isinstance(v, np.ndarray)]
        elif isinstance(value, np.ndarray):
            found.append(name)
    return sorted(found)


def _by_path(layer: Any, path: str) -> Slot | None:
    """``"layers.0.weights"``, ``"params.W1"``; a leading number is an index into ``layers``."""
    if "." not in path and not isinstance(layer, dict | list):
        return Slot(layer, path, path) if hasattr(layer, path) else None
    steps, last, index = _read(path)
    for step, number in steps:
        if number is not None and isinstance(layer, (list, tuple)):
            layer = layer[number] if number < len(layer) else None
        else:
            layer = layer.get(step) if isinstance(layer, dict) else getattr(layer, step, None)
        if layer is None:
            return None
    if isinstance(layer, dict):
        return Slot(layer, last, path) if last in layer else None
    if isinstance(layer, list):
        return Slot(layer, index, path) if index is not None and index < len(layer) else None
    return Slot(layer, last, path) if hasattr(layer, last) else None


@lru_cache(maxsize=512)
def _read(path: str) -> tuple[tuple[tuple[str, int | None], ...], str, int | None]:
    """The steps of a path, its last one apart; of each the number that it may be."""
    words = path.split(".")
    if len(words) > 1 and words[0].isdecimal():
        words = ["layers", *words]
    *steps, last = ((word, int(word) if word.isdecimal() else None) for word in words)
    return tuple(steps), *last


def _named(layer: Any, names: Sequence[str], dictionaries: bool = True) -> Slot | None:
    have = attributes(layer)
    key = first(names, have)
    if key is None:
        key = next((n for n in names if isinstance(getattr(type(layer), n, None), property)), None)
    if key is not None:
        return Slot(layer, key, key)
    if dictionaries:
        for holder, content in have.items():
            if isinstance(content, dict) and holder.lstrip("_") not in GRADIENT_HOLDERS:
                key = first(names, content)
                if key is not None:
                    return Slot(content, key, f"{holder}[{key!r}]")
    return None


def _in_part(layer: Any, name: str) -> Slot | None:
    """A network's parameter in the object of its stage: attributes with parameters, in order."""
    stage, dot, plain = name.rpartition(".")
    parts = getattr(layer, "layers", None)
    if dot and isinstance(parts, list | tuple) and stage.isdigit() and int(stage) < len(parts):
        part = parts[int(stage)]
        found = _named(part, (plain, *ALIASES.get(plain, ())))
        return found and Slot(found.owner, found.key, f"layers[{stage}].{found.label}")
    return None


def _in_list(
    layer: Any, name: str, parameters: Sequence[str], holders: Sequence[str]
) -> Slot | None:
    """``params = [W, b]``, ``grads = [dW, db]``; or of a network, ``weights = [W1, W2]``."""
    have = attributes(layer)
    plain = name.rpartition(".")[2]
    kin = [p for p in parameters if p.rpartition(".")[2] == plain]
    for holder in holders:
        content = have.get(holder)
        if isinstance(content, list) and len(content) == len(parameters):
            return Slot(content, parameters.index(name), f"{holder}[{parameters.index(name)}]")
        if isinstance(content, list) and len(content) == len(kin):
            if plain[:4] in holder or holder == ("dW" if plain == "weights" else "db"):
                return Slot(content, kin.index(name), f"{holder}[{kin.index(name)}]")
    return None
