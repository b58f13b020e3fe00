"""The panel: all witnesses of a check, their answers to a case, and the comparisons of every pair.

An oracle's answers, the rounding measured on them and the numeric derivative belong to a case's
values, whatever dtype or memory layout these are presented in; they are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from crosscheck.case import Case
from crosscheck.comparison import (
    NUMERIC,
    Comparison,
    Kind,
    Outcome,
    Verdict,
    compare_arrays,
    compare_numbers,
)
from crosscheck.derivative import (
    Probe,
    Status,
    differentiate,
    every_element,
    narrow,
    treats_samples_alone,
)
from crosscheck.differences import Difference
from crosscheck.evaluation import Bound, Evaluation, Implementation, ImplementationError
from crosscheck.exception import of_an_exception
from crosscheck.implementations.remembered import measured
from crosscheck.known import known_differences
from crosscheck.sampling import generator
from crosscheck.spec import Array, Values
from crosscheck.tolerance import UNIT_ROUNDOFF, Rounding, quantities

Answer = Evaluation | ImplementationError
#: What is said of a derivative that float32 makes coarse.
SINGLE = "the forward computes in float32 whatever it is given: its derivative is coarse"


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
        self._probes: tuple[Probe, ...] | None = None

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

    def probes(self) -> tuple[Probe, ...]:
        """The numeric derivatives of the subject's forward, in float64."""
        if self._probes is None:
            self._probes = self._differentiate(self.case.problem.differentiable)
        return self._probes

    def _differentiate(self, names: Sequence[str], *look: str) -> tuple[Probe, ...]:
        words = (self.case.problem.label(), self.case.kind, "probe", *look, *names)
        rng = generator(self.case.seed or 0, *words)
        return differentiate(
            self._forward,
            self.case.values,
            tuple(names),
            self.case.upstream("float64", "plain"),
            rng,
        )

    def _forward(self, values: Values) -> Mapping[str, Array]:
        """The subject's forward for the numeric witness: outputs that its cotangents fit.

        Raises:
            ImplementationError: an output of another shape, which would broadcast or not.
        """
        found = self.subject.forward(values)
        for name, cotangent in self.case.cotangents.items():
            if name in found and found[name].shape != cotangent.shape:
                raise ImplementationError(
                    f"{name} has shape {found[name].shape}, should be {cotangent.shape}"
                )
        # Truth values cannot be subtracted, and differences of uint8 wrap.
        return {k: a if a.dtype.kind in "fc" else a.astype(np.float64) for k, a in found.items()}

    @property
    def kink(self) -> bool:
        """Whether a probe found the drawn point too close to a kink."""
        return (
            self.panel.numeric
            and not self.case.at_kink
            and not self.panel.every_element
            and any(probe.status is Status.KINK for probe in self._try_probes())
        )

    def _try_probes(self) -> tuple[Probe, ...]:
        try:
            return self.probes()
        except ImplementationError:
            return ()

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
            found += self._numeric(case, heard)
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
                    Outcome(Verdict.UNCHECKED, reason=f"{who} refuses: {_first_line(answer)}")
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
        return made(self._not_vacuous(quantity, outcome), got, expected)

    def _not_vacuous(self, quantity: str, outcome: Outcome) -> Outcome:
        if outcome.verdict is Verdict.AGREE and outcome.limit is not None:
            if self.rounding.vacuous(quantity, outcome.limit):
                reason = (
                    f"too coarse: an error of {outcome.limit:.1e} could hide in values of "
                    f"{self.rounding.size.get(quantity, 0.0):.1e}"
                )
                return replace(outcome, verdict=Verdict.UNCHECKED, kind=Kind.COARSE, reason=reason)
        return outcome

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

    # --- the numeric witness ---------------------------------------------------------------

    def _numeric(self, case: Case, answers: Mapping[str, Evaluation]) -> Iterator[Comparison]:
        if self.panel.every_element:
            yield from self._elements(case, answers)
            return
        subject = self.panel.subject.name
        try:
            probes = self.probes()
        except ImplementationError as error:
            reason = f"no numeric derivative of this forward: {_first_line(error)}"
            outcome = Outcome(Verdict.UNCHECKED, reason=reason)
            for name in case.problem.differentiable:
                yield Comparison(case, f"grad_{name}", subject, NUMERIC, outcome)
            return
        noisy = next((p.reason for p in probes if p.status is Status.NOISY), None)
        if noisy is not None:
            outcome = Outcome(Verdict.DISAGREE, kind=Kind.RANDOM, reason=noisy)
            yield Comparison(
                case, case.problem.differentiable_outputs[0], subject, NUMERIC, outcome
            )
        for probe in probes:
            found = [*self._by_probe(case, probe, answers)]
            mine = [c.verdict for c in found if c.left == subject]
            heard = [(probe, found)]
            if len(probe.direction) > 1 and any(v is not Verdict.AGREE for v in mine):
                # A probe of several names failed: ask for each name which of them it was.
                singles = [s for name in probe.direction for s in self._differentiate([name])]
                heard = [(s, [*self._by_probe(case, s, answers)]) for s in singles]
            for asked, said in heard:
                wrong = any(c.verdict is Verdict.DISAGREE for c in said)
                if wrong and self._all_agree(case, asked, answers):
                    # Nobody but the estimate differs: it is asked once more, along other directions.
                    for again in self._differentiate([*asked.direction], "again"):
                        yield from self._by_probe(case, again, answers)
                else:
                    yield from said

    def _all_agree(self, case: Case, probe: Probe, answers: Mapping[str, Evaluation]) -> bool:
        """Whether there are oracles, and the subject's gradients along a probe agree with theirs."""
        mine = answers[self.panel.subject.name].gradients
        others = [answers[name].gradients for name in answers if name in self.panel.oracles]
        for name in probe.direction:
            tolerance = self.rounding.tolerance(f"grad_{name}", case.dtype)
            for other in others:
                if name not in mine or name not in other:
                    return False
                outcome = compare_arrays(mine[name], other[name], tolerance)
                if outcome.verdict is not Verdict.AGREE:
                    return False
        return bool(others)

    def _by_probe(
        self, case: Case, probe: Probe, answers: Mapping[str, Evaluation]
    ) -> Iterator[Comparison]:
        for witness, evaluation in answers.items():
            outcome = self._along(case, probe, evaluation)
            for name, direction in probe.direction.items():
                quantity = f"grad_{name}"
                gradient = evaluation.gradients.get(name)
                if gradient is None:
                    reason = evaluation.absent.get(name, f"{witness} gives no {quantity}")
                    single = Outcome(Verdict.UNCHECKED, reason=reason)
                    if witness == self.panel.subject.name:  # whoever else is there to say so
                        single = Outcome(Verdict.DISAGREE, kind=Kind.MISSING, reason=reason)
                elif gradient.shape != direction.shape:
                    single = Outcome(
                        Verdict.DISAGREE,
                        kind=Kind.SHAPE,
                        reason=f"shape {gradient.shape}, should be {direction.shape}",
                    )
                elif outcome is None:
                    single = Outcome(
                        Verdict.UNCHECKED, reason="another gradient of the probe is missing"
                    )
                else:
                    single = self._of_element(quantity, outcome, direction)
                    if probe.status is Status.LOW_PRECISION and probe.reason is None:
                        single = replace(single, kind=Kind.LOW_PRECISION, reason=SINGLE)
                expected = None
                if len(answers) == len(probe.direction) == 1 and single.kind is Kind.VALUE:
                    single, expected = self._narrow(case, name, single, evaluation.gradients[name])
                yield Comparison(
                    case, quantity, witness, NUMERIC, single,
                    self.rounding.norm(quantity, gradient),
                    got=None if expected is None else gradient, expected=expected,
                )  # fmt: skip

    def _narrow(
        self, case: Case, name: str, outcome: Outcome, gradient: Array
    ) -> tuple[Outcome, Array | None]:
        """Nobody else can say which elements are wrong: ask the derivative, where and what it is."""
        if (case.dtype, case.memory) != ("float64", "plain"):
            return outcome, None
        rng = generator(case.seed or 0, case.problem.label(), case.kind, "narrow", name)
        found = narrow(
            self._forward, case.arrays(), name, case.upstream(), gradient, rng,
            tolerance=outcome.tolerance or 0.0,
        )  # fmt: skip
        if found is None:
            return outcome, None
        return replace(outcome, reason=str(found)), found.gradient

    def _along(self, case: Case, probe: Probe, evaluation: Evaluation) -> Outcome | None:
        """<v, gradient> against the derivative along v; None where a gradient is missing."""
        if probe.reason is not None:
            return Outcome(Verdict.UNCHECKED, reason=probe.reason)
        total, tolerance, magnitude = 0.0, probe.error, 0.0
        for name, direction in probe.direction.items():
            gradient = evaluation.gradients.get(name)
            if gradient is None or gradient.shape != direction.shape:
                return None
            exact = gradient.astype(np.float64).ravel()
            if case.dtype == "float32" and f"grad_{name}" in self.rounding.overflows:
                if not np.isfinite(exact).all():
                    reason = f"grad_{name} overflows in float32, that of the frameworks too"
                    return Outcome(Verdict.UNCHECKED, reason=reason)
            v = direction.ravel()
            total += float(v @ exact)
            length = float(np.linalg.norm(v))
            magnitude += length * float(np.linalg.norm(exact))
            tolerance += self.rounding.tolerance(f"grad_{name}", case.dtype) * length
        tolerance += UNIT_ROUNDOFF["float64"] * magnitude
        smallest = min(float(np.min(np.abs(v), initial=np.inf)) for v in probe.direction.values())
        return compare_numbers(total, probe.value, tolerance, smallest)

    def _of_element(self, quantity: str, outcome: Outcome, direction: Array) -> Outcome:
        """The outcome of a whole probe, with the limit that holds for one of its names."""
        if outcome.verdict is not Verdict.AGREE or not direction.size:
            return outcome
        smallest = float(np.min(np.abs(direction)))
        limit = ((outcome.tolerance or 0.0) + (outcome.error or 0.0)) / smallest
        return self._not_vacuous(quantity, replace(outcome, limit=limit))

    def _elements(self, case: Case, answers: Mapping[str, Evaluation]) -> Iterator[Comparison]:
        values, upstream = (
            self.case.arrays("float64", "plain"),
            self.case.upstream("float64", "plain"),
        )
        for name in case.problem.differentiable:
            quantity = f"grad_{name}"
            try:
                stacked = self._stackable(name)
                numeric, errors = every_element(
                    self._forward, values, name, upstream, stacked=stacked
                )
            except ImplementationError as error:
                reason = f"no numeric derivative of this forward: {_first_line(error)}"
                outcome = Outcome(Verdict.UNCHECKED, reason=reason)
                yield Comparison(case, quantity, self.panel.subject.name, NUMERIC, outcome)
                continue
            known = np.isfinite(errors)
            tolerance = self.rounding.tolerance(quantity, case.dtype)
            tolerance += float(np.max(errors[known], initial=0.0))
            for witness, evaluation in answers.items():
                gradient = evaluation.gradients.get(name)
                if gradient is None:
                    continue
                if not known.all():
                    outcome = Outcome(
                        Verdict.UNCHECKED, reason="not differentiable at some elements"
                    )
                else:
                    outcome = compare_arrays(gradient, numeric, tolerance, dtype=False)
                keep = outcome.verdict is Verdict.DISAGREE
                yield Comparison(
                    case,
                    quantity,
                    witness,
                    NUMERIC,
                    self._not_vacuous(quantity, outcome),
                    self.rounding.norm(quantity, numeric),
                    got=gradient if keep else None,
                    expected=numeric if keep else None,
                )

    def _stackable(self, name: str) -> bool:
        """Whether an input can be moved in all samples at once: tried, not believed."""
        problem = self.case.problem
        of = {**problem.inputs, **problem.outputs}
        samples = {k: str(t.axes).split(" ")[0] for k, t in of.items() if isinstance(t.axes, str)}
        outputs = problem.differentiable_outputs
        if not samples.get(name) or any(samples.get(k) != samples[name] for k in outputs):
            return False
        together = [
            k
            for k in problem.differentiable
            if k in problem.inputs and samples.get(k) == samples[name]
        ]
        rng = generator(self.case.seed or 0, problem.label(), self.case.kind, "samples")
        values = self.case.arrays("float64", "plain")
        return treats_samples_alone(self._forward, values, together, outputs, rng)


def _ask(bound: Bound, values: Values, cotangents: Values) -> Answer:
    try:
        return bound.vjp(values, cotangents)
    except ImplementationError as error:
        return error


def _array(answer: Evaluation, quantity: str) -> Array | None:
    """One of `quantities`, without naming the others."""
    name = quantity.removeprefix("grad_")
    return answer.outputs.get(quantity) if name == quantity else answer.gradients.get(name)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
