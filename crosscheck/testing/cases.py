"""``@pytest.mark.crosscheck``: one function becomes one test per case."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from crosscheck import sampling
from crosscheck.case import Case
from crosscheck.errors import CrosscheckError, UsageError
from crosscheck.families import catalogue
from crosscheck.pytest_plugin import HIDDEN
from crosscheck.spec import Layer
from crosscheck.testing.running import Checker
from crosscheck.testing.settings import Settings

#: What decides which cases there are, and what is passed on to each check.
DRAWN = ("options", "sizes", "dtypes", "seed", "extra")
ASKED = ("against", "convention", "every_element")


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a marked function its cases; their ids are those of the reports."""
    where = metafunc.definition.nodeid
    mark = _mark(metafunc.definition)
    if "case" in inspect.signature(metafunc.function).parameters:
        name = "case"
    else:
        name = HIDDEN
        metafunc.fixturenames.append(HIDDEN)
    try:
        layer, arguments = _read(mark)
        settings = Settings.read(metafunc.config)
        drawn: dict[str, Any] = {
            "dtypes": settings.dtypes,
            "seed": settings.seed,
            "extra": settings.extra,
        }
        drawn |= {k: v for k, v in arguments.items() if k in DRAWN}
        cases = [*sampling.cases(layer, **drawn)]
    except CrosscheckError as error:
        _refuse(where, str(error))
    metafunc.parametrize(name, cases, ids=[case.id for case in cases])


def call(item: pytest.Function) -> None:
    """Call a marked function; check on its case what it returns.

    A function that takes `case` may do as it likes and return nothing.
    """
    case = item.callspec.params.get("case", item.callspec.params.get(HIDDEN))
    names = item._fixtureinfo.argnames
    found = item.obj(**{name: item.funcargs[name] for name in names})
    if found is None:
        if "case" not in names:
            pytest.fail(
                f"{item.originalname} returned nothing: return the implementation to check, "
                "or take the argument `case`",
                pytrace=False,
            )
        return
    assert isinstance(case, Case)
    _, arguments = _read(_mark(item))
    asked: dict[str, Any] = {k: v for k, v in arguments.items() if k in ASKED}
    # Options that the mark names are what the implementation is written for.
    Checker(item.config, trace=False)(case, found, strict="options" not in arguments, **asked)


def _mark(node: pytest.Item | Any) -> pytest.Mark:
    mark = node.get_closest_marker("crosscheck")
    assert isinstance(mark, pytest.Mark)
    return mark


def _read(mark: pytest.Mark) -> tuple[Layer, Mapping[str, Any]]:
    if len(mark.args) != 1:
        raise UsageError(
            "the mark takes the layer, and options by keyword: "
            '@pytest.mark.crosscheck("Conv2d"); the function returns the implementation'
        )
    for name in mark.kwargs:
        if name not in (*DRAWN, *ASKED):
            from crosscheck.errors import unknown

            raise unknown("argument of the mark", name, (*DRAWN, *ASKED))
    layer = catalogue[mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0]
    if not isinstance(layer, Layer):
        raise UsageError(f"expected a layer's name or a crosscheck.Layer, got {layer!r}")
    return layer, mark.kwargs


def _refuse(where: str, message: str) -> NoReturn:
    __tracebackhide__ = True
    pytest.fail(f"{where}: {message}", pytrace=False)
