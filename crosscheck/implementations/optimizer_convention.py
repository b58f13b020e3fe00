"""Optimizers, schedules and clipping as implementations: how they are called.

An optimizer is asked for the weights after each of several steps, from its first, on gradients that are
given: everything it carries from step to step (moments, a count) shows in the weights, and nobody's
names for it are imposed. A class of somebody's own is used as this project's are::

    optimizer = MyAdam(parameters, lr=0.1)      # a list of arrays, changed in place
    optimizer.step(gradients)                   # a list of arrays, in the same order

or ``step(parameters, gradients)``, or ``step()`` with the constructor given a list of one layer
whose ``get_params()`` returns both lists; a step that returns a list returns the new parameters. The
method may be called ``update``, and take dictionaries where lists do not do. An update rule is a
function of one parameter, ``w, config = adam(w, dw, config)``, whose state is in the dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from inspect import isfunction
from typing import Any

import numpy as np

from crosscheck.evaluation import ImplementationError, NotOffered
from crosscheck.implementations.conventions import Call, Named, accepts, argument_names, build
from crosscheck.implementations.conventions.names import every_name
from crosscheck.implementations.conventions.signatures import words_of
from crosscheck.implementations.jax_function import JaxBound, JaxImplementation
from crosscheck.implementations.torch_module import TorchImplementation
from crosscheck.spec import Array, Problem

#: Inputs and outputs of an optimizer's entry are named after the parameters.
GRADIENTS, AFTER = "{}_gradients", "new_{}"

#: What the method that takes a step may be called.
METHODS = ("step", "update", "apply_gradients", "update_params", "optimize", "apply")

Steps = Generator[Named, tuple[Array, ...], None]


def optimizer(subject: Any, call: Call) -> Steps:
    """The weights after each step of a class that changes arrays, or of a rule; see the module."""
    names = [*call.problem.parameters]
    if isfunction(subject):
        yield {AFTER.format(name): _by_rule(subject, call, name) for name in names}
        return
    method = next((m for m in METHODS if callable(getattr(subject, m, None))), None)
    if method is None:
        raise ImplementationError(
            f"{_name_of(subject)} has no step: an optimizer is used as "
            f"{_name_of(subject)}(parameters, …).step(gradients)"
        )
    try:
        after = _walk(subject, call, method, named=False)
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        try:
            after = _walk(subject, call, method, named=True)
        except Exception:
            raise error from None
    yield {AFTER.format(n): np.stack(path) for n, path in zip(names, after, strict=True)}


def _walk(subject: Any, call: Call, method: str, named: bool) -> list[list[Array]]:
    """Parameter by parameter the weights after each step; in dictionaries or in lists."""
    names = [*call.problem.parameters]
    layer = _HeldLayer([np.array(call.values[name], order="C") for name in names])
    given = [call.values[GRADIENTS.format(name)] for name in names]
    held: Any = dict(zip(names, layer.weights, strict=True)) if named else layer.weights
    call.layer = instance = _construct(subject, call, [layer] if _asks(subject, method) else held)
    after: list[list[Array]] = [[] for _ in names]
    for at in range(len(given[0])):
        layer.gradients = [gradient[at] for gradient in given]
        gradients = dict(zip(names, layer.gradients, strict=True)) if named else layer.gradients
        returned = _step(instance, method, held, gradients)
        if isinstance(returned, Mapping) and named and {*returned} == {*names}:
            held.update(returned)
        elif isinstance(returned, list | tuple) and len(returned) == len(names):
            layer.weights[:] = [np.asarray(array) for array in returned]
        now = [held[name] for name in names] if named else layer.weights
        for path, array in zip(after, now, strict=True):
            path.append(np.array(array))
    return after


def _by_rule(rule: Callable[..., Any], call: Call, name: str) -> Array:
    """One parameter after each step of ``w, config = rule(w, dw, config)``."""
    options = call.problem.options
    if call.strict:
        known = {*argument_names(rule), *words_of(rule)}
        for option in call.problem.changed_options():
            if not known & {*every_name({option: options[option]})}:
                raise NotOffered(f"{_name_of(rule)} has no option {option!r}")
    config = every_name(dict(options))
    value, path = np.array(call.values[name], order="C"), []
    for gradient in call.values[GRADIENTS.format(name)]:
        given = (value, gradient, config) if accepts(rule, 3) else (value, gradient)
        returned = rule(*given)
        if isinstance(returned, tuple):
            returned, config = returned[0], returned[-1]
        value = value if returned is None else np.asarray(returned)
        path.append(np.array(value))
    return np.stack(path)


def _asks(subject: Any, method: str) -> bool:
    """Whether ``step()`` takes nothing, and so has to ask layers for parameters and gradients."""
    if not isinstance(subject, type):
        return False
    step: Callable[..., Any] = vars(subject).get(method) or getattr(subject, method)
    return accepts(step, 1) and not accepts(step, 2) and not accepts(step, 3)


class _HeldLayer:
    """What an optimizer sees of a layer: its arrays and their gradients."""

    def __init__(self, weights: list[Array]) -> None:
        self.weights = weights
        self.gradients: list[Array] = [np.zeros_like(array) for array in weights]

    def get_params(self) -> tuple[list[Array], list[Array]]:
        """Both, in the same order."""
        return self.weights, self.gradients


def _construct(subject: Any, call: Call, held: Any) -> Any:
    """With the parameters first, unless its first argument is an option: then a step is given them."""
    if not isinstance(subject, type):
        return subject
    options = call.problem.options
    first_of = next(iter(argument_names(subject)), None)
    without = first_of in every_name(dict(options))
    layer = replace(call.problem.layer, constructor=() if without else (lambda problem: held,))
    return build(subject, Problem(layer, options, call.problem.sizes), call.strict)


def _step(instance: Any, method: str, weights: Any, gradients: Any) -> Any:
    step = getattr(instance, method)
    for arguments in ((gradients,), (weights, gradients), ()):
        if accepts(step, len(arguments)):
            return step(*arguments)
    raise ImplementationError(
        f"{type(instance).__name__}.{method} takes other arguments than (gradients), "
        "(parameters, gradients) or none"
    )


def schedule(subject: Any, call: Call) -> Steps:
    """``Schedule(lr, …)(step)``: the rate at each of the steps."""
    lr = call.values["lr"]
    call.layer = made = _construct_with(subject, call, float(lr))
    rates = [made(int(step)) for step in call.values["step"]]
    yield {"output": np.array(rates, dtype=lr.dtype)}


def _construct_with(subject: Any, call: Call, first: Any) -> Any:
    layer = replace(call.problem.layer, constructor=(lambda problem: first,))
    return build(subject, Problem(layer, call.problem.options, call.problem.sizes), call.strict)


def clipping(subject: Any, call: Call) -> Steps:
    """A function that changes a list of gradients in place, given the limit as second argument."""
    names = [*call.problem.inputs]
    arrays = [np.array(call.values[name], order="C") for name in names]
    limit, *rest = call.problem.options.items()
    returned = subject(arrays, limit[1], **dict(rest))
    found: dict[str, Any] = {f"clipped_{n}": a for n, a in zip(names, arrays, strict=True)}
    if "norm" in call.problem.outputs:
        found["norm"] = np.asarray(returned, dtype=arrays[0].dtype)
    yield found


# --- the frameworks' own ----------------------------------------------------------------------


def torch_steps(make: Callable[[Problem, list[Any]], Any]) -> Callable[[Problem], Any]:
    """The torch twin of an optimizer's entry.

    Args:
        make: from the problem and a list of ``torch.nn.Parameter`` to a ``torch.optim.Optimizer``.
    """

    def twin(p: Problem) -> Any:
        def run(**tensors: Any) -> dict[str, Any]:
            import torch

            leaves = [torch.nn.Parameter(tensors[name].clone()) for name in p.parameters]
            made = make(p, leaves)
            after: dict[str, list[Any]] = {name: [] for name in p.parameters}
            count = len(tensors[GRADIENTS.format(next(iter(after)))])
            for at in range(count):
                for name, leaf in zip(after, leaves, strict=True):
                    leaf.grad = tensors[GRADIENTS.format(name)][at].clone()
                made.step()
                for name, leaf in zip(after, leaves, strict=True):
                    after[name].append(leaf.detach().clone())
            return {AFTER.format(name): torch.stack(path) for name, path in after.items()}

        return run

    return twin


def optax_steps(make: Callable[[Problem], Any]) -> Callable[..., Any]:
    """The JAX twin of an optimizer's entry.

    Args:
        make: from the problem to an ``optax.GradientTransformation``.
    """

    def twin(p: Problem, **arrays: Any) -> dict[str, Any]:
        import jax
        import optax

        made = make(p)
        weights = {name: arrays[name] for name in p.parameters}
        gradients = {name: arrays[GRADIENTS.format(name)] for name in p.parameters}

        def step(carry: Any, gradient: Any) -> Any:
            params, state = carry
            updates, state = made.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        _, after = jax.lax.scan(step, (weights, made.init(weights)), gradients)
        return {AFTER.format(name): path for name, path in after.items()}

    return twin


def torch_subject(subject: Any, strict: bool) -> TorchImplementation:
    """Somebody's ``torch.optim.Optimizer`` class under test."""

    def make(p: Problem, leaves: list[Any]) -> Any:
        layer = replace(p.layer, constructor=(lambda problem: leaves,))
        return build(subject, Problem(layer, p.options, p.sizes), strict)

    def twin(p: Problem) -> Any:
        import torch

        # Constructed once beforehand, so that a missing option is known before any call.
        make(p, [torch.nn.Parameter(torch.zeros(t.shape(p))) for t in p.parameters.values()])
        return torch_steps(make)(p)

    return TorchImplementation(twin, _name_of(subject))


def optax_subject(subject: Callable[..., Any], strict: bool) -> JaxImplementation:
    """A function that makes an ``optax.GradientTransformation`` out of the options it takes."""

    def make(p: Problem) -> Any:
        layer = replace(p.layer, constructor=())
        made = build(subject, Problem(layer, p.options, p.sizes), strict)  # type: ignore[arg-type]
        if not (hasattr(made, "init") and hasattr(made, "update")):
            raise ImplementationError(
                f"{_name_of(subject)} made {type(made).__name__}; expected an optax transformation"
            )
        return made

    class Subject(JaxImplementation):
        def bind(self, problem: Problem) -> JaxBound:
            make(problem)  # a missing option is known before any call
            return super().bind(problem)

    return Subject(optax_steps(make), _name_of(subject))


def _name_of(subject: Any) -> str:
    return str(getattr(subject, "__name__", type(subject).__name__))


def options_of(p: Problem, *names: str, **renamed: str) -> Mapping[str, Any]:
    """Options of a problem by keyword: those named, and ``theirs="ours"``."""
    return {name: p[name] for name in names} | {theirs: p[ours] for theirs, ours in renamed.items()}
