"""The fixture's object: runs a check, keeps its result for the summary, fails or skips the test."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from crosscheck.case import Case
from crosscheck.checking import check, check_cases
from crosscheck.comparison import Verdict
from crosscheck.errors import CrosscheckError, Disagreement
from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.families import catalogue
from crosscheck.implementations import ORACLES
from crosscheck.implementations import subject as as_subject
from crosscheck.implementations.device import use
from crosscheck.pytest_plugin import CURRENT, RESULTS
from crosscheck.report import Report
from crosscheck.spec import Layer
from crosscheck.testing.failure import Failure
from crosscheck.testing.results import digest, nobody_checked, nobody_saw, properties
from crosscheck.testing.settings import Settings


class Checker:
    """What the fixture `crosscheck` is. One for all tests; each check belongs to the test that runs.

    Args:
        config: pytest's.
        trace: whether a failure shows where in the test the check stands.
    """

    def __init__(self, config: pytest.Config, trace: bool = True) -> None:
        self.config = config
        self.settings = Settings.read(config)
        self.trace = trace

    def __call__(
        self, layer: str | Layer | Case, implementation: Any = None, **arguments: Any
    ) -> Report:
        """`crosscheck.check`, or of one `Case`; what is not said is taken from the plugin's options.

        Raises:
            Disagreement: the witnesses disagree; the message is the report, with the saved case.
            pytest.fail.Exception: an argument makes no sense, or a framework asked for is missing.
            pytest.skip.Exception: nothing could confirm some quantity; with the reasons.
        """
        __tracebackhide__ = True
        try:
            with use(self.settings.device):
                report = self._run(layer, implementation, arguments)
        except NotOffered as missing:
            raise pytest.skip.Exception(str(missing)) from None
        except CrosscheckError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        if report is None:
            pytest.skip(f"none of the witnesses {', '.join(self.settings.against or ())} knows it")
        item = self.config.stash[CURRENT]
        item.stash.setdefault(RESULTS, []).append(digest(report, self.settings.describe()))
        if _in_hypothesis():  # of many examples the last one's, the smallest where it fails
            kept = [p for p in item.user_properties if not p[0].startswith("crosscheck")]
            item.user_properties[:] = kept
        item.user_properties += properties(report)
        if report.verdict is Verdict.DISAGREE:
            text = str(report)
            wrong: Any = (
                Disagreement(text) if self.trace else pytest.fail.Exception(text, pytrace=False)
            )
            wrong.failure = Failure(report, implementation, self.settings)
            raise wrong
        chosen = arguments.get("against") or self.settings.against
        reason = nobody_saw(report, chosen)
        if not reason and not _in_hypothesis():
            # One of many drawn examples does not skip them all: the summary counts it.
            reason = nobody_checked(report)
        if reason:
            pytest.skip(f"could not be checked: {reason}")
        return report

    def _run(
        self, given: str | Layer | Case, implementation: Any, arguments: dict[str, Any]
    ) -> Report | None:
        spec = given.problem.layer if isinstance(given, Case) else given
        spec = catalogue[spec] if isinstance(spec, str) else spec
        if "against" not in arguments and self.settings.against is not None:
            known = [name for name in self.settings.against if name not in _twinless(spec)]
            if not known:
                return None
            arguments = {**arguments, "against": known}
        if isinstance(given, Case):
            arguments = dict(arguments)
            subject = _kept(implementation, spec, arguments)
            if arguments.get("strict") and subject is not implementation:
                try:
                    subject.bind(given.problem)
                except ImplementationError:
                    pass  # the check says it better
            return check_cases(spec, [given], subject, **_of_case(arguments))
        settings = self.settings
        defaults = {"dtypes": settings.dtypes, "seed": settings.seed, "extra": settings.extra}
        return check(given, implementation, **{**defaults, **arguments})


def _in_hypothesis() -> bool:
    hypothesis = sys.modules.get("hypothesis")
    return hypothesis is not None and bool(hypothesis.currently_in_test_context())


def _twinless(spec: Any) -> tuple[str, ...]:
    if not isinstance(spec, Layer):
        return ()
    return tuple(name for name in ORACLES if getattr(spec, name) is None)


def _of_case(arguments: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("options", "sizes", "dtypes", "seed", "extra"):
        if name in arguments:
            from crosscheck.errors import UsageError

            raise UsageError(f"{name}: a case has its own; give a layer's name instead of a case")
    return dict(arguments)


#: The last subject that was wrapped: its compiled programs serve the other cases of its layer.
_last: list[Any] = []


def _kept(implementation: Any, spec: Layer, arguments: dict[str, Any]) -> Any:
    """The implementation behind the protocol, the same object as for the case before.

    What was wrapped has its convention; it is taken out of the arguments.
    """
    if isinstance(implementation, list | tuple):
        return implementation  # a network's layers
    convention = arguments.pop("convention", None)
    key = (implementation, spec, convention, bool(arguments.get("strict")))
    if not _last or any(a is not b for a, b in zip(_last[0], key, strict=True)):
        _last[:] = [key, as_subject(implementation, spec, convention, key[-1])]
    return _last[1]
