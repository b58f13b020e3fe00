"""The source of somebody's class or function with what it needs, to be put into a script.

What the object's code names is followed: modules and names of installed packages become imports,
plain constants become assignments, and classes and functions of the author's own files are taken
over, those that they name included.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class NoSource(Exception):
    """The source cannot be written down by itself; the message says why."""


class Source:
    """Definitions gathered so far, in an order in which they can run."""

    def __init__(self) -> None:
        self.imports: dict[str, None] = {}
        self.definitions: list[str] = []
        self._known: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Make `name` mean `value` in the script.

        Raises:
            NoSource: there is no source, or the name already means something else.
        """
        if name in self._known:
            if self._known[name] is not value:
                raise NoSource(f"two things are called {name}")
            return
        self._known[name] = value
        if isinstance(value, ModuleType):
            self.imports[_import(value.__name__, name)] = None
        elif _plain(value):
            self.definitions.append(f"{name} = {value!r}")
        elif isinstance(value, np.ndarray) and value.size <= 64 and value.dtype.kind in "fib":
            literal = f"np.array({value.tolist()!r}, dtype={value.dtype.name!r})"
            self.imports["import numpy as np"] = None
            self.definitions.append(f"{name} = {literal}")
        elif type(value).__name__ == "custom_vjp" and hasattr(value, "fun"):
            self._custom_vjp(name, value)
        elif hasattr(value, "__module__") and _foreign(value.__module__):
            self._import_from(name, value)
        elif inspect.isclass(value) or inspect.isfunction(value):
            self._definition(name, value)
        else:
            raise NoSource(f"{name} is {type(value).__name__}, which cannot be written down")

    def text(self) -> tuple[str, str]:
        """Import lines, and the definitions; for a file with ``from __future__ import annotations``."""
        return "\n".join(sorted(self.imports)), "\n\n\n".join(self.definitions)

    def _import_from(self, name: str, value: Any) -> None:
        own = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        module = sys.modules.get(value.__module__)
        if getattr(module, own, None) is not value:
            raise NoSource(f"{name} of {value.__module__} cannot be imported by name")
        line = f"from {value.__module__} import {own}"
        self.imports[line if own == name else f"{line} as {name}"] = None

    def _definition(self, name: str, value: Any) -> None:
        own = value.__name__
        try:
            text = textwrap.dedent(inspect.getsource(value)).rstrip()
            tree = ast.parse(text)
        except (OSError, TypeError, SyntaxError) as error:
            raise NoSource(f"no source of {own}: {error}") from None
        if own == "<lambda>" or not isinstance(
            tree.body[0], ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            raise NoSource(f"{name} is a lambda")
        known = _names_around(value)
        for used in _free_names(tree):
            if used not in known or used in (own, "__class__"):
                continue
            if isinstance(known[used], ModuleType) and not _foreign(known[used].__name__):
                self._own_module(used, known[used], tree)
            else:
                self.add(used, known[used])
        text = _without_docstrings(text, tree)
        self.definitions.append(text if own == name else f"{text}\n\n\n{name} = {own}")

    def _own_module(self, name: str, module: ModuleType, tree: ast.Module) -> None:
        """A module of the author's own: what the code takes from it, behind the same name."""
        if self._known.setdefault(name, module) is not module:
            raise NoSource(f"two things are called {name}")
        self.imports["from types import SimpleNamespace"] = None
        start = f"{name} = SimpleNamespace()"
        if start not in self.definitions:
            self.definitions.append(start)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                line = f"{name}.{node.attr} = {node.attr}"
                if node.value.id == name and line not in self.definitions:
                    self.add(node.attr, getattr(module, node.attr))
                    self.definitions.append(line)

    def _custom_vjp(self, name: str, value: Any) -> None:
        self._known[value.fun.__name__] = value
        self._definition(value.fun.__name__, value.fun)
        for function in (value.fwd, value.bwd):
            if function is None or function.__name__ == "<lambda>":
                raise NoSource(f"a rule of {name} is a lambda")
            self.add(function.__name__, function)
        self.definitions.append(
            f"{value.fun.__name__}.defvjp({value.fwd.__name__}, {value.bwd.__name__})"
        )
        if name != value.fun.__name__:
            self.definitions.append(f"{name} = {value.fun.__name__}")


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _import(module: str, name: str) -> str:
    top, _, last = module.rpartition(".")
    if module == name:
        return f"import {module}"
    return f"from {top} import {last}" if last == name else f"import {module} as {name}"


def _foreign(module: str) -> bool:
    """Whether a module is installed or of the standard library, and not the author's own."""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return True
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None:
        return False
    places = {sysconfig.get_paths()[key] for key in ("purelib", "platlib")}
    if module.partition(".")[0] in ("crosscheck", "reference_nn"):
        return False  # a script has to run without them, wherever they are
    return any(Path(path).is_relative_to(place) for place in places)


def _without_docstrings(text: str, tree: ast.Module) -> str:
    """The same code, shorter: what it computes is in the script, why it does is where it came from."""
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and len(node.body) > 1:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                for number in range(first.lineno - 1, first.end_lineno or first.lineno):
                    lines[number] = "\0"
    kept = [line for line in lines if line != "\0"]
    return re.sub(r"\n\n\n+", "\n\n", "\n".join(kept))


def _free_names(tree: ast.Module) -> Iterator[str]:
    """Names that are read when the code runs; annotations are not, see `Source.text`."""
    annotations: set[ast.AST] = set()
    for node in ast.walk(tree):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.AST):
                annotations |= set(ast.walk(part))
    seen = dict.fromkeys(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in annotations
    )
    return (name for name in seen if not hasattr(builtins, name))


def _names_around(value: Any) -> Mapping[str, Any]:
    """What names mean where an object was defined: its module's, its closure's, its bases'."""
    found: dict[str, Any] = dict(vars(sys.modules.get(value.__module__, builtins)))
    functions = [value] if inspect.isfunction(value) else []
    if inspect.isclass(value):
        found |= {base.__name__: base for base in value.__bases__}
        raw = [getattr(member, "__func__", member) for member in vars(value).values()]
        functions += [member for member in raw if inspect.isfunction(member)]
    for function in functions:
        found |= function.__globals__
        found |= inspect.getclosurevars(function).nonlocals
    return found
