"""Causes of wrong learning-rate schedules and gradient clipping: the mistake is made, and compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from crosscheck.optimizer_causes.evidence import (
    Evidence,
    Hypothesis,
    Rule,
    explains,
    other_options,
    run,
)
from crosscheck.spec import Array

# --- schedules --------------------------------------------------------------------------------

#: Values of an option under which it does nothing.
NEUTRAL = {"eta_min": 0.0, "power": 1.0, "T_mult": 1, "gamma": 1.0, "factor": 1.0}


def _rates(e: Evidence, steps: Array, **options: Any) -> Array | None:
    """The right rates at other steps, none before the first."""
    asked = np.maximum(steps, 0).astype(e.case.arrays()["step"].dtype)
    return run(e, values={**e.case.arrays(memory="plain"), "step": asked}, **options)


def _steps(e: Evidence) -> Array:
    return e.case.arrays(memory="plain")["step"]


def _lr(e: Evidence) -> float:
    return float(e.case.arrays(memory="plain")["lr"])


def _moved(by: int) -> Hypothesis:
    return lambda e: _rates(e, _steps(e) + by)


def _compounded(e: Evidence) -> Array | None:
    """Each rate made of the one before it, where it is to be made of the first."""
    steps = _steps(e)
    every = [_rates(e, np.full(steps.shape, t)) for t in range(int(steps.max()) + 1)]
    if any(rate is None for rate in every):
        return None
    factors = np.array([rate[0] for rate in every if rate is not None]) / _lr(e)
    return np.asarray(_lr(e) * np.cumprod(factors)[steps])


def _without_stairs(e: Evidence) -> Array | None:
    o = e.case.problem.options
    if e.case.problem.layer.name != "StepLR":
        return None
    return np.asarray(_lr(e) * o["gamma"] ** (_steps(e) / o["step_size"]))


def _without_restarts(e: Evidence) -> Array | None:
    o = e.case.problem.options
    if e.case.problem.layer.name != "CosineAnnealingWarmRestarts":
        return None
    t = np.minimum(_steps(e), o["T_0"])
    low = o["eta_min"]
    return np.asarray(low + (_lr(e) - low) * (1 + np.cos(np.pi * t / o["T_0"])) / 2)


def _ignored(evidence: list[Evidence]) -> str | None:
    """An option that has no effect, or the value that it has by default."""
    options = evidence[0].case.problem.options
    for name in options:
        for value in dict.fromkeys(
            (NEUTRAL.get(name), evidence[0].case.problem.layer.options[name])
        ):
            if value is None:
                continue
            without = f"{name} has no effect: it is as if it were {value!r}."
            if explains(partial(run, **{name: value}), without)(evidence):
                return without
    return None


def _factor(evidence: list[Evidence]) -> str | None:
    """One factor of all rates."""
    got, right = (
        np.concatenate(arrays)
        for arrays in zip(*((e.got, e.expected) for e in evidence), strict=True)
    )
    if not right.any() or not np.isfinite(got).all():
        return None
    factor = float(got @ right / (right @ right))
    say = f"every rate is {factor:.6g} times the right one."
    return explains(lambda e: np.asarray(factor * e.expected), say)(evidence)


def _rule(slug: str, hypothesis: Hypothesis, say: str) -> Rule:
    return Rule(slug, explains(hypothesis, say))


SCHEDULES = (
    _rule(
        "rate-constant",
        lambda e: np.full(e.expected.shape, _lr(e), e.expected.dtype),
        "the rate never changes: it is lr at every step.",
    ),
    _rule(
        "one-step-late",
        _moved(-1),
        "every rate comes a step late: the step is counted from 1, or > stands for >=. The rate of "
        "the first step is that of step 0.",
    ),
    _rule(
        "one-step-early",
        _moved(1),
        "every rate comes a step early: the schedule has moved before the optimizer's first step.",
    ),
    _rule(
        "stepped-twice",
        lambda e: _rates(e, 2 * _steps(e)),
        "the schedule runs twice as fast: it is stepped twice for each step.",
    ),
    _rule(
        "stairs-missing",
        _without_stairs,
        "the rate falls a little at every step: t // step_size is meant, not t / step_size.",
    ),
    _rule(
        "restarts-missing",
        _without_restarts,
        "there is no restart: after T_0 steps the rate goes back to lr.",
    ),
    Rule("option-ignored", _ignored),
    _rule(
        "compounded",
        _compounded,
        "the factors are multiplied up: each rate is made of the one before it. The formula is one "
        "in the first rate, and the step.",
    ),
    Rule("constant-factor", _factor),
    Rule("other-convention", partial(other_options, {"convention": ("torch", "jax")})),
)

# --- clipping ---------------------------------------------------------------------------------


def _gradients(e: Evidence) -> dict[str, Array]:
    return e.case.arrays(memory="plain")


def _own(e: Evidence) -> Array | None:
    """The gradient that the quantity is the clipped one of; None for the norm."""
    return _gradients(e).get(e.quantity.removeprefix("clipped_"))


def _norm(e: Evidence, *arrays: Array) -> float:
    every = np.concatenate([a.ravel() for a in arrays or _gradients(e).values()])
    return float(np.linalg.norm(every, e.case.problem.options["norm_type"]))


def _small(e: Evidence) -> float:
    return 1e-6 if e.case.problem.options.get("convention") == "torch" else 0.0


def _scaled(
    norm: Callable[[Evidence, Array], float], *, always: bool = False
) -> Callable[[Evidence], Array | None]:
    """A gradient scaled by max_norm over some norm, only where that is larger or always."""

    def made(e: Evidence) -> Array | None:
        own, limit = _own(e), e.case.problem.options.get("max_norm")
        if own is None or limit is None:
            return None
        factor = limit / (norm(e, own) + _small(e))
        return np.asarray(own * (factor if always else min(1.0, factor)))

    return made


def _whole(e: Evidence, own: Array) -> float:
    return _norm(e)


def _root_mean(e: Evidence, own: Array) -> float:
    return float(_norm(e) / np.sqrt(sum(a.size for a in _gradients(e).values())))


def _by_value(e: Evidence) -> Array | None:
    own, limit = _own(e), e.case.problem.options.get("max_norm")
    return None if own is None or limit is None else np.asarray(np.clip(own, -limit, limit))


def _by_norm(e: Evidence) -> Array | None:
    own, limit = _own(e), e.case.problem.options.get("clip_value")
    if own is None or limit is None:
        return None
    norm = float(np.linalg.norm(np.concatenate([a.ravel() for a in _gradients(e).values()])))
    return np.asarray(own * min(1.0, limit / norm))


def _from_above(e: Evidence) -> Array | None:
    own, limit = _own(e), e.case.problem.options.get("clip_value")
    return None if own is None or limit is None else np.minimum(own, limit)


def _norm_after(e: Evidence) -> Array | None:
    if e.quantity != "norm":
        return None
    limit = e.case.problem.options["max_norm"]
    return np.asarray(_norm(e) * min(1.0, limit / (_norm(e) + _small(e))))


CLIPPING = (
    _rule("not-clipped", _own, "nothing is clipped: write g *= …, which changes the array itself."),
    _rule(
        "clipped-each-alone",
        _scaled(lambda e, own: _norm(e, own)),
        "each gradient is clipped by its own norm: one norm over all of them is meant, so that the "
        "direction of the step stays.",
    ),
    _rule(
        "always-scaled",
        _scaled(_whole, always=True),
        "it is scaled to max_norm even where the norm is smaller: min(1, max_norm/norm) is meant.",
    ),
    _rule(
        "norm-squared",
        _scaled(lambda e, own: _norm(e) ** 2),
        "the root is missing: it is divided by the square of the norm.",
    ),
    _rule(
        "norm-of-mean",
        _scaled(_root_mean),
        "the norm is that of a mean: the squares are summed, not averaged.",
    ),
    _rule("clipped-by-value", _by_value, "every element is clipped: the norm is meant."),
    _rule("clipped-by-norm", _by_norm, "it is scaled by its norm: every element is to be clipped."),
    _rule(
        "clipped-from-above", _from_above, "only large elements are clipped: those below −c too."
    ),
    _rule("norm-after", _norm_after, "it is the norm after clipping: the one before is meant."),
    Rule(
        "other-convention",
        partial(other_options, {"convention": ("torch", "jax"), "norm_type": (1.0, 2.0, np.inf)}),
    ),
)
