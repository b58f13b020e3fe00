"""Trajectories: the same weights, the same batches, and the distance of the ways after every step.

What two right ways may lie apart follows from the frameworks' own rounding, by the one rule of
`crosscheck.tolerance`, with

    e32(t) = the largest difference so far between a framework's float32 and float64 weights, and
             between the frameworks' float32 weights

for each parameter. A kink (of a ReLU, a max-pool) is crossed by one float32 way and not by another
when an activation lies within rounding of it, which happens in one of a few trainings and is no
mistake. So `NEARBY_WALKS` more float32 ways of a framework, from weights that are a rounding off,
are measured too: each has an even chance of crossing.

That holds as long as a float32 way still is the same way: the *horizon* of a parameter is the last
step before C · e32(t) is `VACUOUS` of how far it has moved. Training amplifies differences, so
there is such a step; beyond it the parameter is not compared, and that is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from crosscheck.case import DTYPES
from crosscheck.comparison import Verdict
from crosscheck.errors import MissingFramework, UsageError, unknown
from crosscheck.families import catalogue
from crosscheck.families.optimizer_twins import OptimizerEntry
from crosscheck.sampling import generator, representable
from crosscheck.spec import Array, Problem
from crosscheck.tolerance import UNIT_ROUNDOFF, VACUOUS, C, c, largest
from crosscheck.training.digits import batches, digits
from crosscheck.training.models import MODELS, Model
from crosscheck.training.walkers import (
    JaxWalker,
    MakeOptimizer,
    ReferenceWalker,
    TorchWalker,
    Walker,
)
from crosscheck.versions import installed, version

REFERENCE = "reference_nn"
#: Float32 ways of one framework from weights a rounding off, measured besides.
NEARBY_WALKS = 4
#: (witness, dtype)
Who = tuple[str, str]


@dataclass(frozen=True)
class Parting:
    """The first step after which two ways lie further apart than rounding explains.

    Attributes:
        step: from 1.
        left, right: the witnesses.
        dtype: their precision.
        parameter: the first parameter, in order, that differs.
        error, tolerance: the largest difference of any element, and what it may be.
    """

    step: int
    left: str
    right: str
    dtype: str
    parameter: str
    error: float
    tolerance: float

    def __str__(self) -> str:
        return (
            f"after step {self.step}, {self.parameter} of {self.left} and {self.right} in "
            f"{self.dtype}: {self.error:.2g} apart, rounding explains {self.tolerance:.2g}"
        )


@dataclass
class Training:
    """What training side by side came to.

    Attributes:
        model: the model.
        optimizer: its name with the options that are not at their default.
        steps: how many were walked.
        batch: samples in a batch.
        seed: names the weights and the order of the batches.
        witnesses: framework → version, or why it was not there.
        losses: (witness, dtype) → the loss before every step.
        accuracy: (witness, dtype) → the share of the test images that are recognised at the end.
        margins: (left, right, dtype) → largest error / tolerance of any parameter, step by step,
            within the horizon.
        partings: the first parting of each pair that parts.
        horizons: parameter → the number of steps within which rounding allows equality.
        apart: (left, right, dtype) → the largest difference of any weight after the last step.
        seconds: (witness, dtype) → time spent in steps, without the first.
    """

    model: Model
    optimizer: str
    steps: int
    batch: int
    seed: int
    witnesses: dict[str, str]
    losses: dict[Who, list[float]] = field(default_factory=dict)
    accuracy: dict[Who, float] = field(default_factory=dict)
    margins: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    partings: list[Parting] = field(default_factory=list)
    horizons: dict[str, int] = field(default_factory=dict)
    apart: dict[tuple[str, str, str], float] = field(default_factory=dict)
    seconds: dict[Who, float] = field(default_factory=dict)

    @property
    def horizon(self) -> int:
        """The number of steps within which rounding allows equality of all parameters."""
        return min(self.horizons.values(), default=0)

    @property
    def verdict(self) -> Verdict:
        """Disagree if any pair parts, unchecked if a parameter was never compared, else agree."""
        if self.partings:
            return Verdict.DISAGREE
        return Verdict.AGREE if self.horizon else Verdict.UNCHECKED

    @property
    def worst(self) -> float:
        """The largest error / tolerance within the horizon."""
        return max((max(m, default=0.0) for m in self.margins.values()), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain data, versioned."""
        from crosscheck.versions import versions

        return {
            "format": "crosscheck-training",
            "format_version": 1,
            "versions": versions(),
            "model": self.model.name,
            "optimizer": self.optimizer,
            "steps": self.steps,
            "batch": self.batch,
            "seed": self.seed,
            "verdict": self.verdict.value,
            "witnesses": self.witnesses,
            "horizon": self.horizon,
            "horizons": self.horizons,
            "partings": [vars(parting) for parting in self.partings],
            "walks": [
                {
                    "witness": witness,
                    "dtype": dtype,
                    "losses": [_finite(x) for x in self.losses[witness, dtype]],
                    "accuracy": self.accuracy[witness, dtype],
                    "seconds": round(self.seconds[witness, dtype], 4),
                }
                for witness, dtype in self.losses
            ],
            "pairs": [
                {
                    "left": left,
                    "right": right,
                    "dtype": dtype,
                    "margins": [_finite(m) for m in margins],
                    "apart": _finite(self.apart[left, right, dtype]),
                }
                for (left, right, dtype), margins in self.margins.items()
            ],
        }


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None


def train(
    model: str | Model,
    optimizer: str = "SGD",
    options: Mapping[str, Any] | None = None,
    *,
    steps: int = 200,
    seed: int = 0,
    batch: int = 32,
    subject: MakeOptimizer | None = None,
    progress: Callable[[int], None] | None = None,
) -> Training:
    """Train one model in reference_nn and in every framework installed, and compare the weights.

    Args:
        model: a name in `MODELS`, or a `Model`.
        optimizer: a name in the catalogue's group ``optimizers``.
        options: its options; for SGD by default the model's lr and momentum 0.9.
        steps: how many batches.
        seed: names the first weights and the order of the batches.
        batch: samples in a batch.
        subject: makes an optimizer to be tried in reference_nn's place: a function or class that
            takes the list of parameters and has ``step(gradients)``.
        progress: called with the number of steps done, after each.

    Raises:
        UsageError: an unknown model, optimizer or option, or a number that makes no sense.
        MissingFramework: no framework to compare with, or no scikit-learn.
    """
    chosen = _model(model)
    problem = _optimizer(optimizer, options, chosen)
    for what, value in (("steps", steps), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{what}={value!r}: a whole number, 1 or larger")
    data = digits()
    if batch > len(data.train_x):
        raise UsageError(f"batch={batch}: there are {len(data.train_x)} images to train on")
    start = {
        name: representable(array)
        for name, array in chosen.reference(generator(seed, chosen.name, "weights"))
        .parameters()
        .items()
    }
    walkers, witnesses = _walkers(chosen, start, problem, subject)
    nearby = _nearby(chosen, start, problem, walkers, seed)
    found = Training(chosen, problem.label(), steps, batch, seed, witnesses)
    with np.errstate(all="ignore"):  # what overflows is not finite, and compared as that
        _walk(found, walkers, nearby, _Judge(found, start), progress)
    return found


def _walk(
    found: Training,
    walkers: Mapping[Who, Walker],
    nearby: list[Walker],
    judge: _Judge,
    progress: Callable[[int], None] | None,
) -> None:
    data = digits()
    drawn = zip(range(1, found.steps + 1), batches(data, found.seed, found.batch), strict=False)
    found.losses.update({who: [] for who in walkers})
    found.seconds.update(dict.fromkeys(walkers, 0.0))
    for number, (x, y) in drawn:
        for who, walker in walkers.items():
            before = time.perf_counter()
            found.losses[who].append(walker.step(x, y))
            if number > 1:  # the first compiles
                found.seconds[who] += time.perf_counter() - before
        for walker in nearby:
            walker.step(x, y)
        weights = {who: walker.weights() for who, walker in walkers.items()}
        judge.after(number, weights, [walker.weights() for walker in nearby])
        if progress is not None:
            progress(number)
    for who, walker in walkers.items():
        guesses = walker.logits(data.test_x).argmax(axis=1)
        found.accuracy[who] = float(np.mean(guesses == data.test_y))


def _model(given: str | Model) -> Model:
    if isinstance(given, Model):
        return given
    if given not in MODELS:
        raise unknown("model", given, MODELS)
    return MODELS[given]


def _optimizer(name: str, options: Mapping[str, Any] | None, model: Model) -> Problem:
    entry = catalogue[name]
    if not isinstance(entry, OptimizerEntry):
        names = [k for k, layer in catalogue.items() if isinstance(layer, OptimizerEntry)]
        raise unknown("optimizer", name, names)
    if options is None and name == "SGD":
        options = {"lr": model.lr, "momentum": 0.9}
    return entry.problem(options)


def _walkers(
    model: Model, start: Mapping[str, Array], problem: Problem, subject: MakeOptimizer | None
) -> tuple[dict[Who, Walker], dict[str, str]]:
    made: dict[Who, Walker] = {}
    witnesses: dict[str, str] = {}
    name = REFERENCE if subject is None else getattr(subject, "__name__", type(subject).__name__)
    for dtype in DTYPES:
        try:
            made[name, dtype] = ReferenceWalker(model, start, dtype, problem, subject)
        except (ValueError, TypeError) as error:
            if subject is not None:
                raise
            raise UsageError(f"{problem.label()}: {error}") from None
    for framework, kind in (("torch", TorchWalker), ("jax", JaxWalker)):
        needed = [framework, *problem.layer.needs.get(framework, ())]
        lacking = [package for package in needed if not installed(package)]
        if lacking:
            witnesses[framework] = f"not installed: {lacking[0]}"
            continue
        witnesses[framework] = version(framework) or "?"
        for dtype in DTYPES:
            made[framework, dtype] = kind(model, start, dtype, problem)
    if len(made) == len(DTYPES):
        raise MissingFramework("there is nobody to walk beside: install PyTorch, or JAX with optax")
    return made, witnesses


def _nearby(
    model: Model,
    start: Mapping[str, Array],
    problem: Problem,
    walkers: Mapping[Who, Walker],
    seed: int,
) -> list[Walker]:
    """Float32 ways from weights a rounding off; of PyTorch where it is there, as it compiles nothing."""
    kind = TorchWalker if ("torch", "float32") in walkers else JaxWalker
    rng = generator(seed, model.name, "nearby")
    u = UNIT_ROUNDOFF["float32"]
    made: list[Walker] = []
    for _ in range(NEARBY_WALKS):
        off = {name: a * (1 + u * rng.uniform(-2, 2, a.shape)) for name, a in start.items()}
        made.append(kind(model, off, "float32", problem))
    return made


class _Judge:
    """Looks at all weights after every step."""

    def __init__(self, found: Training, start: Mapping[str, Array]) -> None:
        self.found, self.start = found, start
        self.e32 = dict.fromkeys(start, 0.0)
        self.moved = dict.fromkeys(start, 0.0)
        self.parted: set[tuple[str, str, str]] = set()
        self.found.horizons = dict.fromkeys(start, 0)
        self.open = dict.fromkeys(start, True)

    def after(
        self,
        step: int,
        weights: Mapping[Who, Mapping[str, Array]],
        nearby: list[dict[str, Array]],
    ) -> None:
        """Measure the frameworks, then judge every pair."""
        frameworks = [name for name in ("torch", "jax") if (name, "float64") in weights]
        exact = weights[frameworks[0], "float64"]
        for name, first in self.start.items():
            low = [weights[f, "float32"][name].astype(np.float64) for f in frameworks]
            high = [weights[f, "float64"][name] for f in frameworks]
            errors = [largest(a - b) for a, b in zip(low, high, strict=True)]
            errors += [largest(a - b) for a, b in combinations(low, 2)]
            errors += [largest(w[name].astype(np.float64) - high[0]) for w in nearby]
            moved = largest(exact[name] - first)
            if not np.isfinite([*errors, moved]).all():
                self.open[name] = False  # the frameworks themselves diverge
                continue
            self.e32[name] = max(self.e32[name], *errors)
            self.moved[name] = max(self.moved[name], moved)
            self.open[name] &= C * self.e32[name] <= VACUOUS * self.moved[name]
            if self.open[name]:
                self.found.horizons[name] = step
        witnesses = list(dict.fromkeys(who for who, _ in weights))
        for dtype in DTYPES:
            for left, right in combinations(witnesses, 2):
                self._pair(step, left, right, dtype, weights, exact)

    def _pair(
        self,
        step: int,
        left: str,
        right: str,
        dtype: str,
        weights: Mapping[Who, Mapping[str, Array]],
        exact: Mapping[str, Array],
    ) -> None:
        key = (left, right, dtype)
        one, other = weights[left, dtype], weights[right, dtype]
        errors = {name: _apart(one[name], other[name]) for name in self.start}
        self.found.apart[key] = max(errors.values())
        margins = self.found.margins.setdefault(key, [])
        u = UNIT_ROUNDOFF[dtype]
        worst = 0.0
        for name, error in errors.items():
            if not self.open[name]:
                continue
            allowed = C * self.e32[name] * u / UNIT_ROUNDOFF["float32"]
            allowed += c * u * largest(exact[name])
            worst = max(worst, error / allowed)
            if not error <= allowed and key not in self.parted:
                self.parted.add(key)
                parting = Parting(step, left, right, dtype, name, error, allowed)
                self.found.partings.append(parting)
        if any(self.open.values()):
            margins.append(worst)


def _apart(one: Array, other: Array) -> float:
    """The largest difference; infinite if anything is not finite."""
    difference = largest(one.astype(np.float64) - other.astype(np.float64))
    return difference if np.isfinite(difference) else float("inf")
