"""What the entries of optimizers share: their arrays, and rules written for PyTorch or JAX.

Where PyTorch and optax compute different things under one name, an entry has the option
``convention``. Under ``"torch"`` the torch twin is torch.optim's class itself, and the JAX twin is
written here for optax, as a rule; under ``"jax"`` it is the other way round. So each of the two
formulas has a framework's own implementation as a witness, and one more beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crosscheck.implementations.optimizer_convention import (
    AFTER,
    GRADIENTS,
    optax_steps,
    optimizer,
    torch_steps,
)
from crosscheck.spec import Array, Layer, Problem, SpecialCase, Tensor

#: Steps of a case: past the sixth, where RAdam with its defaults begins to divide.
STEPS = 8
#: Two of one shape, so that a state which they share shows in the numbers and not only in a shape.
#: Of fixed sizes: these optimizers treat every element alike.
ELEMENTS: Mapping[str, str] = {"weight": "3 2", "other_weight": "3 2", "bias": "2"}
#: For optimizers that see rows and columns: tall and wide.
MATRICES: Mapping[str, str] = {"weight": "4 2", "wide_weight": "2 3"}
#: (gradient, parameter, state, step from 1, problem) → (update to subtract, new state).
Rule = Callable[[Any, Any, Any, Any, Problem], tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class OptimizerEntry(Layer):
    """The entry of an optimizer, with what makes it, for training.

    Attributes:
        make_torch: from the problem and a list of ``torch.nn.Parameter`` to the optimizer.
        make_optax: from the problem to the optax transformation.
    """

    make_torch: Callable[[Problem, list[Any]], Any] | None = None
    make_optax: Callable[[Problem], Any] | None = None


def optimizer_entry(
    name: str,
    options: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    torch: Callable[[Problem, list[Any]], Any],
    jax: Callable[[Problem], Any],
    weights: Mapping[str, str] = ELEMENTS,
) -> OptimizerEntry:
    """The entry of an optimizer.

    Args:
        name, options: torch.optim's.
        variants: as in `Layer`.
        torch: from the problem and parameters to the optimizer.
        jax: from the problem to the optax transformation, for gradients to be minimised.
        weights: parameter → axes.
    """

    def maximizing(p: Problem) -> Any:
        import optax

        return optax.chain(optax.scale(-1.0), jax(p)) if p.options.get("maximize") else jax(p)

    return OptimizerEntry(
        name,
        make_torch=torch,
        make_optax=maximizing,
        inputs={
            GRADIENTS.format(n): Tensor(f"{STEPS} {axes}", differentiable=False)
            for n, axes in weights.items()
        },
        parameters={n: Tensor(axes, differentiable=False) for n, axes in weights.items()},
        outputs={
            AFTER.format(n): Tensor(f"{STEPS} {axes}", differentiable=False)
            for n, axes in weights.items()
        },
        constructor=(_zeros,),
        options=options,
        variants=variants,
        pairs=False,
        torch=torch_steps(torch),
        jax=optax_steps(maximizing),
        group="optimizers",
        special={"tiny gradients": _tiny, "zero gradients": _some_zero},
        follows="torch" if "convention" in options else None,
        convention=optimizer,
        needs={"jax": ("optax",)},
    )


def _zeros(p: Problem) -> list[Array]:
    """Parameters to try a constructor with."""
    return [np.zeros(tensor.shape(p)) for tensor in p.parameters.values()]


def _of_gradients(change: Callable[[np.random.Generator, Array], Array]) -> SpecialCase:
    def special(rng: np.random.Generator, p: Problem, values: dict[str, Array]) -> dict[str, Array]:
        return {**values, **{name: change(rng, values[name]) for name in p.inputs}}

    return special


#: As small as an eps of 1e-8: where it stands decides the step.
_tiny = _of_gradients(lambda rng, g: g * 1e-8)
#: Some elements have had no gradient yet at the first steps, a whole row among them at every step.
_some_zero = _of_gradients(
    lambda rng, g: np.where((rng.random(g.shape) < 0.3) | (np.arange(g.shape[1]) == 0).reshape(
        (1, -1) + (1,) * (g.ndim - 2)), 0.0, g)
)  # fmt: skip


def by_rule(
    p: Problem, rule: Rule, start: Callable[[Any], Any] | None = None, decoupled: bool = False
) -> Any:
    """An optax transformation out of a rule for one parameter.

    Args:
        p: the problem; its ``weight_decay`` is coupled unless `decoupled`.
        rule: see `Rule`.
        start: the state of a parameter; two arrays of zeros by default.
        decoupled: lr times weight_decay times the parameter is subtracted besides.
    """
    import jax.numpy as jnp
    import optax

    def init(params: Any) -> Any:
        made = {k: start(a) if start else (a * 0, a * 0) for k, a in params.items()}
        return jnp.zeros((), jnp.int32), made

    def update(gradients: Any, state: Any, params: Any) -> Any:
        count, each = state
        found = {k: rule(g, params[k], each[k], count + 1, p) for k, g in gradients.items()}
        updates = {k: -u.astype(gradients[k].dtype) for k, (u, _) in found.items()}
        kept = {
            k: tuple(jnp.asarray(a, b.dtype) for a, b in zip(s, each[k], strict=True))
            for k, (_, s) in found.items()
        }
        return updates, (count + 1, kept)

    wd = p.options.get("weight_decay", 0.0)
    own = optax.GradientTransformation(init, update)
    if not wd:
        return own
    if decoupled:
        return optax.chain(own, optax.add_decayed_weights(-p.lr * wd))
    return optax.chain(optax.add_decayed_weights(wd), own)


def torch_rule(
    p: Problem,
    leaves: list[Any],
    rule: Rule,
    start: Callable[[Any], Any] | None = None,
    decoupled: bool = False,
) -> Any:
    """A torch optimizer out of a rule for one parameter; arguments as of `by_rule`."""
    import torch

    wd = p.options.get("weight_decay", 0.0)

    class Ruled(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> None:
            with torch.no_grad():
                for leaf in leaves:
                    self.change(leaf)

        def change(self, leaf: Any) -> None:
            if leaf not in self.state:
                made = start(leaf) if start else (leaf * 0, leaf * 0)
                self.state[leaf] = {"step": 0, "own": made}
            state = self.state[leaf]
            state["step"] += 1
            g = -leaf.grad if p.options.get("maximize") else leaf.grad
            if wd and not decoupled:
                g = g + wd * leaf
            move, state["own"] = rule(g, leaf, state["own"], state["step"], p)
            if wd and decoupled:
                move = move + p.lr * wd * leaf
            leaf -= move

    return Ruled(leaves, {})


def torch_class(name: str, *options: str, **renamed: str) -> Callable[[Problem, list[Any]], Any]:
    """``torch.optim.<name>`` with options that are called alike, and ``theirs="ours"``."""

    def make(p: Problem, leaves: list[Any]) -> Any:
        import torch

        keywords = {o: p[o] for o in options} | {theirs: p[our] for theirs, our in renamed.items()}
        return getattr(torch.optim, name)(leaves, **keywords)

    return make
