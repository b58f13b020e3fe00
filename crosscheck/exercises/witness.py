"""The submission as a witness that gives what it can: a forward whose backward fails still counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crosscheck.evaluation import Bound, Evaluation, Implementation, ImplementationError
from crosscheck.spec import Array, Problem, Values


class Forgiving:
    """An implementation whose gradients are absent, with the reason, where its backward raises.

    Args:
        make: makes the implementation; called again when what it made has ended its process.
        seen_by: the problem as the submission is to see it.
        is_end: whether an error means that the process has ended.
    """

    def __init__(
        self,
        make: Callable[[], Implementation],
        seen_by: Callable[[Problem], Problem] = lambda problem: problem,
        is_end: Callable[[ImplementationError], bool] = lambda error: False,
    ) -> None:
        self.make = make
        self.seen_by = seen_by
        self.is_end = is_end
        self.inner = make()
        self.number = 0
        self.fatal: ImplementationError | None = None
        self.dead: ImplementationError | None = None

    @property
    def name(self) -> str:
        """That of the implementation."""
        return self.inner.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the implementation says of itself."""
        found: tuple[str, ...] = getattr(self.inner, "notes", ())
        return found

    def bind(self, problem: Problem) -> ForgivingBound:
        """Bound to the problem; see `Forgiving`."""
        bound = ForgivingBound(self, self.seen_by(problem))
        bound.current()  # what its constructor raises is known now
        return bound

    def renew(self) -> None:
        """Another process, for what can still be asked."""
        self.inner = self.make()
        self.number += 1


class ForgivingBound:
    """See `Forgiving`."""

    def __init__(self, owner: Forgiving, problem: Problem) -> None:
        self.owner = owner
        self.problem = problem
        self._bound: Bound | None = None
        self._number = -1
        self._partial = False

    def current(self) -> Bound:
        """The implementation bound to the problem, anew after its process was renewed."""
        if self.owner.dead is not None:
            raise self.owner.dead
        if self._bound is None or self._number != self.owner.number:
            self._bound = self.owner.inner.bind(self.problem)
            self._number = self.owner.number
        return self._bound

    def forward(self, values: Values) -> Mapping[str, Array]:
        """The forward pass; once it has ended the process it is not called again."""
        try:
            return self.current().forward(values)
        except ImplementationError as error:
            if self.owner.is_end(error):
                self.owner.dead = error
            raise

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Outputs, and gradients where there are any."""
        return self._evaluate("vjp", values, cotangents)

    def again(self, values: Values, cotangents: Values) -> Evaluation:
        """Likewise, on the object of the call before."""
        return self._evaluate("again", values, cotangents)

    def __getattr__(self, name: str) -> Any:
        # An answer that came in parts cannot be asked about again.
        if name.startswith("_") or self._partial:
            raise AttributeError(name)
        return getattr(self.current(), name)

    def _evaluate(self, how: str, values: Values, cotangents: Values) -> Evaluation:
        reason = self.owner.fatal
        self._partial = False
        if reason is None:
            try:
                bound = self.current()
                found: Evaluation = getattr(bound, how, bound.vjp)(values, cotangents)
                return found
            except ImplementationError as error:
                reason = error
                if self.owner.is_end(error):
                    self.owner.fatal = error
                    self.owner.renew()
        self._partial = True
        try:
            outputs = self.forward({name: array.copy() for name, array in values.items()})
        except ImplementationError:
            raise reason from None
        return Evaluation(outputs, {}, dict.fromkeys(self.problem.differentiable, str(reason)))
