"""A Case: one concrete problem, whole: arrays, cotangents, and where they came from.

Immutable; saved to and loaded from one ``.npz`` without pickle, so that a failing case is a file
that anyone can replay.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from crosscheck.errors import CaseError
from crosscheck.spec import Array, Layer, Problem, Values

FORMAT = "crosscheck-case"
FORMAT_VERSION = 1
MEMORY = ("plain", "strided", "readonly")
DTYPES = ("float64", "float32")


@dataclass(frozen=True, repr=False)
class Case:
    """Everything a witness needs to answer, and everything needed to repeat the question.

    Attributes:
        problem: layer, options, sizes.
        values: name → array for every input, parameter and buffer; float64, int64 or bool,
            read-only. What a witness gets is `arrays()`, in `dtype` and `memory`.
        cotangents: output name → array, random, never ones; float64, read-only.
        dtype: ``float64`` or ``float32``: what real arrays are given in.
        memory: ``plain`` (fresh, writable, C-contiguous), ``strided`` (views with gaps, the
            first axis reversed) or ``readonly``.
        kind: what is special: ``distinct``, ``batch=1``, ``square``, or a special point's name.
        seed: the seed it was drawn from, None when it was given.
        at_kink: the values sit on purpose where the layer is not differentiable; the numeric
            witness does not apply there.
        versions: package → version that the case was saved under.
    """

    problem: Problem
    values: Values
    cotangents: Values
    dtype: str = "float64"
    memory: str = "plain"
    kind: str = "distinct"
    seed: int | None = None
    at_kink: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise CaseError(f"dtype {self.dtype!r}: a case is float64 or float32")
        if self.memory not in MEMORY:
            raise CaseError(f"memory {self.memory!r}: one of {', '.join(MEMORY)}")
        shapes = self.problem.shapes()
        for group, wanted in (
            (self.values, tuple(self.problem.given)),
            (self.cotangents, self.problem.differentiable_outputs),
        ):
            for name in wanted:
                if name not in group:
                    raise CaseError(f"{self.problem.layer.name}: no array for {name!r}")
                array = group[name]
                if array.shape != shapes[name]:
                    raise CaseError(
                        f"{self.problem.layer.name}: {name} has shape {array.shape}, "
                        f"{self.problem!r} needs {shapes[name]}"
                    )
                if array.dtype.kind == "f" and np.isnan(array).any():
                    raise CaseError(f"{self.problem.layer.name}: {name} contains NaN")
                if array.dtype.kind == "f" and np.isinf(array).any() and name in self._finite():
                    raise CaseError(f"{self.problem.layer.name}: {name} contains Inf")
        object.__setattr__(self, "values", _frozen(self.values))
        object.__setattr__(self, "cotangents", _frozen(self.cotangents))

    def _finite(self) -> tuple[str, ...]:
        return (*self.problem.differentiable, *self.problem.differentiable_outputs)

    @property
    def id(self) -> str:
        """A readable name: ``Conv2d[bias=False,batch=1,float32,strided]``."""
        label = self.problem.label()
        parts = [label[len(self.problem.layer.name) + 1 : -1]] if label.endswith("]") else []
        parts += [self.kind, self.dtype]
        parts += [self.memory] if self.memory != "plain" else []
        return f"{self.problem.layer.name}[{','.join(parts)}]"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={v}" for k, v in self.problem.sizes.items())
        return f"<Case {self.id}: {sizes}; seed {self.seed}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same line in IPython and in Hypothesis, which else print every array."""
        printer.text(repr(self))

    def arrays(self, dtype: str | None = None, memory: str | None = None) -> dict[str, Array]:
        """Fresh arrays for a witness, real ones in `dtype`, laid out as `memory` says."""
        return present(self.values, dtype or self.dtype, memory or self.memory)

    def upstream(self, dtype: str | None = None, memory: str | None = None) -> dict[str, Array]:
        """Fresh cotangents for a witness, likewise."""
        return present(self.cotangents, dtype or self.dtype, memory or self.memory)

    def with_values(self, **changes: Any) -> Case:
        """The same case with some fields replaced."""
        return replace(self, **changes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its fields, so that arrays are read-only on the other side too."""
        return Case, tuple(getattr(self, f.name) for f in fields(self))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the case to one ``.npz`` (no pickle), whole or not at all.

        Raises:
            CaseError: the file cannot be written, or the layer's options are no plain data.
        """
        from crosscheck.versions import versions

        target = Path(path)
        layer = self.problem.layer
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "layer": layer.name,
            "options": dict(self.problem.options),
            "sizes": self.problem.sizes,
            "dtype": self.dtype,
            "memory": self.memory,
            "kind": self.kind,
            "seed": self.seed,
            "at_kink": self.at_kink,
            "versions": dict(self.versions) or versions(),
        }
        try:
            text = json.dumps(header, default=_plain)
        except TypeError as error:
            raise CaseError(f"{layer.name}: options are no plain data: {error}") from None
        arrays = {f"value/{k}": a for k, a in self.values.items()}
        arrays |= {f"cotangent/{k}": a for k, a in self.cotangents.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, header=np.array(text), **arrays)  # type: ignore[arg-type]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
                handle.write(buffer.getvalue())
            Path(handle.name).chmod(0o644)
            os.replace(handle.name, target)  # two writers never leave half a file
        except OSError as error:
            raise CaseError(f"cannot write {target}: {error.strerror or error}") from None
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str], layer: Layer | None = None) -> Case:
        """Read a case back.

        Args:
            path: the ``.npz`` file.
            layer: the spec, for a layer that is not in the catalogue.

        Raises:
            CaseError: no such file, not a case, truncated, or of an unknown format version.
            UsageError: the layer is not in the catalogue and none was given.
        """
        try:
            with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
                if "header" not in archive:
                    raise CaseError(f"{path} is no crosscheck case: it has no header")
                header = json.loads(str(archive["header"]))
                arrays = {name: archive[name] for name in archive.files if name != "header"}
        except FileNotFoundError:
            raise CaseError(f"{path}: no such file") from None
        except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, TypeError) as error:
            raise CaseError(f"{path} is no readable case: {error}") from None
        except Exception as error:  # zlib.error and friends: damaged content
            raise CaseError(f"{path} is damaged: {error}") from None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise CaseError(f"{path} is no crosscheck case")
        if header.get("format_version") != FORMAT_VERSION:
            raise CaseError(
                f"{path} has case format {header.get('format_version')}; "
                f"this version of crosscheck reads {FORMAT_VERSION}"
            )
        if layer is None:
            from crosscheck.families import catalogue

            layer = catalogue[header["layer"]]
        try:
            options = {k: _tuples(v) for k, v in header["options"].items()}
            return cls(
                problem=layer.problem(options, header["sizes"]),
                values={k[6:]: a for k, a in arrays.items() if k.startswith("value/")},
                cotangents={k[10:]: a for k, a in arrays.items() if k.startswith("cotangent/")},
                dtype=header["dtype"],
                memory=header["memory"],
                kind=header["kind"],
                seed=header["seed"],
                at_kink=header["at_kink"],
                versions=header["versions"],
            )
        except (KeyError, AttributeError, TypeError) as error:
            raise CaseError(f"{path}: the header is incomplete: {error!r}") from None


def present(values: Values, dtype: str, memory: str) -> dict[str, Array]:
    """Copies of arrays in a dtype (real ones only) and a memory layout."""
    result = {}
    for name, array in values.items():
        fresh = np.array(array, dtype=dtype if array.dtype.kind == "f" else array.dtype, order="C")
        if memory == "strided":
            fresh = _strided(fresh)
        elif memory == "readonly":
            fresh.flags.writeable = False
        result[name] = fresh
    return result


def _strided(array: Array) -> Array:
    """Equal values behind negative and doubled strides: no two elements are neighbours."""
    if array.ndim == 0:
        return array
    roomy = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::-2]
    roomy[...] = array
    return roomy


def _frozen(values: Values) -> dict[str, Array]:
    """The same arrays if they are read-only already, else read-only copies."""
    result = {}
    for name, array in values.items():
        if array.flags.writeable:
            array = array.copy()
            array.flags.writeable = False
        result[name] = array
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _tuples(value: Any) -> Any:
    """JSON has no tuples; options such as ``stride=(2, 1)`` do."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
