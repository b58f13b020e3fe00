"""Compiled programs of the catalogue's JAX twins, kept in a folder: the next run loads them.

JAX's own cache saves the compiler's time and still asks for each program's trace and lowering. What
is kept here is asked for by everything that the trace depends on instead: the source of this package,
the layer, its options and sizes, what it is given, the versions, the settings of JAX and XLA, and the
processor. So a twin whose source cannot be told by that, one that is not of the catalogue, is never
kept. A file that is missing, damaged or of no use here is compiled as if there were none.

Loading a program means to run it: the folder has to be one that nobody else writes to, as JAX's has.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from crosscheck.implementations.device import current, jax_device
from crosscheck.spec import Array, Layer, Problem
from crosscheck.versions import version

#: The folder, for this process and those it starts.
VARIABLE = "CROSSCHECK_KEPT_PROGRAMS"
MAGIC = b"crosscheck program 1\n"
#: What the twins are written with.
PACKAGES = ("numpy", "jax", "jaxlib", "optax", "flax", "equinox", "opt_einsum")

Call = Callable[..., Any]


def folder_for(layer: Layer) -> Path | None:
    """Where a layer's programs are kept; None where they are not."""
    from crosscheck.families import catalogue

    chosen = os.environ.get(VARIABLE)
    if not chosen or current() != "cpu" or catalogue.get(layer.name) is not layer:
        return None
    found = _circumstances()
    return None if found is None else Path(chosen) / found


class KeptProgram:
    """A jitted function of dictionaries of arrays, loaded where it was kept.

    Args:
        make: the jitted function, made where it is needed.
        folder: where its programs are kept.
        problem: what it was made for.
        what: tells it from the problem's other functions.
    """

    def __init__(self, make: Callable[[], Any], folder: Path, problem: Problem, what: str) -> None:
        self._make = make
        self._folder = folder
        self._problem = problem
        self._what = what
        self._programs: dict[tuple[Any, ...], Call] = {}

    def __call__(self, *arguments: Mapping[str, Array]) -> Any:
        """The same as of the jitted function, tuples as lists."""
        given = tuple(
            tuple((name, d[name].shape, d[name].dtype.str) for name in sorted(d)) for d in arguments
        )
        if given in self._programs:
            return self._programs[given](*arguments)
        told = repr((self._what, self._problem.key()[1:], given))
        digest = hashlib.sha256(told.encode()).hexdigest()[:32]
        path = self._folder / f"{self._problem.layer.name}-{digest}"
        try:
            program = _load(path.read_bytes())
            found = _run(program, arguments)
        except Exception:  # not there, damaged, or another jaxlib's ways
            program = self._compile(path, arguments)
            found = program(*arguments)
        self._programs[given] = program
        return found

    def _compile(self, path: Path, arguments: tuple[Mapping[str, Array], ...]) -> Call:
        """A program that is not there yet; kept, if it can be."""
        lowered = self._make().lower(*arguments)
        compiled: Call = lowered.compile()
        # What calls out of the program needs something in the process that loading does not do.
        # A full disk, a version of jax without such a method: it is not kept. Nor is what does not
        # run when it is loaded: a program that came out of jax's own cache lacks functions then.
        with suppress(Exception):
            if "custom_call" not in lowered.as_text():
                data = _dump(compiled)
                _run(_load(data), arguments)
                _write(path, data)
        return compiled


def _dump(compiled: Any) -> bytes:
    """A compiled program as bytes, with the names of what it returns. No pickle."""
    import jax

    tree = compiled.out_tree
    places = jax.tree_util.tree_unflatten(tree, range(tree.num_leaves))
    head = json.dumps({"places": places, "count": tree.num_leaves}).encode()
    return MAGIC + zlib.compress(head + b"\n" + compiled.runtime_executable().serialize(), 1)


def _load(data: bytes) -> Call:
    """The program.

    Raises:
        Exception: whatever is wrong with it.
    """
    import jax

    if not data.startswith(MAGIC):
        raise ValueError("no program")
    head, _, program = zlib.decompress(data[len(MAGIC) :]).partition(b"\n")
    described = json.loads(head)
    places, count = described["places"], described["count"]
    device = jax_device(current())
    executable = device.client.deserialize_executable(program, [device])

    def call(*arguments: Mapping[str, Array]) -> Any:
        given = jax.device_put([d[k] for d in arguments for k in sorted(d)], device)
        found = executable.execute_sharded(given).disassemble_into_single_device_arrays()
        if len(found) != count:
            raise ValueError("another number of outputs")
        return _placed(places, [array for (array,) in found])

    return call


def _run(program: Call, arguments: tuple[Mapping[str, Array], ...]) -> Any:
    """What a program answers, run to its end: what is wrong with it shows only then.

    Raises:
        Exception: whatever is wrong with it.
    """
    import jax

    return jax.block_until_ready(program(*arguments))


def _placed(places: Any, arrays: list[Any]) -> Any:
    """Arrays in the places of their numbers."""
    if isinstance(places, dict):
        return {name: _placed(place, arrays) for name, place in places.items()}
    if isinstance(places, list):
        return [_placed(place, arrays) for place in places]
    return arrays[places]


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: other processes may read and write the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as handle:
        handle.write(data)
    os.replace(handle.name, path)


@cache
def _circumstances() -> str | None:
    """A digest of everything that all programs depend on; None where the source is not there."""
    import jax

    package = Path(__file__).resolve().parents[1]
    sources = sorted(package.rglob("*.py"))
    if not sources:
        return None
    settings = {k: v for k, v in jax.config.values.items() if "cache" not in k}
    told = [
        *((str(path.relative_to(package)), path.read_bytes()) for path in sources),
        *((name, version(name)) for name in PACKAGES),
        ("python", platform.python_version()),
        ("settings", sorted(settings.items(), key=str)),
        ("XLA", os.environ.get("XLA_FLAGS"), jax_device("cpu").client.platform_version),
        ("processor", platform.machine(), platform.processor(), _instructions()),
    ]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:32]


def _instructions() -> str:
    """What the processor can do, where the system says so."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
