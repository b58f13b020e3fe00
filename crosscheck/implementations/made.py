"""An implementation that is made for each problem, by a function of the problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crosscheck.evaluation import Bound, Implementation, ImplementationError, NotOffered
from crosscheck.spec import Problem


class Made:
    """An implementation that a function makes for each problem: ``lambda problem: MyModule(…)``.

    Args:
        make: from the `Problem` to anything that can be a subject.
        wrap: puts what was made behind the protocol.
    """

    def __init__(
        self, make: Callable[[Problem], Any], wrap: Callable[[Any], Implementation]
    ) -> None:
        self.make = make
        self.wrap = wrap
        self._bound: dict[Any, Bound] = {}

    @property
    def name(self) -> str:
        """What reports call it."""
        name = getattr(self.make, "__name__", "")
        return name if name.isidentifier() else "implementation"

    def bind(self, problem: Problem) -> Bound:
        """Make it, once per problem.

        Raises:
            ImplementationError: the function raised.
        """
        key = problem.key()
        if key not in self._bound:
            try:
                made = self.make(problem)
            except (NotOffered, ImplementationError):
                raise
            except Exception as error:
                raise ImplementationError.during(self.name, error) from error
            self._bound[key] = self.wrap(made).bind(problem)
        return self._bound[key]
