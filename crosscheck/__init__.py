"""crosscheck: is a hand-written neural-network layer right?

    >>> import crosscheck
    >>> crosscheck.check("Linear").verdict          # doctest: +SKIP
    <Verdict.AGREE: 'agree'>

Importing this imports no framework, not even NumPy; that happens at the first check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosscheck.case import Case as Case
    from crosscheck.checking import check as check
    from crosscheck.comparison import Comparison as Comparison
    from crosscheck.comparison import Verdict as Verdict
    from crosscheck.differences import ledger as ledger
    from crosscheck.errors import CaseError as CaseError
    from crosscheck.errors import CrosscheckError as CrosscheckError
    from crosscheck.errors import Disagreement as Disagreement
    from crosscheck.errors import MissingFramework as MissingFramework
    from crosscheck.errors import UsageError as UsageError
    from crosscheck.families import catalogue as catalogue
    from crosscheck.finding import Finding as Finding
    from crosscheck.networks import network as network
    from crosscheck.report import Report as Report
    from crosscheck.spec import Layer as Layer
    from crosscheck.spec import Tensor as Tensor

__version__ = "0.1.0"

_HOMES = {
    "Case": "case",
    "CaseError": "errors",
    "Comparison": "comparison",
    "CrosscheckError": "errors",
    "Disagreement": "errors",
    "Finding": "finding",
    "Layer": "spec",
    "MissingFramework": "errors",
    "Report": "report",
    "Tensor": "spec",
    "UsageError": "errors",
    "Verdict": "comparison",
    "catalogue": "families",
    "check": "checking",
    "ledger": "differences",
    "network": "networks",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'crosscheck' has no attribute {name!r}")
    import importlib

    # The import also binds a submodule of the same name (crosscheck.check); the object wins.
    found = getattr(importlib.import_module(f"crosscheck.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
