"""Flax modules as the subject, of ``flax.linen`` or ``flax.nnx``: a class or an object.

A linen module gets the parameters by `apply`, an nnx module by `update`. Parameters are found by
the last word of their path: ``kernel`` stands for the catalogue's ``weights``. Flax's images have
their channels last; such a layer is checked as a function that transposes (docs/pytest.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.adapters.jax_modules import (
    NAMES,
    ModuleImplementation,
    arranged,
    constructed,
)
from crosscheck.spec import Problem

Path = tuple[Any, ...]


def from_subject(subject: Any, strict: bool) -> ModuleImplementation:
    """A module class or object of either API as an implementation."""
    from flax import nnx

    kind = subject if isinstance(subject, type) else type(subject)
    run = _nnx if issubclass(kind, nnx.Module) else _linen

    def function(problem: Problem, **arrays: Any) -> Any:
        return run(subject, problem, arrays)

    return ModuleImplementation(function, subject, strict)


def _linen(subject: Any, problem: Problem, arrays: Mapping[str, Any]) -> Any:
    import jax
    from flax.traverse_util import flatten_dict, unflatten_dict

    module = constructed(subject, problem) if isinstance(subject, type) else subject
    inputs = [arrays[name] for name in problem.inputs]
    declared = jax.eval_shape(module.init, jax.random.PRNGKey(0), *inputs).get("params", {})
    shapes = {path: leaf.shape for path, leaf in flatten_dict(declared).items()}
    found = _matched(problem, arrays, shapes, _name(subject))
    return module.apply({"params": unflatten_dict(found)}, *inputs)


def _nnx(subject: Any, problem: Problem, arrays: Mapping[str, Any]) -> Any:
    from flax import nnx

    module = subject
    if isinstance(subject, type):
        module = constructed(subject, problem, {"rngs": nnx.Rngs(0)})
    graph, state = nnx.split(module)
    flat = dict(nnx.to_flat_state(state))
    shapes = {
        path: leaf.get_value().shape for path, leaf in flat.items() if isinstance(leaf, nnx.Param)
    }
    found = _matched(problem, arrays, shapes, _name(subject))
    new = {
        path: leaf.replace(found[path]) if path in found else leaf for path, leaf in flat.items()
    }
    merged = nnx.merge(graph, nnx.from_flat_state(new))
    return merged(*(arrays[name] for name in problem.inputs))


def _name(subject: Any) -> str:
    return str(getattr(subject, "__name__", type(subject).__name__))


def _matched(
    problem: Problem, arrays: Mapping[str, Any], shapes: Mapping[Path, Any], name: str
) -> dict[Path, Any]:
    """Each of the module's parameters with the case's array for it.

    Raises:
        ImplementationError: the module's parameters are not the layer's.
    """
    lasts = [str(path[-1]) for path in shapes]
    own = {
        last if lasts.count(last) == 1 else ".".join(map(str, path)): path
        for path, last in zip(shapes, lasts, strict=True)
    }
    found: dict[Path, Any] = {}
    for parameter in (*problem.parameters, *problem.buffers):
        for candidate, value in arranged(problem, parameter, arrays[parameter]):
            path = own.get(candidate)
            if path is not None and path not in found and shapes[path] == value.shape:
                found[path] = value
                break
        else:
            held = ", ".join(f"{key} {shapes[path]}" for key, path in own.items()) or "none"
            raise ImplementationError(
                f"{name} has no parameter for {parameter!r} of shape {arrays[parameter].shape} "
                f"(looked for {', '.join((parameter, *NAMES.get(parameter, ())))}); it has {held}"
            )
    left = [key for key, path in own.items() if path not in found]
    if left:
        raise ImplementationError(f"{name} has parameters that the layer lacks: {', '.join(left)}")
    return found
