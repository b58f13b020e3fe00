"""The pytest plugin's entry: options, the marker, the fixture, and hooks that hand over at once.

Loading this imports neither NumPy nor a framework, and of crosscheck nothing else: what runs when
a test is checked lives in `crosscheck.testing`. See docs/pytest.md.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from crosscheck.report import Report

#: Option → (metavar, help). Each is ``--crosscheck-NAME`` and the ini value ``crosscheck_NAME``.
OPTIONS = {
    "against": ("NAME[,NAME…]", "Witnesses to ask: torch, jax, numeric. Default: all there are."),
    "dtypes": ("DTYPE[,DTYPE]", "float64, float32 or both. Default: both."),
    "seed": ("N", "Names every random draw. Default: 0."),
    "cases": ("N", "Further cases of random sizes, per option combination. Default: 0."),
    "device": ("cpu|cuda", "Where PyTorch and JAX compute. Default: cpu."),
    "save": ("DIR", "Where failing cases and their scripts go; 'none': nowhere. "
             "Default: .crosscheck in the root directory."),
}  # fmt: skip

MARKER = (
    "crosscheck(layer, *, against, options, sizes, dtypes, seed, convention, extra, every_element): "
    "one test per case of the layer; the function returns the implementation to check, or takes "
    "the argument `case`."
)

#: The test that runs now; and on an item, the results of its checks.
CURRENT: pytest.StashKey[pytest.Item] = pytest.StashKey()
RESULTS: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
#: The argument through which a marked function without `case` is parametrized.
HIDDEN = "_crosscheck_case"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--crosscheck-…`` and ``crosscheck_…``."""
    group = parser.getgroup("crosscheck", "crosscheck (hand-written layers)")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(f"--crosscheck-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"crosscheck_{name}", text, default="")


def pytest_configure(config: pytest.Config) -> None:
    """The marker; and options that make no sense are refused before anything runs."""
    config.addinivalue_line("markers", MARKER)
    if any(value(config, name) for name in OPTIONS):
        from crosscheck.testing.settings import Settings

        Settings.read(config)


def value(config: pytest.Config, name: str) -> str:
    """An option's text: the command line's, else the ini file's, else nothing."""
    given = config.getoption(f"crosscheck_{name}", None)
    return str(config.getini(f"crosscheck_{name}") if given is None else given)


@pytest.fixture(name="crosscheck", scope="session")
def crosscheck_fixture(pytestconfig: pytest.Config) -> Callable[..., Report]:
    """Check a layer; the test fails when the witnesses disagree::

        def test_linear(crosscheck):
            crosscheck("Linear", MyLinear)

    It takes what `crosscheck.check` takes, or a `Case` instead of the layer, and returns the report.
    What could not be checked skips the test, with the reasons.
    """

    def crosscheck(layer: Any, implementation: Any = None, **arguments: Any) -> Report:
        __tracebackhide__ = True
        from crosscheck.testing.running import Checker

        return Checker(pytestconfig)(layer, implementation, **arguments)

    return crosscheck


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case of a marked function."""
    if metafunc.definition.get_closest_marker("crosscheck"):
        from crosscheck.testing.cases import parametrize

        parametrize(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """A Hypothesis test that uses the fixture gets no deadline, unless it has settings of its own.

    The first check of a shape compiles it, the next does not: no deadline fits both.
    """
    for item in items:
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)
        if getattr(function, "is_hypothesis_test", False) and "crosscheck" in getattr(
            item, "fixturenames", ()
        ):
            from hypothesis import settings
            from hypothesis.errors import InvalidArgument

            try:
                settings(deadline=None)(function)
            except InvalidArgument:  # settings of its own
                pass


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember which test runs: the fixture serves all of them."""
    item.config.stash[CURRENT] = item
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A marked function returns what is to be checked on its case."""
    if pyfuncitem.get_closest_marker("crosscheck") is None:
        return None
    from crosscheck.testing.cases import call

    call(pyfuncitem)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save a failing case before its text is made; attach the results as plain data."""
    if call.excinfo is not None and hasattr(call.excinfo.value, "failure"):
        from crosscheck.testing.failure import complete

        complete(item, call.excinfo.value)
    report = yield
    if call.when == "call" and RESULTS in item.stash:
        report.crosscheck = item.stash[RESULTS]  # type: ignore[attr-defined]
        item.stash[RESULTS] = []
    return report


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> list[str]:
    """Versions, dtypes, seed and device, if anything here is checked."""
    if not any(
        "crosscheck" in getattr(item, "fixturenames", ()) or item.get_closest_marker("crosscheck")
        for item in items
    ):
        return []
    from crosscheck.testing.settings import Settings

    return [f"crosscheck: {Settings.read(config).describe()}"]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was checked against what, what could not be, the limits and the closest call."""
    results = [
        result
        for reports in terminalreporter.stats.values()
        for report in reports
        for result in getattr(report, "crosscheck", ())
    ]
    if results:
        from crosscheck.testing.summary import write

        write(terminalreporter, config, results)
