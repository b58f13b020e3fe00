"""The plugin's options, from the command line or the ini file, read and checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from crosscheck.errors import CrosscheckError, MissingFramework, UsageError, unknown
from crosscheck.pytest_plugin import value
from crosscheck.versions import FRAMEWORKS, install_hint, installed, version

WITNESSES = (*FRAMEWORKS, "numeric")
DTYPES = ("float64", "float32")
DEVICES = ("cpu", "cuda")
FOLDER = ".crosscheck"


@dataclass(frozen=True)
class Settings:
    """How this run checks. What a test says itself comes first.

    Attributes:
        against: the witnesses to ask, None for all that are installed.
        dtypes: the dtypes to present the arrays in.
        seed: names every random draw.
        extra: further cases of random sizes per option combination.
        device: where the frameworks compute: ``cpu`` or ``cuda``.
        save: where failing cases go, None for nowhere.
    """

    against: tuple[str, ...] | None
    dtypes: tuple[str, ...]
    seed: int
    extra: int
    device: str
    save: Path | None

    @classmethod
    def read(cls, config: pytest.Config) -> Settings:
        """Read them.

        Raises:
            pytest.UsageError: a value makes no sense, or asks for a framework that is not there.
        """
        if _KEY not in config.stash:
            try:
                config.stash[_KEY] = cls._read(config)
            except CrosscheckError as error:
                raise pytest.UsageError(f"crosscheck: {error}") from None
        return config.stash[_KEY]

    @classmethod
    def _read(cls, config: pytest.Config) -> Settings:
        against = _words("witness", value(config, "against"), WITNESSES)
        for name in against:
            if name in FRAMEWORKS and not installed(name):
                raise MissingFramework(f"{name} is not installed: {install_hint(name)}")
        device = value(config, "device") or "cpu"
        if device not in DEVICES:
            raise unknown("device", device, DEVICES)
        folder = value(config, "save") or FOLDER
        return cls(
            against=against or None,
            dtypes=_words("dtype", value(config, "dtypes"), DTYPES) or DTYPES,
            seed=_number("seed", value(config, "seed")),
            extra=_number("cases", value(config, "cases")),
            device=device,
            save=None if folder.casefold() == "none" else config.rootpath / folder,
        )

    def describe(self) -> str:
        """One line: who is asked in which version, what is drawn, and where it is computed."""
        asked = [
            f"{name} {version(name)}" if installed(name) else f"{name} not installed"
            for name in FRAMEWORKS
            if self.against is None or name in self.against
        ]
        if self.against is None or "numeric" in self.against:
            asked.append("numeric differentiation")
        extra = f", {self.extra} random cases" if self.extra else ""
        return (
            f"{', '.join(asked)}; numpy {version('numpy')}; {', '.join(self.dtypes)}; "
            f"seed {self.seed}{extra}; device {self.device}"
        )


_KEY: pytest.StashKey[Settings] = pytest.StashKey()


def _words(kind: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for word in words:
        if word not in known:
            raise unknown(kind, word, known)
    return words


def _number(name: str, text: str) -> int:
    if text and not text.strip().isdecimal():
        raise UsageError(f"{name} {text!r}: expected a whole number, 0 or larger")
    return int(text or 0)
