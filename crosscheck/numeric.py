"""The numeric witness: derivatives of the subject's own forward, against everybody's gradients.

It is asked along a few directions; about each name by itself where one of these fails; and once more,
along others, where nobody differs but the derivative. They belong to a case's values, whatever dtype or
memory layout these are presented in, and are computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

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
    not_vacuous,
)
from crosscheck.derivative import (
    Probe,
    Status,
    differentiate,
    every_element,
    narrow,
    treats_samples_alone,
)
from crosscheck.evaluation import Bound, Evaluation, ImplementationError, cast, first_line
from crosscheck.sampling import generator
from crosscheck.spec import Array, Values
from crosscheck.tolerance import UNIT_ROUNDOFF, Rounding

#: What is said of a derivative that float32 makes coarse.
SINGLE = "the forward computes in float32 whatever it is given: its derivative is coarse"


class Numeric:
    """The numeric derivatives at one set of values.

    Args:
        subject: the implementation under test, bound.
        name: what it is called.
        oracles: the names of the trusted witnesses.
        case: the values.
        rounding: measured on them.
        every_element: differentiate element by element instead of along random directions.

    Attributes:
        found: the probes, once they are known.
    """

    def __init__(
        self, subject: Bound, name: str, oracles: Sequence[str], case: Case, rounding: Rounding,
        every_element: bool,
    ) -> None:  # fmt: skip
        self.subject, self.name, self.oracles = subject, name, oracles
        self.case, self.rounding, self.every_element = case, rounding, every_element
        self.found: tuple[Probe, ...] | None = None

    def probes(self) -> tuple[Probe, ...]:
        """The numeric derivatives of the subject's forward, in float64."""
        if self.found is None:
            self.found = self._differentiate(self.case.problem.differentiable)
        return self.found

    @property
    def kink(self) -> bool:
        """Whether a probe found the point too close to a kink."""
        try:
            return any(probe.status is Status.KINK for probe in self.probes())
        except ImplementationError:
            return False

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

    def compare(self, case: Case, answers: Mapping[str, Evaluation]) -> Iterator[Comparison]:
        """Everybody's gradients on one presentation of the values, against the derivatives."""
        if self.every_element:
            yield from self._elements(case, answers)
            return
        try:
            probes = self.probes()
        except ImplementationError as error:
            reason = f"no numeric derivative of this forward: {first_line(error)}"
            outcome = Outcome(Verdict.UNCHECKED, reason=reason)
            for name in case.problem.differentiable:
                yield Comparison(case, f"grad_{name}", self.name, NUMERIC, outcome)
            return
        noisy = next((p.reason for p in probes if p.status is Status.NOISY), None)
        if noisy is not None:
            outcome = Outcome(Verdict.DISAGREE, kind=Kind.RANDOM, reason=noisy)
            quantity = case.problem.differentiable_outputs[0]
            yield Comparison(case, quantity, self.name, NUMERIC, outcome)
        for probe in probes:
            found = [*self._by_probe(case, probe, answers)]
            mine = [c.verdict for c in found if c.left == self.name]
            heard = [(probe, found)]
            if len(probe.direction) > 1 and any(v is not Verdict.AGREE for v in mine):
                # A probe of several names failed: ask for each name which of them it was.
                singles = [s for name in probe.direction for s in self._differentiate([name])]
                heard = [(s, [*self._by_probe(case, s, answers)]) for s in singles]
            for asked, said in heard:
                if _wrong(said) and self._all_agree(case, asked, answers):
                    yield from self._second_look(case, asked, answers)
                else:
                    yield from said

    def _second_look(
        self, case: Case, probe: Probe, answers: Mapping[str, Evaluation]
    ) -> Iterator[Comparison]:
        """Nobody but the derivative differs: it is asked once more, along other directions.

        If it insists, and agrees with the subject's own gradient in extended precision, then what
        it differs by is rounding that all gradients have in common (``1 - y * y`` of a saturated
        y), and is allowed for.
        """
        for again in self._differentiate([*probe.direction], "again"):
            said = [*self._by_probe(case, again, answers)]
            if _wrong(said):
                common = self._common_rounding(case, again, answers[self.name])
                if common:
                    said = [*self._by_probe(case, again, answers, common)]
            yield from said

    def _common_rounding(self, case: Case, probe: Probe, mine: Evaluation) -> float:
        """How far the subject's gradient along a probe lies from itself in extended precision.

        0 where it cannot be had, or does not agree with the probe either.
        """
        values, upstream = case.arrays("float64", "plain"), case.upstream("float64", "plain")
        try:
            wide = self.subject.vjp(cast(values, "longdouble"), cast(upstream, "longdouble"))
        except Exception:  # whatever it does with numbers it was not written for
            return 0.0
        if any(
            wide.gradients[k].dtype != np.longdouble for k in probe.direction if k in wide.gradients
        ):
            return 0.0
        agreed = self._along(case, probe, wide)
        if agreed is None or agreed.verdict is not Verdict.AGREE:
            return 0.0
        moved = [
            np.sum(v * (mine.gradients[k] - wide.gradients[k])) for k, v in probe.direction.items()
        ]
        return float(abs(np.sum(moved)))

    def _all_agree(self, case: Case, probe: Probe, answers: Mapping[str, Evaluation]) -> bool:
        """Whether there are oracles, and the subject's gradients along a probe agree with theirs."""
        mine = answers[self.name].gradients
        others = [answers[name].gradients for name in answers if name in self.oracles]
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
        self, case: Case, probe: Probe, answers: Mapping[str, Evaluation], common: float = 0.0
    ) -> Iterator[Comparison]:
        for witness, evaluation in answers.items():
            outcome = self._along(case, probe, evaluation, common)
            for name, direction in probe.direction.items():
                quantity = f"grad_{name}"
                gradient = evaluation.gradients.get(name)
                if gradient is None:
                    reason = evaluation.absent.get(name, f"{witness} gives no {quantity}")
                    single = Outcome(Verdict.UNCHECKED, reason=reason)
                    if witness == self.name:  # whoever else is there to say so
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

    def _along(
        self, case: Case, probe: Probe, evaluation: Evaluation, common: float = 0.0
    ) -> Outcome | None:
        """<v, gradient> against the derivative along v; None where a gradient is missing.

        Args:
            common: rounding of the gradients that their tolerances do not know of.
        """
        if probe.reason is not None:
            return Outcome(Verdict.UNCHECKED, reason=probe.reason)
        total, tolerance, magnitude = 0.0, probe.error + common, 0.0
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
        return not_vacuous(replace(outcome, limit=limit), quantity, self.rounding)

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
                reason = f"no numeric derivative of this forward: {first_line(error)}"
                outcome = Outcome(Verdict.UNCHECKED, reason=reason)
                yield Comparison(case, quantity, self.name, NUMERIC, outcome)
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
                    not_vacuous(outcome, quantity, self.rounding),
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


def _wrong(comparisons: Sequence[Comparison]) -> bool:
    return any(c.verdict is Verdict.DISAGREE for c in comparisons)
