"""What a signature says of somebody's function: which arguments it takes, and how many."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """`inspect.signature`, remembered: for a class without a constructor it parses text every time.

    Raises:
        TypeError, ValueError: there is none.
    """
    bare = getattr(function, "__func__", None)
    try:
        if inspect.ismethod(function) and bare is not None:
            return _bound_signature(bare)
        return _signature(function)
    except TypeError:  # not hashable, or really none
        return inspect.signature(function)


@lru_cache(512)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if type(function) is type and not hasattr(function, "__signature__"):
        own = [vars(base) for base in function.__mro__[:-1]]
        if not any("__init__" in names or "__new__" in names for names in own):
            return inspect.Signature()  # found the long way by parsing text
    return inspect.signature(function)


@lru_cache(512)
def _bound_signature(function: Callable[..., Any]) -> inspect.Signature:
    if type(function) is FunctionType:
        whole = _signature(function)
        given = [*whole.parameters.values()]
        if given and given[0].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            return whole.replace(parameters=given[1:])  # not parsed a second time
    return inspect.signature(MethodType(function, object()))


def accepts(function: Callable[..., Any], positional: int) -> bool:
    """Whether a function can be called with that many positional arguments."""
    bare = getattr(function, "__func__", function)
    if isinstance(bare, FunctionType | type):  # a bound method is another object at every access
        return _accepts(bare, positional + (bare is not function))
    return _binds(function, positional)


def _binds(function: Callable[..., Any], positional: int) -> bool:
    try:
        signature(function).bind(*range(positional))
    except TypeError:
        return False
    except ValueError:  # built-in without a signature
        return True
    return True


_accepts = lru_cache(maxsize=512)(_binds)


def method_accepts(subject: Any, method: str, positional: int) -> bool:
    """Whether a method of a class (or of an object) can be called with that many arguments."""
    function = getattr(subject, method, None)
    if function is None:
        return False
    bare = inspect.getattr_static(subject, method, None)
    bound = not isinstance(subject, type) or isinstance(bare, staticmethod | classmethod)
    return accepts(function, positional + (not bound))


def required(function: Callable[..., Any]) -> int:
    """How many positional arguments have no default."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional arguments, without ``self``; empty where there is no signature."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):
        return ()
    return tuple(
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    )


def words_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names and strings that a function's code mentions, those of inner functions included."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return tuple(dict.fromkeys(_words(code))) if code is not None else ()


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, CodeType):
            yield from _words(constant)


#: JAX and what is built on it.
JAX = ("jax", "jaxlib", "flax", "equinox", "haiku", "optax", "chex", "distrax", "e3nn_jax")


def is_numpys(given: Any) -> bool:
    """Whether it is a function whose code mentions NumPy and not JAX."""
    if not inspect.isfunction(given):
        return False
    known = inspect.getclosurevars(given)
    modules = {
        getattr(value, "__name__", "").partition(".")[0] if inspect.ismodule(value)
        else str(getattr(value, "__module__", "")).partition(".")[0]
        for value in (*known.globals.values(), *known.nonlocals.values())
    }  # fmt: skip
    return "numpy" in modules and not modules & {*JAX}
