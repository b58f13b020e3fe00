"""Scalings: what a course may do otherwise without being wrong, declared as part of its convention.

A mean over the batch inside the layer, half a squared error, gradients that accumulate, weights kept
transposed: declared, they are undone before anything is compared. Undeclared, they are told apart from
mistakes by their pattern (`one_factor`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from crosscheck.implementations.conventions.call import Call, Convention, Running
from crosscheck.spec import Array, Problem

#: Ratios that are equal up to this share are called equal: a pattern is looked for, not a verdict.
ALIKE = 1e-3
#: Constants that a course may put before a loss: ½ (x - y)².
CONSTANTS = (1.0, 0.5, 2.0)


class ScaleError(ValueError):
    """A declared factor is no product of sizes and numbers."""


def declared(
    convention: Convention,
    *,
    scale: Mapping[str, str] | None = None,
    accumulates: bool = False,
    transposed: Sequence[str] = (),
) -> Convention:
    """A convention whose scalings are declared.

    Args:
        convention: how the code is called.
        scale: quantity (``output``, ``grad_weights``) → its factor over the canonical one, as
            arithmetic over axis names: ``"1/batch"``, ``"1/2"``, ``"batch*features"``.
        accumulates: whether a second backward adds to the gradients of the first.
        transposed: the parameters that are kept transposed.
    """
    factors = dict(scale or {})

    def scaled(subject: Any, call: Call) -> Running:
        if transposed:
            both = {**call.naming.turned, **dict.fromkeys(transposed, (1, 0))}
            call.naming = replace(call.naming, turned=both)
        running = convention(subject, call)
        found = next(running)
        upstream = yield {n: _divided(a, n, factors, call.problem) for n, a in found.items()}
        before = _left(call) if accumulates else {}
        gradients = dict(running.send(upstream))
        running.close()
        for name, array in before.items():
            if name in gradients:
                gradients[name] = np.asarray(gradients[name]) - array
        yield {n: _divided(a, f"grad_{n}", factors, call.problem) for n, a in gradients.items()}

    return scaled


def factor(text: str, problem: Problem) -> float:
    """The value of a declared factor.

    Raises:
        ScaleError: it is no arithmetic (``* /`` and parentheses) over axis names and numbers.
    """

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in problem.sizes:
                return float(problem.sizes[name])
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return value(left) / value(right)
            case _:
                raise ScaleError(
                    f"{text!r} is no factor: axis names ({', '.join(problem.sizes)}), numbers, * and / only"
                )

    try:
        return value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ZeroDivisionError) as error:
        raise ScaleError(f"{text!r} is no factor: {error}") from None


def one_factor(
    ratios: Sequence[float],
    sizes: Sequence[Mapping[str, int]],
    axes: Sequence[str],
    constants: Sequence[float] = CONSTANTS,
) -> str | None:
    """The factor k·a^±1·b^±1 that all ratios are, k one of `constants`; None if there is none.

    Args:
        ratios: got / expected, one per case.
        sizes: the sizes of each case.
        axes: the axes that may be in it.
        constants: what may stand before them.
    """
    logs = np.log(ratios) if all(r > 0 for r in ratios) else None
    if logs is None or not len(logs):
        return None
    for powers in sorted(product((0, -1, 1), repeat=len(axes)), key=lambda p: sum(map(abs, p))):
        known = np.array(
            [sum(p * np.log(s[a]) for a, p in zip(axes, powers, strict=True)) for s in sizes]
        )
        for constant in constants:
            if constant == 1.0 and not any(powers):
                continue
            if np.all(np.abs(logs - known - np.log(constant)) < ALIKE):
                return _written(constant, axes, powers)
    return None


def ratio(got: Array, expected: Array) -> float | None:
    """k if got = k · expected in every element, else None."""
    if got.shape != expected.shape or not got.size:
        return None
    one, other = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    square = float(other @ other)
    if not square or not np.isfinite(one).all():
        return None
    k = float(one @ other) / square
    largest = float(np.max(np.abs(other)))
    return k if np.max(np.abs(one - k * other)) <= ALIKE * abs(k) * largest else None


def _written(constant: float, axes: Sequence[str], powers: Sequence[int]) -> str:
    above = [a for a, p in zip(axes, powers, strict=True) if p > 0]
    below = [a for a, p in zip(axes, powers, strict=True) if p < 0]
    above = (["2"] if constant == 2.0 else []) + above
    below = (["2"] if constant == 0.5 else []) + below
    under = "*".join(below)
    return ("*".join(above) or "1") + (
        f"/({under})" if len(below) > 1 else f"/{under}" if below else ""
    )


def _left(call: Call) -> dict[str, Array]:
    """Copies of the gradients that an earlier backward left on the object."""
    found = {}
    for name in call.problem.parameters:
        value = None if call.layer is None else call.gradient_of(call.layer, name)
        if isinstance(value := call.unwrap(value), np.ndarray):
            found[name] = np.array(call.canonical(name, value))
    return found


def _divided(array: Any, name: str, factors: Mapping[str, str], problem: Problem) -> Any:
    if name not in factors or array is None:
        return array
    found = np.asarray(array)
    if found.dtype.kind != "f":
        return array
    return (found / factor(factors[name], problem)).astype(found.dtype)
