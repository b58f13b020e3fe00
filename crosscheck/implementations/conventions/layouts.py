"""How a class keeps its parameters: under which names, in which order of axes, in one bias or two.

Told by names first, and by the shapes that a new object gives its arrays itself. Sizes are drawn
pairwise distinct, so that shapes tell much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from crosscheck.implementations.conventions.building import build
from crosscheck.implementations.conventions.call import only_ones_apart
from crosscheck.implementations.conventions.names import gate_names, parameter_names
from crosscheck.implementations.conventions.naming import Naming
from crosscheck.implementations.conventions.slots import attributes, parameter_slot, raw
from crosscheck.spec import Array, Problem, Shape


def recognise(subject: Any, problem: Problem, naming: Naming) -> Naming:
    """What the arrays of a new object of a class add to what is known of it.

    Args:
        subject: the class; of anything else nothing is added.
        problem: what it is built for.
        naming: what is known, which is not changed.
    """
    if not isinstance(subject, type):
        return naming
    try:
        layer = build(subject, problem, naming=naming)
    except (Exception, SystemExit):
        return naming
    shapes = {name: tensor.shape(problem) for name, tensor in problem.parameters.items()}
    own = _own_arrays(layer)
    places = _by_name(layer, problem, naming, own, shapes)
    if not any("." in name for name in shapes):
        places |= _by_elimination(layer, problem, places, own, shapes)
    parts = _in_blocks(problem, places, own, shapes)
    places = {name: path for name, path in places.items() if name not in parts}
    placed = {*places, *parts}
    summed = {
        missing: kept
        for pair in problem.layer.sums
        for missing, kept in (pair, pair[::-1])
        if missing in shapes and missing not in placed and kept in placed
    }
    turned = {
        name: order
        for name, path in places.items()
        if (order := axes_order(own[path].shape, shapes[name])) is not None
    }
    turned |= {
        name: order
        for name, paths in parts.items()
        if (order := axes_order(own[paths[0]].shape, _block(shapes[name], paths))) is not None
    }
    turned |= _like_the_others(turned, {n: s for n, s in shapes.items() if len(s) == 2}, parts)
    plain = {
        name: path
        for name, path in places.items()
        if name not in naming.attributes and _found(layer, name, shapes) is not own[path]
    }
    return replace(
        naming,
        attributes={**plain, **naming.attributes},
        turned={**turned, **naming.turned},
        parts={**parts, **naming.parts},
        summed={**summed, **naming.summed},
    )


def said(who: str, problem: Problem, given: Naming, taken: Naming) -> Iterator[str]:
    """What was taken to be so without having been said, as sentences for a report's notes.

    Args:
        who: the subject's name.
        problem: what it was recognised on.
        given: what was known of it.
        taken: what `recognise` made of that.
    """
    for name, order in sorted(taken.turned.items()):
        axes = problem.parameters[name].axes if name in problem.parameters else None
        words = axes.split() if isinstance(axes, str) else [f"axis {n}" for n in range(len(order))]
        listed = ", ".join(words[n].removeprefix("1*") for n in order)
        how = "transposed, as" if len(order) == 2 else "with its axes in the order"
        yield f"convention-mismatch: {name} is kept {how} ({listed})"
    for name, path in taken.attributes.items():
        if name not in given.attributes:
            yield f"{name} is taken to be {path}: it is what fits"
    for name, paths in taken.parts.items():
        yield f"{name} is kept in parts: {', '.join(paths)}"
    for other, kept in taken.summed.items():
        yield f"{other} and {kept} are one array in {who}, which is given their sum"
    if taken.scalars:
        yield f"{who} takes one number for all axes of space"


def _found(layer: Any, name: str, parameters: Iterable[str], stated: str | None = None) -> Any:
    """The array in the place that a parameter has by its name alone."""
    slot = parameter_slot(layer, name, tuple(parameters), stated)
    return None if slot is None else raw(slot.get())


def own_shapes(subject: type, problem: Problem) -> dict[str, Shape]:
    """The shapes that a newly constructed object gives its parameters itself."""
    try:
        layer = build(subject, problem)
    except (Exception, SystemExit):
        return {}
    found = {}
    for name in problem.parameters:
        value = _found(layer, name, problem.parameters)
        if isinstance(value, np.ndarray):
            found[name] = value.shape
    return found


def axes_order(own: Shape, canonical: Shape) -> tuple[int, ...] | None:
    """The order of the canonical axes that gives the shape, or None if it is theirs or none does.

    Axes of space, those after the second, stay together and in order.
    """
    if own == canonical or sorted(own) != sorted(canonical):
        return None
    return next(_orders(own, canonical), None)


def _orders(own: Shape, canonical: Shape) -> Iterator[tuple[int, ...]]:
    space = tuple(range(2, len(canonical)))
    # (kernel, in, out) first, then (out, kernel, in): what other libraries have.
    for places in sorted(permutations((0, 1, space)), key=lambda p: (p[0] != space, p[0] != 0)):
        order = tuple(n for place in places for n in (place if place == space else (place,)))
        if tuple(canonical[n] for n in order) == own:
            yield order


def _own_arrays(layer: Any) -> dict[str, Array]:
    """Path → array of real numbers, of the attributes and of what is in their dictionaries."""
    found = {}
    for name, value in attributes(layer).items():
        inside = value.items() if isinstance(value, dict) else ()
        for path, held in ((name, value), *((f"{name}.{k}", v) for k, v in inside)):
            array = raw(held)
            if isinstance(array, np.ndarray) and array.ndim and array.dtype.kind == "f":
                found[path] = array
    return found


def _fits(own: Shape, canonical: Shape) -> bool:
    return (
        own == canonical
        or axes_order(own, canonical) is not None
        or only_ones_apart(own, canonical)
    )


def _by_name(
    layer: Any,
    problem: Problem,
    naming: Naming,
    own: Mapping[str, Array],
    shapes: Mapping[str, Shape],
) -> dict[str, str]:
    """Parameter → path of the array that has one of its names; where several do, of one that fits."""
    places: dict[str, str] = {}
    paths = {id(array): path for path, array in own.items()}
    for name, shape in shapes.items():
        stated = naming.attributes.get(name)
        path = paths.get(id(_found(layer, name, shapes, stated)))
        if path is None or (stated is None and not _fits(own[path].shape, shape)):
            known = parameter_names(name, tuple(shapes))
            fitting = [p for p, a in own.items() if _fits(a.shape, shape)]
            named = [p for n in known for p in fitting if p.rpartition(".")[2] == n]
            path = next((p for p in named if p not in places.values()), path)
        if path is not None and path not in places.values():
            places[name] = path
    return places


def _in_blocks(
    problem: Problem,
    places: Mapping[str, str],
    own: Mapping[str, Array],
    shapes: Mapping[str, Shape],
) -> dict[str, tuple[str, ...]]:
    """Parameters without a fitting array → the arrays that hold their blocks, one a gate."""
    found: dict[str, tuple[str, ...]] = {}
    for name, gates in problem.layer.blocks.items():
        if name not in shapes or not gates:
            continue
        if name in places and _fits(own[places[name]].shape, shapes[name]):
            continue
        block = _block(shapes[name], gates)
        fitting = [path for path, array in own.items() if _fits(array.shape, block)]
        paths: list[str] = []
        for gate in gates:
            known = gate_names(name, gate)
            named = [p for n in known for p in fitting if p.rpartition(".")[2] == n]
            free = [p for p in named if p not in paths and all(p not in f for f in found.values())]
            paths += free[:1]
        if len(paths) == len(gates):
            found[name] = tuple(paths)
    return found


def _block(shape: Shape, parts: Sequence[str]) -> Shape:
    return (shape[0] // len(parts), *shape[1:])


def _like_the_others(
    turned: Mapping[str, tuple[int, ...]],
    matrices: Mapping[str, Shape],
    parts: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[int, ...]]:
    """Square matrices are taken to be transposed where all others of the layer are."""
    own = {n: _block(s, parts[n]) if n in parts else s for n, s in matrices.items()}
    square = [name for name, (one, two) in own.items() if one == two]
    others = [name for name in own if name not in square]
    return dict.fromkeys(square, (1, 0)) if others and all(n in turned for n in others) else {}


def _by_elimination(
    layer: Any,
    problem: Problem,
    places: Mapping[str, str],
    own: Mapping[str, Array],
    shapes: Mapping[str, Shape],
) -> dict[str, str]:
    """Parameters of no known name → the arrays that nothing else can be, by their shapes."""
    taken = set(places.values())
    for name in problem.buffers:
        slot = parameter_slot(layer, name, tuple(problem.buffers), None)
        taken |= set() if slot is None else {str(slot.key)}
    second = {two for _, two in problem.layer.sums}  # it may be in the place of the first
    found: dict[str, str] = {}
    while True:
        left = [n for n in shapes if n not in {*places, *found, *second}]
        free = [p for p in own if p not in taken and p not in found.values()]
        fitting = {n: [p for p in free if _fits(own[p].shape, shapes[n])] for n in left}
        sure = [
            (name, paths[0])
            for name, paths in fitting.items()
            if len(paths) == 1 and sum(paths[0] in other for other in fitting.values()) == 1
        ]
        if not sure:
            return found
        found |= dict(sure)
