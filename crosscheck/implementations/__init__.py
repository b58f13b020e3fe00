"""Witnesses behind one protocol: NumPy, PyTorch, JAX. Each framework is imported on first use."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from types import FunctionType
from typing import Any

from crosscheck.errors import UsageError, unknown
from crosscheck.evaluation import Implementation
from crosscheck.implementations.conventions import CONVENTIONS, Calling, Naming, notebook, plausible
from crosscheck.implementations.conventions.methods import with_usual_names
from crosscheck.implementations.conventions.signatures import is_numpys, required
from crosscheck.implementations.jax_function import JaxImplementation
from crosscheck.implementations.made import Made
from crosscheck.implementations.numpy_layer import NumpyImplementation
from crosscheck.implementations.optimizer_convention import optax_subject, optimizer, torch_subject
from crosscheck.implementations.torch_module import (
    TorchImplementation,
    from_subject,
    is_of,
    is_torch,
)
from crosscheck.spec import Layer

#: The witnesses that have an implementation of their own in the catalogue.
ORACLES = ("torch", "jax")


@cache
def oracle(framework: str, layer: Layer) -> Implementation | None:
    """The catalogue's own twin of a layer, or None if the layer has none.

    Args:
        framework: ``"torch"`` or ``"jax"``.
        layer: the spec. Bound and compiled programs live as long as it does.
    """
    if framework == "torch":
        return None if layer.torch is None else TorchImplementation(layer.torch)
    if framework == "jax":
        return None if layer.jax is None else JaxImplementation(layer.jax)
    raise UsageError(f"unknown framework {framework!r}: there is {', '.join(ORACLES)}")


def forget() -> None:
    """Let go of the twins of every layer, of what was compiled for them and what they said."""
    from crosscheck.implementations.remembered import RECENT

    RECENT.clear()
    oracle.cache_clear()
    reference.cache_clear()


@cache
def reference(layer: Layer) -> NumpyImplementation | None:
    """reference_nn's class for a layer, or None if it has none."""
    import reference_nn

    found = getattr(reference_nn, layer.reference or layer.name, None)
    if found is None:
        return None
    return NumpyImplementation(found, layer.convention or notebook, name="reference_nn")


def subject(
    given: Any, layer: Layer, convention: Calling | None = None, strict: bool = True
) -> Implementation:
    """What somebody passed as the implementation under test, behind the protocol.

    Args:
        given: a class or object with forward and backward (NumPy), a pair of such functions; a
            ``torch.nn.Module`` class or object, a ``torch.autograd.Function`` class; a function of
            arrays (JAX); a module class or object of Flax or Equinox; a function of one argument
            called ``problem`` that makes any of these; an `Implementation`; ``"torch"`` or
            ``"jax"`` for the catalogue's own twin; None for reference_nn's layer.
        layer: the spec.
        convention: how a NumPy subject is called, or the name of a built-in convention; guessed by
            default, see `crosscheck.implementations.conventions`. Or a mapping from parameters (and
            ``grad_<parameter>``) to the attributes that hold them: the rest is guessed.
        strict: refuse options that the subject does not have, see `NumpyImplementation`.

    Raises:
        UsageError: it is none of these.
    """
    if given is None:
        found = reference(layer)
        if found is None:
            raise UsageError(f"reference_nn has no {layer.name}: pass an implementation")
        return found
    if isinstance(given, str):
        twin = oracle(given, layer)
        if twin is None:
            raise UsageError(f"{layer.name} has no {given} twin")
        return twin
    if isinstance(convention, str) and convention not in CONVENTIONS:
        raise unknown("convention", convention, CONVENTIONS)
    if isinstance(convention, Mapping):
        names = layer.problem().given
        for name in convention:
            if name.removeprefix("grad_") not in names:
                raise unknown(f"array of {layer.name}", name, names)
        return NumpyImplementation(given, None, strict=strict, naming=Naming(dict(convention)))
    if convention is not None:
        return NumpyImplementation(given, convention, strict=strict)
    if layer.convention is not None and not hasattr(given, "bind"):
        if layer.convention is optimizer and is_torch(given):
            return torch_subject(given, strict)
        makes = isinstance(given, FunctionType) and required(given) < 2  # else it is an update rule
        if layer.convention is optimizer and makes:
            return optax_subject(given, strict)
        return NumpyImplementation(given, layer.convention, strict=strict)
    if hasattr(given, "bind") and hasattr(given, "name") and not isinstance(given, type):
        return given  # type: ignore[no-any-return]
    if is_torch(given):
        return from_subject(given, strict)
    if is_of(given, "flax"):
        from crosscheck.implementations.adapters import flax_module

        return flax_module.from_subject(given, strict)
    if is_of(given, "equinox"):
        from crosscheck.implementations.adapters import equinox_module

        return equinox_module.from_subject(given, strict)
    if _makes(given):
        return Made(given, lambda made: subject(made, layer, convention, strict))
    one_layer = not any("." in name for name in layer.problem().parameters)
    renamed = with_usual_names(given) if one_layer else None
    if renamed is not None:
        return NumpyImplementation(renamed, None, strict=strict)
    if plausible(given):
        return NumpyImplementation(given, None, strict=strict)
    if callable(getattr(given, "forward", None)):
        name = getattr(given, "__name__", type(given).__name__)
        raise UsageError(f"{name} has a forward but no backward: there is nothing to check")
    if callable(given) and not isinstance(given, type):
        if layer.group == "losses" and is_numpys(given):
            return NumpyImplementation(given, None, strict=strict)
        name = getattr(given, "__name__", type(given).__name__)
        return JaxImplementation(given, name, takes_problem=False)
    raise UsageError(
        f"{given!r} is no implementation: pass a class with forward and backward, a pair of "
        "functions, a torch module or autograd function, or a JAX function; for another calling style give a convention"
    )


def _makes(given: Any) -> bool:
    """Whether it is a function of the problem: no array of a layer is called so."""
    return inspect.isfunction(given) and [*inspect.signature(given).parameters] == ["problem"]
