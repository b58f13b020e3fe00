"""An exercise out of one TOML file; every mistake in it is answered with the key and the nearest known one."""

from __future__ import annotations

import os
import runpy
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from crosscheck.case import DTYPES
from crosscheck.errors import UsageError, unknown
from crosscheck.exercises.exercise import CONTRACT, SHOW, Exercise, Item, Limits
from crosscheck.families import catalogue
from crosscheck.implementations.conventions import CONVENTIONS
from crosscheck.implementations.conventions.scalings import ScaleError, factor
from crosscheck.implementations.manner import Manner
from crosscheck.networks import network
from crosscheck.sampling import draw_sizes, generator
from crosscheck.spec import Layer, Problem, Tensor, Tensors

SHIPPED = Path(__file__).parent / "shipped"
FILE = "exercise.toml"
SOLUTION = "solution.py"

_TOP = (
    "title", "description", "convention", "limits", "allowed_imports", "show", "against", "mismatch",
    "items",
)  # fmt: skip
_ITEM = (
    "layer", "name", "title", "options", "convention", "constructor", "attributes", "scale",
    "accumulates", "transposed", "sizes", "dtypes", "gradients", "points",
)  # fmt: skip


def shipped() -> tuple[str, ...]:
    """The names of the exercises that come with crosscheck."""
    return tuple(sorted(p.parent.name for p in SHIPPED.glob(f"*/{FILE}")))


def quantities(problem: Problem) -> tuple[str, ...]:
    """Everything that can be worth points: outputs, gradients, the contract."""
    gradients = (f"grad_{name}" for name in problem.differentiable)
    return (*problem.outputs, *problem.buffers, *gradients, CONTRACT)


def find(where: str | os.PathLike[str]) -> Path:
    """The TOML file of an exercise: a file, a folder with ``exercise.toml``, or a shipped name.

    Raises:
        UsageError: none of these.
    """
    path = Path(where)
    if path.is_dir() and (path / FILE).is_file():
        return path / FILE
    if path.is_file():
        return path
    if (SHIPPED / str(where) / FILE).is_file():
        return SHIPPED / str(where) / FILE
    if path.is_dir():
        raise UsageError(f"{where}: there is no {FILE} in it; `crosscheck exercise new` writes one")
    if path.suffix or len(path.parts) > 1:
        raise UsageError(f"{where}: no such file")
    raise unknown("exercise", where, shipped())


def load(where: str | os.PathLike[str], *, run: bool = True) -> Exercise:
    """Read an exercise.

    Args:
        where: a TOML file, a folder with an ``exercise.toml``, or the name of a shipped one. A Python
            file that it names (``layer = "layers.py:scale"``) is run: it is the teacher's.
        run: whether it may be. Not where an exercise is taken because it lies beside a submission.

    Raises:
        UsageError: it cannot be read, or something in it makes no sense; the message names the key.
    """
    path = find(where)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no valid TOML: {error}") from None
    return _Reader(path, run).exercise(data)


class _Reader:
    """Reads one file; knows where it is, for messages."""

    def __init__(self, path: Path, run: bool) -> None:
        self.path = path
        self.run = run
        self.where = ""

    def fail(self, text: str) -> UsageError:
        inside = f"{self.where}: " if self.where else ""
        return UsageError(f"{self.path.name}: {inside}{text}")

    def known(self, kind: str, given: Mapping[str, Any], names: tuple[str, ...]) -> None:
        for key in given:
            if key not in names:
                raise self.fail(str(unknown(kind, key, names)))

    def get(
        self, data: Mapping[str, Any], key: str, kind: type | tuple[type, ...], default: Any
    ) -> Any:
        if key not in data:
            return default
        value = data[key]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(_KINDS[k] for k in kinds)
            raise self.fail(f"{key} = {value!r}: expected {wanted}")
        return value

    def words(self, data: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = self.get(data, key, (str, list), [])
        listed = [value] if isinstance(value, str) else value
        if not all(isinstance(word, str) for word in listed):
            raise self.fail(f"{key} = {value!r}: expected text, or a list of texts")
        return tuple(listed)

    # --- the whole ---------------------------------------------------------------------------

    def exercise(self, data: Mapping[str, Any]) -> Exercise:
        self.known("key", data, _TOP)
        items = self.get(data, "items", list, [])
        if not items:
            raise self.fail("it has no [[items]]: nothing is asked for")
        show = self.get(data, "show", str, "hints")
        if show not in SHOW:
            raise self.fail(str(unknown("value of show", show, SHOW)))
        mismatch = float(self.get(data, "mismatch", (int, float), 0.5))
        if not 0 <= mismatch <= 1:
            raise self.fail(f"mismatch = {mismatch}: a share between 0 and 1")
        against = self.words(data, "against") or None
        for name in against or ():
            if name not in ("torch", "jax", "numeric"):
                raise self.fail(
                    str(unknown("witness in against", name, ("torch", "jax", "numeric")))
                )
        limits = self.limits(self.get(data, "limits", dict, {}))
        convention = self.get(data, "convention", str, "")
        found = tuple(self.item(n, item, convention) for n, item in enumerate(items, 1))
        titles = [item.title for item in found]
        for title in titles:
            if titles.count(title) > 1:
                raise self.fail(f"two items are called {title!r}: give them a title each")
        solution = self.path.parent / SOLUTION
        exercise = Exercise(
            title=self.get(data, "title", str, self.path.parent.name),
            items=found,
            description=self.get(data, "description", str, "").strip(),
            limits=limits,
            show=show,
            against=against,
            mismatch=mismatch,
            solution=solution if solution.is_file() else None,
            file=self.path,
        )
        imports = self.words(data, "allowed_imports")
        return replace(exercise, imports=(*imports, "__future__")) if imports else exercise

    def limits(self, data: Mapping[str, Any]) -> Limits:
        self.where = "[limits]"
        names = tuple(f.name for f in fields(Limits))
        self.known("limit", data, names)
        for key in data:
            if not self.get(data, key, (int, float), 0) > 0:
                raise self.fail(f"{key} = {data[key]!r}: a positive number is needed")
        self.where = ""
        return Limits(**data)

    # --- one item ----------------------------------------------------------------------------

    def item(self, number: int, data: Any, convention: str) -> Item:
        self.where = f"item {number}"
        if not isinstance(data, dict):
            raise self.fail("expected a table [[items]]")
        names = self.words(data, "name")
        if names:
            self.where = f"item {number} ({names[0]})"
        self.known("key", data, _ITEM)
        if "layer" not in data:
            raise self.fail("it has no layer: say what is to be computed")
        if not names:
            raise self.fail("it has no name: say what the class is to be called")
        layer = self.layer(data["layer"])
        options = self.get(data, "options", dict, {})
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        sizes = self.get(data, "sizes", dict, {})
        problem = self.problem(layer, options, sizes)
        asked = self.words(data, "gradients")
        if "gradients" in data:
            layer = self.asked(layer, problem, asked)
            problem = layer.problem(options, problem.sizes)
        manner = self.manner(data, names, convention, problem)
        dtypes = self.words(data, "dtypes") or ("float64",)
        for dtype in dtypes:
            if dtype not in DTYPES:
                raise self.fail(str(unknown("dtype", dtype, DTYPES)))
        title = self.get(data, "title", str, manner.label)
        self.where, points = "", self.points(data, problem)
        return Item(title, layer, manner, options, sizes, dtypes, points)

    def layer(self, given: Any) -> Layer:
        if isinstance(given, list):
            return network(*(self.stage(part) for part in given))
        if not isinstance(given, str):
            raise self.fail(f"layer = {given!r}: expected a name, or a list of names for a network")
        if ".py:" in given:
            found = self.own(given)
            if not isinstance(found, Layer):
                raise self.fail(f"layer = {given!r} is no crosscheck.Layer")
            return found
        try:
            return catalogue[given]
        except UsageError as error:
            raise self.fail(str(error)) from None

    def stage(self, part: Any) -> Any:
        if isinstance(part, dict) and isinstance(part.get("layer"), str):
            return self.layer(part["layer"]), {k: v for k, v in part.items() if k != "layer"}
        if isinstance(part, str):
            return self.layer(part)
        raise self.fail(f"layer: {part!r} is neither a name nor {{ layer = NAME, option = value }}")

    def own(self, where: str) -> Any:
        file, _, name = where.partition(":")
        path = self.path.parent / file
        if not path.is_file():
            raise self.fail(f"{where}: there is no {file} beside the exercise")
        if not self.run:
            raise self.fail(
                f"{where} would be run here: name the exercise (--exercise) if you trust it"
            )
        try:
            found = runpy.run_path(str(path))
        except Exception as error:
            raise self.fail(f"{file} raised {type(error).__name__}: {error}") from None
        if name not in found:
            raise self.fail(
                str(unknown(f"name in {file}", name, [k for k in found if k[0] != "_"]))
            )
        return found[name]

    def problem(
        self, layer: Layer, options: Mapping[str, Any], sizes: Mapping[str, Any]
    ) -> Problem:
        """The layer with sizes drawn, to see that everything fits together."""
        for axis, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise self.fail(f"sizes: {axis} = {size!r}: a positive whole number is needed")
        try:
            found = draw_sizes(layer, options, generator(0, "exercise"), sizes)
        except UsageError as error:
            raise self.fail(str(error)) from None
        if found is None:
            raise self.fail(
                f"no sizes of {layer.name} fit options {dict(options)} and sizes {dict(sizes)}"
            )
        return found

    def asked(self, layer: Layer, problem: Problem, gradients: tuple[str, ...]) -> Layer:
        """The layer with only some gradients asked for."""
        for name in gradients:
            if name not in problem.differentiable:
                raise self.fail(str(unknown("gradient", name, problem.differentiable)))
        return replace(
            layer,
            inputs=_only(layer.inputs, gradients),
            parameters=_only(layer.parameters, gradients),
        )

    def manner(
        self, data: Mapping[str, Any], names: tuple[str, ...], convention: str, problem: Problem
    ) -> Manner:
        convention = self.get(data, "convention", str, convention)
        source = ""
        if ".py:" in convention:
            file, _, convention = convention.partition(":")
            if not (self.path.parent / file).is_file():
                raise self.fail(f"convention: there is no {file} beside the exercise")
            source = (self.path.parent / file).read_text(encoding="utf-8")
        elif convention and convention not in CONVENTIONS:
            raise self.fail(str(unknown("convention", convention, CONVENTIONS)))
        arrays = (*problem.parameters, *problem.buffers)
        attributes = self.get(data, "attributes", dict, {})
        self.known("attribute", attributes, (*arrays, *(f"grad_{n}" for n in arrays)))
        constructor = data.get("constructor")
        if constructor is not None:
            for word in self.get(data, "constructor", list, []):
                if isinstance(word, str) and word not in (*problem.sizes, *problem.options):
                    raise self.fail(
                        str(unknown("axis or option in constructor", word, problem.sizes))
                    )
        scale = self.get(data, "scale", dict, {})
        self.known("quantity in scale", scale, quantities(problem)[:-1])
        for quantity, text in scale.items():
            try:
                factor(str(text), problem)
            except ScaleError as error:
                raise self.fail(f"scale: {quantity}: {error}") from None
        transposed = self.words(data, "transposed")
        for name in transposed:
            if name not in problem.parameters:
                raise self.fail(str(unknown("parameter in transposed", name, problem.parameters)))
        return Manner(
            names=names,
            convention=convention,
            attributes={k: str(v) for k, v in attributes.items()},
            constructor=None if constructor is None else tuple(constructor),
            scale={k: str(v) for k, v in scale.items()},
            accumulates=self.get(data, "accumulates", bool, False),
            transposed=transposed,
            source=source,
        )

    def points(self, data: Mapping[str, Any], problem: Problem) -> dict[str, float]:
        known = quantities(problem)
        given = self.get(data, "points", dict, None)
        if given is None:
            return dict.fromkeys(known, 1.0)
        self.known("quantity in points", given, known)
        for quantity in given:
            if self.get(given, quantity, (int, float), 0) < 0:
                raise self.fail(f"points: {quantity} = {given[quantity]!r}: not negative, please")
        return {q: float(given[q]) for q in known if q in given}


_KINDS = {
    str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false",
    list: "a list [...]", dict: "a table",
}  # fmt: skip


def _only(tensors: Tensors, gradients: tuple[str, ...]) -> Callable[[Any], Mapping[str, Tensor]]:
    def chosen(options: Any) -> dict[str, Tensor]:
        declared = tensors(options) if callable(tensors) else tensors
        full = {k: t if isinstance(t, Tensor) else Tensor(t) for k, t in declared.items()}
        return {
            k: t if k in gradients else replace(t, differentiable=False) for k, t in full.items()
        }

    return chosen
