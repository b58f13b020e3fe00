"""Hand-written NumPy layers as an implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from crosscheck.evaluation import Evaluation, ImplementationError, NotOffered
from crosscheck.implementations.conventions import (
    Call,
    Convention,
    Guess,
    Naming,
    build,
    construction,
    notebook,
    settle,
)
from crosscheck.implementations.conventions.call import peculiar
from crosscheck.implementations.conventions.guess import gives_the_shape
from crosscheck.implementations.conventions.layouts import said
from crosscheck.implementations.conventions.offers import Offers
from crosscheck.implementations.foreign import ForeignCode
from crosscheck.spec import Array, Problem, Values


class NumpyImplementation:
    """A class (or an object, or functions under a convention) that computes with NumPy.

    Args:
        subject: what the convention is given; a class is constructed anew for every evaluation.
        convention: how it is called (`crosscheck.implementations.conventions`), or the name of a
            built-in one; None: guessed at the first problem, and said in `notes`.
        name: what reports call it; the class's name by default.
        strict: an option that the class does not have is refused (`NotOffered`); otherwise the class
            is taken to be written for the options of the problem.
        naming: what is known of its names and constructor.
        around: makes the convention that is used of the one that was given or guessed.
    """

    def __init__(
        self,
        subject: Any,
        convention: Convention | str | None = notebook,
        name: str = "",
        strict: bool = False,
        naming: Naming | None = None,
        around: Callable[[Convention], Convention] | None = None,
    ) -> None:
        self.subject = subject
        self.guessed: Guess | None = None
        self.strict = strict
        self.naming = naming or Naming()
        self._said: tuple[str, ...] = ()
        self._offers = Offers(subject, name or _name_of(subject))
        self._given = convention
        self._around = around
        self._convention: Convention | None = None
        self._name = name or _name_of(subject)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken to be so without having been said; known after the first `bind`."""
        found = []
        if self.guessed is not None:
            found.append(f"called by the convention {self.guessed.name!r}: {self.guessed.why}")
        return (*found, *self._said)

    @property
    def convention(self) -> Convention:
        """The convention that is used; the notebook's before a guess."""
        given = self._given if callable(self._given) else notebook
        return self._convention or given

    def settle(self, problem: Problem) -> None:
        """Decide on a convention and on what is kept transposed, once."""
        if self._convention is not None:
            return
        naming = given = self.naming
        found = self._given
        if not callable(found):
            self.guessed, naming = settle(self.subject, problem, naming, found)
            if self.guessed is None:
                raise ImplementationError(
                    f"{self.name} has a forward but no backward, or neither: nothing says how to "
                    "call it. A function is given together with its backward: (forward, backward)"
                )
            found = self.guessed.convention
            if self._given is not None or found is notebook:
                self.guessed = None  # it was said, or is expected: nothing to say
        if self._around is not None:  # what is declared is not guessed
            naming = replace(naming, turned=self.naming.turned)
        self.naming = naming
        self._said = tuple(said(self.name, problem, given, naming))
        self._convention = found if self._around is None else self._around(found)

    def _fits(self, problem: Problem) -> bool:
        """Whether its forward gives outputs of the declared shapes."""
        if self._convention is None and not callable(self._given):
            found = settle(self.subject, problem, self.naming, self._given)[0]
            return found is not None and found.tried
        return gives_the_shape(self.convention, self.subject, problem, self.naming)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    def bind(self, problem: Problem) -> NumpyBound:
        """Try the constructor once, so that a missing option is known before any call.

        Raises:
            NotOffered: the class lacks an option of the problem.
            ImplementationError: the constructor raised.
        """
        one = isinstance(self.subject, type) and problem.layer.convention is None
        one = one and not any("." in name for name in problem.parameters)
        if one:
            construction(self.subject, problem, self.strict, self.naming)
        if self.strict:
            self._offers.require(problem, self._fits)
        self.settle(problem)
        if one:
            try:
                build(self.subject, problem, self.strict, self.naming)
            except NotOffered:
                raise
            except (Exception, SystemExit) as error:
                raise ImplementationError.during(f"{self.name}'s constructor", error) from error
        return NumpyBound(self, problem)


def _name_of(subject: Any) -> str:
    if isinstance(subject, tuple):
        return " and ".join(_name_of(part) for part in subject)
    return str(getattr(subject, "__name__", type(subject).__name__))


class NumpyBound:
    """A NumPy implementation bound to a problem."""

    def __init__(self, implementation: NumpyImplementation, problem: Problem) -> None:
        self.implementation = implementation
        self.problem = problem
        self._layer: Any = None
        #: What was returned as a subclass of np.ndarray with its own arithmetic: name → class.
        self.special: dict[str, str] = {}

    def forward(self, values: Values) -> dict[str, Array]:
        """The forward pass alone. One object serves all calls: constructing may cost more."""
        generator, outputs = self._start(self._call(values))
        generator.close()
        return outputs

    def forwards(self, points: Iterable[Values]) -> list[dict[str, Array]]:
        """What `forward` gives at each of several points, one after the other."""
        found = []
        with self._errors("forward"):
            for values in points:
                call = self._call(values)
                generator = self.implementation.convention(self.implementation.subject, call)
                found.append(self._arrays(next(generator), ""))
                generator.close()
                self._layer = call.layer
        return found

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on a newly constructed layer."""
        self._layer = None
        return self.again(values, cotangents)

    def again(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on the layer of the call before, as training would."""
        return self._finish(*self._start(self._call(values)), cotangents)

    def _finish(self, generator: Any, outputs: dict[str, Array], cotangents: Values) -> Evaluation:
        upstream = tuple(cotangents[name] for name in self.problem.differentiable_outputs)
        wanted = self.problem.differentiable
        if not wanted or not upstream:
            generator.close()
            return Evaluation(outputs, {})
        with self._errors("backward"):
            found = generator.send(upstream)
            generator.close()
        gradients = self._arrays(found, "gradient of ")
        who = self.implementation.name
        places = self.implementation.naming.attributes
        absent = {
            name: f"{who} leaves no gradient of {name}"
            + (f", which is its {places[name]}" if name in places else "")
            for name in wanted
            if name not in gradients
        }
        return Evaluation(outputs, {k: gradients[k] for k in wanted if k in gradients}, absent)

    def between(self, values: Values, others: Values, cotangents: Values) -> Evaluation | None:
        """Forward on `values`, forward on `others` with the same object, then backward of the first.

        None where the convention's backward is not handed its inputs again: there the object may
        remember them.
        """
        if self.implementation.convention is not notebook:
            return None
        self._layer = None
        generator, outputs = self._start(self._call(values))
        second, _ = self._start(self._call(others))
        second.close()
        return self._finish(generator, outputs, cotangents)

    def _call(self, values: Values) -> Call:
        of = self.implementation
        return Call(self.problem, values, self._layer, of.strict, of.naming)

    def _start(self, call: Call) -> tuple[Any, dict[str, Array]]:
        generator = self.implementation.convention(self.implementation.subject, call)
        with self._errors("forward"):
            found = next(generator)
        self._layer = call.layer
        return generator, self._arrays(found, "")

    def _errors(self, what: str) -> ForeignCode:
        return ForeignCode(f"{self.implementation.name}.{what}")

    def _arrays(self, named: Mapping[str, Any], what: str) -> dict[str, Array]:
        result = {}
        for name, value in named.items():
            array = np.asarray(value)
            if peculiar(value):
                self.special[f"{what}{name}"] = type(value).__name__
            if array.dtype.kind not in "fiubc":
                raise ImplementationError(
                    f"{self.implementation.name}: the {what}{name} is no array of numbers but "
                    f"{type(value).__name__}" + (f" of dtype {array.dtype}" if array.size else "")
                )
            result[name] = array
        return result
