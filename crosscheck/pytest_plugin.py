"""The pytest plugin: the fixture ``crosscheck``. Imports neither NumPy nor a framework until a check runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from crosscheck.report import Report


@pytest.fixture(name="crosscheck")
def crosscheck_fixture(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """`crosscheck.check` that fails the test when the witnesses disagree::

        def test_linear(crosscheck):
            crosscheck("Linear", MyLinear)

    What could not be checked skips the test, with the reasons.
    """

    def check(layer: Any, implementation: Any = None, **arguments: Any) -> Report:
        __tracebackhide__ = True
        from crosscheck.checking import check as run
        from crosscheck.comparison import Verdict

        report = run(layer, implementation, **arguments)
        request.node.user_properties.append(
            ("crosscheck", f"{report.subject}: {report.verdict.value}")
        )
        report.require_agreement()
        if report.verdict is Verdict.UNCHECKED:
            reasons = "; ".join(
                f"{count}×: {reason}" for reason, count in report.unchecked().items()
            )
            pytest.skip(f"could not be checked: {reasons}")
        return report

    return check
