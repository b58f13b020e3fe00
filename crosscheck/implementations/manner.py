"""How one thing of somebody's code is found, built and called: plain data, so that it can cross to
another process as JSON and be used there beside the code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crosscheck.errors import UsageError, unknown
from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions import CONVENTIONS, Convention, Naming, declared
from crosscheck.implementations.numpy_layer import NumpyImplementation


@dataclass(frozen=True)
class Manner:
    """How a thing is called.

    Attributes:
        names: the name of a class or function; or of a forward and a backward function. A name may
            be several with ``|`` between them: the first that is there is taken.
        convention: the name of a built-in convention; ``""``: it is guessed.
        attributes, constructor: see `crosscheck.implementations.conventions.Naming`.
        scale, accumulates, transposed: see `crosscheck.implementations.conventions.declared`.
        source: a Python text whose function `convention` is the convention, instead of a built-in
            one: the teacher's own, not the submission's.
    """

    names: tuple[str, ...]
    convention: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    constructor: tuple[str | int, ...] | None = None
    scale: Mapping[str, str] = field(default_factory=dict)
    accumulates: bool = False
    transposed: tuple[str, ...] = ()
    source: str = ""

    @property
    def label(self) -> str:
        """What reports call it."""
        return " and ".join(name.partition("|")[0] for name in self.names)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Manner:
        """Back from `to_json`."""
        data = json.loads(text)
        for name in ("names", "transposed", "constructor"):
            data[name] = None if data[name] is None else tuple(data[name])
        return cls(**data)

    def find(self, namespace: Mapping[str, Any]) -> Any:
        """The thing in a module's namespace: a class, a function, or a pair of functions.

        Raises:
            ImplementationError: it is not there; the message names the nearest that is.
        """
        found = [self._one(namespace, name) for name in self.names]
        return found[0] if len(found) == 1 else tuple(found)

    def _one(self, namespace: Mapping[str, Any], names: str) -> Any:
        for name in names.split("|"):
            if name in namespace:
                return namespace[name]
        have = [k for k, v in namespace.items() if callable(v) and not k.startswith("_")]
        wanted = names.partition("|")[0]
        hint = str(unknown("name", wanted, have)).partition(": ")[2]
        raise ImplementationError(f"nothing is called {wanted!r}: {hint}")

    def implementation(self, namespace: Mapping[str, Any]) -> NumpyImplementation:
        """The thing behind the protocol.

        Raises:
            ImplementationError: it is not there.
            UsageError: there is no such convention.
        """
        return self.wrap(self.find(namespace))

    def wrap(self, subject: Any, strict: bool = False) -> NumpyImplementation:
        """What was found, behind the protocol. See `implementation`."""
        naming = Naming(self.attributes, self.constructor)
        scaled = bool(self.scale or self.accumulates or self.transposed)
        return NumpyImplementation(
            subject,
            self._convention(),
            self.label,
            strict,
            naming=naming,
            around=self._declared if scaled else None,
        )

    def _convention(self) -> Convention | str | None:
        if not self.source:
            if self.convention and self.convention not in CONVENTIONS:
                raise unknown("convention", self.convention, CONVENTIONS)
            return self.convention or None
        own: dict[str, Any] = {"__name__": "own_convention"}
        exec(compile(self.source, "<convention>", "exec"), own)
        if not callable(own.get(self.convention)):
            raise UsageError(f"the file of the convention has no function {self.convention!r}")
        found: Convention = own[self.convention]
        return found

    def _declared(self, convention: Convention) -> Convention:
        return declared(
            convention,
            scale=self.scale,
            accumulates=self.accumulates,
            transposed=self.transposed,
        )
