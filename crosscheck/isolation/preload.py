"""What a submission can import: loaded before it runs, because a worker can read no file."""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

#: The standard library, as far as code that computes with arrays has a use for it.
STANDARD = """
abc argparse array ast base64 bisect builtins calendar cmath collections collections.abc colorsys
contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib enum errno fractions
functools gc getpass glob gzip hashlib heapq html inspect io itertools json keyword linecache locale
logging math numbers operator os os.path pathlib pickle platform pprint queue random re reprlib
secrets shutil signal statistics string struct sys tempfile textwrap threading time timeit tokenize
traceback types typing unittest unittest.mock uuid warnings weakref zipfile zlib __future__
concurrent.futures encodings.ascii encodings.latin_1 encodings.utf_8 encodings.utf_8_sig
encodings.utf_16 encodings.cp1252 encodings.idna encodings.unicode_escape
encodings.raw_unicode_escape _strptime
""".split()
NUMPY = """
numpy numpy.fft numpy.lib.recfunctions numpy.lib.stride_tricks numpy.linalg numpy.ma numpy.matlib
numpy.polynomial numpy.random numpy.testing numpy.typing
""".split()

#: Never loaded, whatever an exercise allows: they differentiate, are the answer, or reach past Python.
REFUSED = frozenset(
    """
    torch jax jaxlib tensorflow keras autograd reference_nn crosscheck
    ctypes cffi socket subprocess multiprocessing mmap ssl
    """.split()
)


def preload(extra: Iterable[str] = ()) -> list[str]:
    """Import all of it; returns the names out of `extra` that are not installed."""
    import warnings

    missing = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (*STANDARD, *NUMPY, *(n for n in extra if n.split(".")[0] not in REFUSED)):
            try:
                importlib.import_module(name)
            except ImportError:
                if name in extra:
                    missing.append(name)
    return missing


class Nothing(importlib.abc.MetaPathFinder):
    """Ends every search for a module with a sentence that says what there is."""

    def __init__(self, extra: Sequence[str] = ()) -> None:
        self.there = ", ".join(
            ["NumPy", *extra, "the standard library's mathematics and containers"]
        )

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        """Never anything."""
        text = f"no module {name!r} here: a submission can import {self.there}"
        raise ModuleNotFoundError(text, name=name)


def close_doors(extra: Sequence[str] = ()) -> None:
    """From now on only what is loaded can be imported; and of that, not what reaches past Python."""
    for name in [*sys.modules]:
        if name.split(".")[0].lstrip("_") in REFUSED - {"crosscheck"}:
            del sys.modules[name]
    sys.path[:] = []
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [Nothing(extra)]
