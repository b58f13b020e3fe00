"""The panel: all witnesses of a check, their answers to a case, and the comparisons of every pair.

An oracle's answers and the rounding measured on them belong to a case's values, whatever dtype or memory
layout these are presented in; they are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from crosscheck.case import Case
from crosscheck.comparison import (
    Comparison,
    Kind,
    Outcome,
    Verdict,
    compare_arrays,
    not_vacuous,
)
from crosscheck.differences import Difference
from crosscheck.evaluation import (
    Bound,
    Evaluation,
    Implementation,
    ImplementationError,
    first_line,
)
from crosscheck.exception import of_an_exception
from crosscheck.implementations.remembered import measured
from crosscheck.known import known_differences
from crosscheck.numeric import Numeric
from crosscheck.spec import Array, Values
from crosscheck.tolerance import Rounding, quantities

Answer = Evaluation | ImplementationError


@dataclass(frozen=True)
class Panel:
    """Who is asked.

    Attributes:
        subject: the implementation under test.
        oracles: name → trusted implementation.
        numeric: whether the subject's forward is differentiated numerically.
        fallback: reference_nn's layer, where it is not the subject: measured for its rounding where
            there is no oracle, and asked what the ledger's other framework would say.
        every_element: differentiate element by element instead of along random directions.
        differences: the ledger's entries for the layer.
    """

    subject: Implementation
    oracles: Mapping[str, Implementation]
    numeric: bool = True
    fallback: Implementation | None = None
    every_element: bool = False
    differences: Sequence[Difference] = ()

    def hear(self, case: Case) -> Hearing:
        """Everything about a case's values that does not depend on dtype or memory.

        Raises:
            NotOffered: the subject lacks an option.
            ImplementationError: the subject cannot be constructed.
        """
        return Hearing(self, case, self.subject.bind(case.problem))


class Hearing:
    """The panel's answers about one set of values."""

    def __init__(self, panel: Panel, case: Case, subject: Bound) -> None:
        self.panel = panel
        self.case = case
        self.subject = subject
        self._answers: dict[tuple[str, str], Answer] = {}
        self.bound: dict[str, Bound | ImplementationError] = {}
        for name, oracle in panel.oracles.items():
            try:
                self.bound[name] = oracle.bind(case.problem)
            except ImplementationError as error:
                self.bound[name] = error
        self.rounding = self._measure()  # and the oracles' answers, where they come with it
        self.numeric = Numeric(
            subject, panel.subject.name, (*panel.oracles,), case, self.rounding, panel.every_element
        )

    def _measure(self) -> Rounding:
        oracles = {k: b for k, b in self.bound.items() if not isinstance(b, ImplementationError)}
        found = self._rounding_of(oracles)
        if found.size:
            return found
        # No oracle answers: reference_nn's layer is measured, or for want of it the subject.
        fallback = self.panel.fallback
        return self._rounding_of(
            {fallback.name: fallback.bind(self.case.problem)}
            if fallback is not None
            else {self.panel.subject.name: self.subject}
        )

    def _rounding_of(self, witnesses: Mapping[str, Bound]) -> Rounding:
        rounding, answers = measured(witnesses, self.panel.oracles, self.case)
        self._answers |= {k: a for k, a in answers.items() if k[0] in self.bound}
        return rounding

    def oracle_answer(self, name: str, dtype: str) -> Answer:
        """An oracle's evaluation in a dtype, or what it raised."""
        key = (name, dtype)
        if key not in self._answers:
            bound = self.bound[name]
            if isinstance(bound, ImplementationError):
                self._answers[key] = bound
            else:
                arrays = self.case.arrays(dtype, "plain"), self.case.upstream(dtype, "plain")
                self._answers[key] = _ask(bound, *arrays)
        return self._answers[key]

    @property
    def kink(self) -> bool:
        """Whether a probe found the drawn point too close to a kink."""
        asked = self.panel.numeric and not self.case.at_kink and not self.panel.every_element
        return asked and self.numeric.kink

    def compare(self, case: Case) -> list[Comparison]:
        """All pairs on one presentation (dtype, memory) of the values."""
        name = self.panel.subject.name
        answers: dict[str, Answer] = {
            name: _ask(self.subject, case.arrays(), case.upstream()),
            **{oracle: self.oracle_answer(oracle, case.dtype) for oracle in self.bound},
        }
        mine = answers[name]
        if isinstance(mine, ImplementationError):
            return of_an_exception(name, self.subject, case, mine, answers)
        found = [*self._pairs(case, answers)]
        if self.panel.numeric and not case.at_kink and case.problem.differentiable:
            heard = {k: a for k, a in answers.items() if isinstance(a, Evaluation)}
            found += self.numeric.compare(case, heard)
        return known_differences(self.panel, case, found, mine, self.rounding)

    def _pairs(self, case: Case, answers: Mapping[str, Answer]) -> Iterator[Comparison]:
        problem, mine = case.problem, answers[self.panel.subject.name]
        given = mine.outputs if isinstance(mine, Evaluation) else {}
        wanted = [
            *problem.outputs,
            *(n for n, t in problem.buffers.items() if n in given or not t.optional),
            *(f"grad_{n}" for n in problem.differentiable),
        ]
        for quantity in wanted:
            tolerance = self.rounding.tolerance(quantity, case.dtype)
            for left, right in combinations(answers, 2):
                yield self._pair(
                    case, quantity, (left, answers[left]), (right, answers[right]), tolerance
                )
        if len(answers) == 1:  # no oracle: at least the declared shapes and dtypes
            yield from self._declared(case, answers)

    def _pair(
        self,
        case: Case,
        quantity: str,
        left: tuple[str, Answer],
        right: tuple[str, Answer],
        tolerance: float,
    ) -> Comparison:
        def made(
            outcome: Outcome, got: Array | None = None, expected: Array | None = None
        ) -> Comparison:
            keep = outcome.verdict is Verdict.DISAGREE
            return Comparison(
                case,
                quantity,
                left[0],
                right[0],
                outcome,
                norm=self.rounding.norm(quantity, expected),
                got=got if keep else None,
                expected=expected if keep else None,
            )

        for who, answer in (left, right):
            if isinstance(answer, ImplementationError):
                return made(
                    Outcome(Verdict.UNCHECKED, reason=f"{who} refuses: {first_line(answer)}")
                )
        assert isinstance(left[1], Evaluation) and isinstance(right[1], Evaluation)
        arrays = [_array(answer, quantity) for answer in (left[1], right[1])]
        for who, evaluation, array in zip(
            (left[0], right[0]), (left[1], right[1]), arrays, strict=True
        ):
            if array is None:
                reason = evaluation.absent.get(
                    quantity.removeprefix("grad_"), f"{who} gives no {quantity}"
                )
                missing = who == self.panel.subject.name and quantity not in case.problem.buffers
                verdict = Verdict.DISAGREE if missing else Verdict.UNCHECKED
                return made(Outcome(verdict, kind=Kind.MISSING if missing else None, reason=reason))
        got, expected = arrays
        assert got is not None and expected is not None
        outcome = compare_arrays(got, expected, tolerance)
        return made(not_vacuous(outcome, quantity, self.rounding), got, expected)

    def _declared(self, case: Case, answers: Mapping[str, Answer]) -> Iterator[Comparison]:
        shapes = case.problem.shapes()
        for name, answer in answers.items():
            assert isinstance(answer, Evaluation)
            for quantity, array in quantities(answer).items():
                wanted = shapes[quantity.removeprefix("grad_")]
                if array.shape != wanted:
                    reason = f"shape {array.shape}, should be {wanted}"
                    kind = Kind.SHAPE
                elif array.dtype.kind == "f" and array.dtype != case.dtype:
                    reason, kind = f"dtype {array.dtype}, should be {case.dtype}", Kind.DTYPE
                else:
                    continue
                outcome = Outcome(Verdict.DISAGREE, kind=kind, reason=reason)
                yield Comparison(case, quantity, name, "itself", outcome, got=array)


def _ask(bound: Bound, values: Values, cotangents: Values) -> Answer:
    try:
        return bound.vjp(values, cotangents)
    except ImplementationError as error:
        return error


def _array(answer: Evaluation, quantity: str) -> Array | None:
    """One of `quantities`, without naming the others."""
    name = quantity.removeprefix("grad_")
    return answer.outputs.get(quantity) if name == quantity else answer.gradients.get(name)
