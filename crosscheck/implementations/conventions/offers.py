"""What a subject is not written for: options, forms of inputs and kernels that are refused by name.

That is no mistake of it, and no agreement either: the report says what was not checked, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isfunction
from typing import Any, TypeAlias

from crosscheck.evaluation import NotOffered, OneNumber
from crosscheck.implementations.conventions.names import SETTINGS, every_name
from crosscheck.implementations.conventions.signatures import argument_names, words_of
from crosscheck.sampling import with_even_kernel
from crosscheck.spec import Problem

#: Whether the subject's forward gives outputs of the declared shapes.
Fits: TypeAlias = Callable[[Problem], bool]


class Offers:
    """What one subject is written for.

    Args:
        subject: a class, an object, functions.
        name: what reports call it.
    """

    def __init__(self, subject: Any, name: str) -> None:
        self.function = subject[0] if isinstance(subject, tuple) else subject
        self.name = name
        self._forms: dict[tuple[str, Any], Any] = {}

    def require(self, problem: Problem, fits: Fits) -> None:
        """That it is written for a problem, as far as this can be told without judging its numbers.

        Raises:
            NotOffered: a function lacks an option; an option has a value of another kind than its
                default (``padding="same"``), and with it nothing fits; the inputs have more or
                fewer axes than it is written for.
            OneNumber: a function takes kernels of one size along all axes.
        """
        even = with_even_kernel(problem)
        if isfunction(self.function):
            self._require_options(problem)
            if even is not None and not fits(problem) and fits(even):
                raise OneNumber(f"{self.name} takes kernels of one size along all axes")
        odd, usual = _of_another_kind(even or problem)
        if odd and not fits(even or problem) and fits(usual):
            listed = ", ".join(f"{name}={value!r}" for name, value in odd.items())
            raise NotOffered(f"{self.name} does not take {listed}")
        for name in problem.layer.forms:
            key = name, problem.options[name]
            if key not in self._forms:  # asked once: of an axis of size 1 any form seems to fit
                self._forms[key] = None if fits(problem) else _other_form(problem, name, fits)
            if self._forms[key] is not None:
                raise NotOffered(f"{self.name} is written for {name}={self._forms[key]}")

    def _require_options(self, problem: Problem) -> None:
        """An option that changes which arrays there are is left to the call: they fit it or not."""
        layer = problem.layer
        known = {*argument_names(self.function)}
        if any(name.endswith(SETTINGS) for name in known):
            known |= {*words_of(self.function)}
        for name in set(problem.changed_options()).difference(layer.forms):
            plain = layer.problem({**problem.options, name: layer.options[name]}, problem.sizes)
            if not known & {*every_name({name: problem.options[name]})} and [*plain.given] == [
                *problem.given
            ]:
                raise NotOffered(f"{self.function.__name__} has no option {name!r}")


def _of_another_kind(problem: Problem) -> tuple[dict[str, Any], Problem]:
    """The options that are a text, a tuple or None and might be a number; the problem with numbers."""
    layer, odd, numbers = problem.layer, {}, dict(problem.options)
    for name, value in problem.options.items():
        known = (v[name] for v in (layer.options, *layer.variants) if name in v)
        number = next((v for v in known if isinstance(v, int | float)), None)
        if isinstance(value, str | tuple | None) and number is not None:
            odd[name], numbers[name] = value, number
    return odd, layer.problem(numbers, problem.sizes)


def _other_form(problem: Problem, name: str, fits: Fits) -> Any:
    """The value of an option that says the form of the inputs, under which a forward fits; or None."""
    layer = problem.layer
    for value in {v[name] for v in (layer.options, *layer.variants) if name in v}:
        options = {**problem.options, name: value}
        sizes = {axis: problem.sizes.get(axis, 3) for axis in layer.axes(options)}
        if value != problem.options[name] and fits(layer.problem(options, sizes)):
            return value
    return None
