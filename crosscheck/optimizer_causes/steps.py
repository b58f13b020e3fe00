"""Causes of wrong optimizers: each hypothesis is an optimizer with one mistake, run on the very case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.finding import Finding
from crosscheck.implementations.optimizer_convention import AFTER, GRADIENTS
from crosscheck.optimizer_causes.evidence import (
    ALIKE,
    Evidence,
    Hypothesis,
    Rule,
    explains,
    other_options,
    run,
)
from crosscheck.panel import Panel
from crosscheck.spec import Array, Layer

#: Values of an option that somebody has as a default.
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "eps": (1e-8, 1e-7, 1e-10, 1e-6, 1e-5, 1e-15),
    "weight_decay": (1e-4, 1e-2, 4e-3, 0.1),
    "alpha": (0.9, 0.99),
    "rho": (0.9, 0.95),
    "initial_accumulator_value": (0.0, 0.1),
    "momentum": (0.9, 0.95),
    "momentum_decay": (4e-3,),
    "betas": ((0.9, 0.999), (0.9, 0.95), (0.9, 0.99)),
    "lr_decay": (0.0,),
    "dampening": (0.0,),
}
#: Whose default a value is.
WHO: dict[Any, str] = {
    ("eps", 1e-8): "PyTorch's default of Adam and RMSprop, and optax's",
    ("eps", 1e-7): "Keras's default",
    ("eps", 1e-10): "PyTorch's default of Adagrad",
    ("eps", 1e-6): "PyTorch's default of Adadelta",
    ("weight_decay", 1e-4): "optax's default of adamw",
    ("weight_decay", 1e-2): "PyTorch's default of AdamW",
    ("weight_decay", 4e-3): "Keras's default of AdamW",
    ("weight_decay", 0.1): "PyTorch's default of Muon",
    ("alpha", 0.9): "optax's and Keras's default of the decay",
    ("alpha", 0.99): "PyTorch's default of the decay",
    ("rho", 0.9): "PyTorch's and optax's default",
    ("rho", 0.95): "Keras's default",
    ("initial_accumulator_value", 0.0): "PyTorch's default",
    ("initial_accumulator_value", 0.1): "optax's and Keras's default",
}


def _subject_alone(panel: Panel, case: Any, name: str) -> Array | None:
    """The subject's weights of one parameter, with no other beside it."""
    problem = case.problem
    gradients, after = GRADIENTS.format(name), AFTER.format(name)
    one: Layer = replace(
        problem.layer,
        inputs={gradients: problem.inputs[gradients]},
        parameters={name: problem.parameters[name]},
        outputs={after: problem.outputs[after]},
    )
    values = case.arrays(memory="plain")
    try:
        bound = panel.subject.bind(one.problem(problem.options, problem.sizes))
        found: Mapping[str, Array] = bound.forward({k: values[k] for k in (gradients, name)})
        return found.get(after)
    except (ImplementationError, NotOffered):
        return None


# --- the rules --------------------------------------------------------------------------------


def explain_exception(finding: Finding, panel: Panel) -> Finding:
    """It raises with several parameters; does it with one?"""
    case = finding.comparisons[0].case
    if "ZeroDivisionError" in finding.comparisons[0].reason and "betas" in case.problem.options:
        say = "the step is counted from 0, and 1 − β⁰ = 0 is divided by: the first is step 1."
        return replace(finding, cause="step-counted-from-0", explanation=say)
    alone = [_subject_alone(panel, case, name) for name in case.problem.parameters]
    if any(found is None for found in alone):
        return finding
    return replace(
        finding,
        cause="state-shared",
        explanation=(
            "with each parameter alone it does not raise: a state (a moment, a buffer) made for "
            "one parameter is used for another, of another shape. Keep one per parameter."
        ),
    )


def _state_shared(evidence: list[Evidence]) -> str | None:
    def holds(e: Evidence) -> bool:
        name = e.quantity.removeprefix(AFTER.format(""))
        alone = _subject_alone(e.panel, e.case, name)
        if alone is None or alone.shape != e.expected.shape:
            return False
        off = float(np.max(np.abs(alone - e.expected)))
        return off <= ALIKE * float(np.max(np.abs(e.got - e.expected)))

    if not all(holds(e) for e in evidence):
        return None
    return (
        "state shared between parameters: with this parameter alone the weights are right. Keep "
        "moments and counts per parameter, and count a step once, not once per parameter."
    )


def _not_in_place(e: Evidence) -> Array:
    start = e.case.arrays(memory="plain")[e.quantity.removeprefix(AFTER.format(""))]
    return np.broadcast_to(start, e.expected.shape)


def _one_late(e: Evidence) -> Array:
    return np.concatenate([_not_in_place(e)[:1], e.expected[:-1]])


def _not_cleared(e: Evidence) -> Array | None:
    values = e.case.arrays(memory="plain")
    summed = {
        k: np.cumsum(a, axis=0) if k in e.case.problem.inputs else a for k, a in values.items()
    }
    return run(e, values=summed)


def _counted_from(first: int) -> Hypothesis:
    """The step counted from another number than 1."""

    def made(e: Evidence) -> Array | None:
        base = _class(e)

        class Miscounting(base):  # type: ignore[misc, valid-type]
            def start(self, p: Array) -> dict[str, Any]:
                return {**super().start(p), "step": first - 1}

        return run(e, made=Miscounting) if "step" in _reads(e) else None

    return made


def _reads(e: Evidence) -> tuple[str, ...]:
    """What the update of an optimizer depends on besides gradients: only Adam's kin count."""
    counting = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adafactor", "Adagrad")
    return ("step",) if e.case.problem.layer.name in counting else ()


def _class(e: Evidence) -> Any:
    import reference_nn

    return getattr(reference_nn, e.case.problem.layer.name)


def _adam(
    e: Evidence,
    *,
    correct: tuple[bool, bool] = (True, True),
    eps: str = "beside",
    root: bool = True,
) -> Array | None:
    """Adam and AdamW with a mistake in the formula of the update.

    Args:
        e: the case.
        correct: which of the two means has its bias corrected.
        eps: beside the root; ``"inside"`` it; ``"before"`` the bias of the root is corrected.
        root: whether there is one.
    """
    o = e.case.problem.options
    if e.case.problem.layer.name not in ("Adam", "AdamW") or o.get("amsgrad"):
        return None
    values = e.case.arrays(memory="plain")
    name = e.quantity.removeprefix(AFTER.format(""))
    w, after = values[name].copy(), []
    m, v = np.zeros_like(w), np.zeros_like(w)
    decoupled = e.case.problem.layer.name == "AdamW"
    for t, given in enumerate(values[GRADIENTS.format(name)], 1):
        g = -given if o.maximize else given
        if decoupled:
            w = w * (1 - o.lr * o.weight_decay)
        else:
            g = g + o.weight_decay * w
        m = o.betas[0] * m + (1 - o.betas[0]) * g
        v = o.betas[1] * v + (1 - o.betas[1]) * g * g
        unbias = [1 - b**t if c else 1.0 for b, c in zip(o.betas, correct, strict=True)]
        if not root:
            below = v / unbias[1] + o.eps
        elif eps == "inside":
            below = np.sqrt(v / unbias[1] + o.eps)
        elif eps == "before":
            below = (np.sqrt(v) + o.eps) / np.sqrt(unbias[1])
        else:
            below = np.sqrt(v / unbias[1]) + o.eps
        w = w - o.lr * m / unbias[0] / below
        after.append(w)
    return np.stack(after)


def _adamax_uncorrected(e: Evidence) -> Array | None:
    if e.case.problem.layer.name != "Adamax":
        return None
    base = _class(e)

    class Uncorrected(base):  # type: ignore[misc, valid-type]
        def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
            count, state["step"] = state["step"], 10**9  # where 1 − βᵗ is 1
            super().update(p, g, state)
            state["step"] = count

    return run(e, made=Uncorrected)


def _other_decay(e: Evidence) -> Array | None:
    """Coupled where it should be decoupled."""
    name, o = e.case.problem.layer.name, e.case.problem.options
    if name == "AdamW":
        return run(e, named="Adam")
    if o.get("decoupled_weight_decay"):
        return run(e, decoupled_weight_decay=False)
    return None


def _decoupled(e: Evidence) -> Array | None:
    """Decoupled where it should be coupled."""
    name, o = e.case.problem.layer.name, e.case.problem.options
    if not o.get("weight_decay") or name in ("AdamW", "Muon", "Adafactor"):
        return None
    if "decoupled_weight_decay" in o:
        return run(e, decoupled_weight_decay=True)
    return run(e, named="AdamW") if name == "Adam" else _separate_decay(e, o.lr * o.weight_decay)


def _separate_decay(e: Evidence, share: float) -> Array | None:
    """The weights shrink by a share before a step without decay."""
    base = _class(e)

    class Shrinking(base):  # type: ignore[misc, valid-type]
        def update(self, p: Array, g: Array, state: dict[str, Any]) -> None:
            p *= 1 - share
            super().update(p, g, state)

    return run(e, made=Shrinking, weight_decay=0.0)


def _decay_without_lr(e: Evidence) -> Array | None:
    o = e.case.problem.options
    decoupled = e.case.problem.layer.name in ("AdamW", "Muon") or o.get("decoupled_weight_decay")
    return _separate_decay(e, o.weight_decay) if decoupled and o.get("weight_decay") else None


def _averaged_momentum(e: Evidence) -> Array | None:
    """b ← μ b + (1 − μ) g from the first step on."""
    o = e.case.problem.options
    if e.case.problem.layer.name != "SGD" or not o.momentum:
        return None
    values = e.case.arrays(memory="plain")
    scaled = {
        k: (1 - o.momentum) * a if k in e.case.problem.inputs else a for k, a in values.items()
    }
    return run(e, values=scaled) if not o.weight_decay else None


def _swapped_betas(e: Evidence) -> Array | None:
    betas = e.case.problem.options.get("betas")
    return None if betas is None else run(e, betas=betas[::-1])


def _opposite(e: Evidence) -> Array | None:
    values = e.case.arrays(memory="plain")
    turned = {k: -a if k in e.case.problem.inputs else a for k, a in values.items()}
    return run(e, values=turned)


def _eps_inside(e: Evidence) -> Array | None:
    if e.case.problem.layer.name in ("RMSprop", "Adagrad"):
        return run(e, convention="jax")
    return _adam(e, eps="inside")


def _other_convention(e: Evidence) -> Array | None:
    other = {"torch": "jax", "jax": "torch"}.get(e.case.problem.options.get("convention", ""))
    return None if other is None else run(e, convention=other)


def _rules() -> Iterator[Rule]:
    """In the order in which they are tried: what happened to the arrays first, formulas last."""
    slug: str
    hypothesis: Hypothesis
    say: str
    for slug, hypothesis, say in (
        (
            "not-in-place",
            _not_in_place,
            "the weights do not change: `p = p - …` makes a new array and forgets it; write "
            "`p -= …`, which changes the array that the layer holds.",
        ),
        (
            "one-step-late",
            _one_late,
            "every step is one late: the weights are those that were right a step before.",
        ),
        (
            "wrong-direction",
            _opposite,
            "the sign of the gradient is turned: it walks up where it should walk down.",
        ),
        (
            "gradients-not-cleared",
            _not_cleared,
            "gradients are not cleared: each step uses the sum of all gradients so far.",
        ),
    ):
        yield Rule(slug, explains(hypothesis, say))
    yield Rule("state-shared", _state_shared)
    for slug, hypothesis, say in (
        (
            "no-bias-correction",
            partial(_adam, correct=(False, False)),
            "no bias correction: m must be divided by 1 − β₁ᵗ and v by 1 − β₂ᵗ.",
        ),
        (
            "no-bias-correction",
            _adamax_uncorrected,
            "no bias correction: m must be divided by 1 − β₁ᵗ.",
        ),
        (
            "no-bias-correction-of-m",
            partial(_adam, correct=(False, True)),
            "the bias of the first moment is not corrected: divide m by 1 − β₁ᵗ.",
        ),
        (
            "no-bias-correction-of-v",
            partial(_adam, correct=(True, False)),
            "the bias of the second moment is not corrected: divide v by 1 − β₂ᵗ.",
        ),
        (
            "step-counted-from-0",
            _counted_from(0),
            "the step is counted from 0: the first is step 1 (with 0, 1 − β⁰ = 0 is divided by).",
        ),
        (
            "step-counted-from-2",
            _counted_from(2),
            "the step is counted from 2: the first is step 1; it is raised twice, or before its time.",
        ),
        ("root-missing", partial(_adam, root=False), "the root of the second moment is missing."),
        (
            "eps-inside-root",
            _eps_inside,
            "eps stands under the root: it belongs beside it, √v + ε.",
        ),
        (
            "eps-before-correction",
            partial(_adam, eps="before"),
            "eps is added before the bias of v is corrected: it belongs beside the corrected root.",
        ),
        (
            "decay-coupled",
            _other_decay,
            "the weight decay is coupled: it was added to the gradient and divided with it. "
            "Decoupled it is θ ← θ − lr λ θ, apart from the gradient.",
        ),
        (
            "decay-decoupled",
            _decoupled,
            "the weight decay is decoupled: here it belongs into the gradient, g + λ θ.",
        ),
        (
            "decay-without-lr",
            _decay_without_lr,
            "the decoupled weight decay is not multiplied by lr.",
        ),
        ("decay-missing", lambda e: run(e, weight_decay=0.0), "there is no weight decay."),
        ("betas-swapped", _swapped_betas, "β₁ and β₂ have changed places."),
        ("amsgrad-missing", lambda e: run(e, amsgrad=False), "amsgrad has no effect."),
        ("nesterov-missing", lambda e: run(e, nesterov=False), "nesterov has no effect."),
        ("momentum-missing", lambda e: run(e, momentum=0.0), "there is no momentum."),
        (
            "momentum-averaged",
            _averaged_momentum,
            "the momentum is an average, μ b + (1 − μ) g: here it is a sum, μ b + g.",
        ),
        ("maximize-ignored", lambda e: run(e, maximize=False), "maximize has no effect."),
    ):
        yield Rule(slug, explains(hypothesis, say))
    often = "a value that is often written"
    yield Rule("other-default", partial(other_options, DEFAULTS, who=WHO, otherwise=often))
    yield Rule(
        "other-convention",
        explains(
            _other_convention,
            "it is what the other framework computes under this name; see the ledger of "
            "differences, and the option convention.",
        ),
    )


RULES: tuple[Rule, ...] = (*_rules(),)
