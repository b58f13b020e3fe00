"""Equinox modules as the subject: a class, constructed per problem, or an object.

Equinox's own layers take one sample: where the layer's inputs and outputs begin with the axis
``batch`` the call is mapped over it, unless the module says with an attribute ``batched = True``
that it takes a whole batch.
"""

from __future__ import annotations

from typing import Any

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.adapters.jax_modules import (
    NAMES,
    ModuleImplementation,
    arranged,
    constructed,
)
from crosscheck.spec import Problem


def from_subject(subject: Any, strict: bool) -> ModuleImplementation:
    """An ``equinox.Module`` class or object as an implementation."""

    def function(problem: Problem, **arrays: Any) -> Any:
        import jax

        module = subject
        if isinstance(subject, type):
            module = constructed(subject, problem, {"key": jax.random.PRNGKey(0)})
        for name in (*problem.parameters, *problem.buffers):
            module = _put(module, problem, name, arrays[name])
        inputs = [arrays[name] for name in problem.inputs]
        mapped = _batched(problem) and not getattr(module, "batched", False)
        return (jax.vmap(module) if mapped else module)(*inputs)

    return ModuleImplementation(function, subject, strict)


def _batched(problem: Problem) -> bool:
    """Whether every input begins with the axis ``batch``, and every output with its size."""
    inputs = all(
        isinstance(t.axes, str) and t.axes.split()[:1] == ["batch"] for t in problem.inputs.values()
    )
    shapes = [tensor.shape(problem) for tensor in problem.outputs.values()]
    return inputs and all(shape and shape[0] == problem.sizes["batch"] for shape in shapes)


def _put(module: Any, problem: Problem, name: str, array: Any) -> Any:
    import equinox

    for candidate, value in arranged(problem, name, array):
        held: Any = getattr(module, candidate, None)
        if hasattr(held, "shape") and held.size == value.size:
            # A convolution's bias is held as (channels, 1, 1).
            fitted = value.reshape(held.shape)
            return equinox.tree_at(lambda m, at=candidate: getattr(m, at), module, fitted)
    arrays = sorted(k for k, v in vars(module).items() if hasattr(v, "shape"))
    raise ImplementationError(
        f"{type(module).__name__} has no array for the parameter {name!r} (looked for "
        f"{', '.join((name, *NAMES.get(name, ())))}); it has {', '.join(arrays) or 'none'}"
    )
