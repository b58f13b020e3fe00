"""JAX functions as an implementation, under ``jax.jit``.

jax is imported here on first use only. 64-bit types are switched on in a context of their own, so
the process's flag is as before. Where PyTorch is installed it is imported first: the other order
has aborted processes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crosscheck.evaluation import Evaluation, ImplementationError, cast
from crosscheck.implementations.device import current, jax_device
from crosscheck.implementations.jax_compilation import compiled
from crosscheck.implementations.jax_compilation import import_jax as import_jax
from crosscheck.implementations.torch_module import name_outputs
from crosscheck.spec import Array, Problem, Values

#: Below this many elements a program runs in microseconds however it is compiled; what counts is
#: the time to compile it.
SMALL = 50_000


class JaxImplementation:
    """A function of JAX arrays.

    Args:
        function: ``function(problem, **arrays)``, or without `problem`: returns the output, a
            tuple of outputs (and buffers), or a mapping.
        name: what reports call it.
        takes_problem: whether the first argument is the `Problem`.
    """

    def __init__(
        self, function: Callable[..., Any], name: str = "jax", takes_problem: bool = True
    ) -> None:
        self.function = function
        self._name = name
        self.takes_problem = takes_problem
        self._bound: dict[Any, JaxBound] = {}

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    def bind(self, problem: Problem) -> JaxBound:
        """Compiled once per problem and dtype, at the first call."""
        key = problem.key()
        if key not in self._bound:
            self._bound[key] = JaxBound(self, problem)
        return self._bound[key]


class JaxBound:
    """A JAX function bound to a problem."""

    def __init__(self, implementation: JaxImplementation, problem: Problem) -> None:
        jax = import_jax()
        self.name = implementation.name
        self.problem = problem
        names = (*problem.outputs, *problem.buffers)
        wanted = problem.differentiable
        cotangent_of = problem.differentiable_outputs

        def run(values: Mapping[str, Any]) -> dict[str, Any]:
            first = (problem,) if implementation.takes_problem else ()
            returned = implementation.function(*first, **values)
            named = name_outputs(returned, names, len(problem.outputs), self.name)
            # What a twin does not return did not change.
            return {name: named[name] if name in named else values[name] for name in names}

        def vjp(values: Mapping[str, Any], cotangents: Mapping[str, Any]) -> Any:
            fixed = {name: array for name, array in values.items() if name not in wanted}

            def of(moving: Mapping[str, Any]) -> tuple[Any, Any]:
                outputs = run({**{name: moving.get(name, fixed.get(name)) for name in values}})
                return {name: outputs[name] for name in cotangent_of}, outputs

            moving = {name: values[name] for name in wanted}
            _, pull, outputs = jax.vjp(of, moving, has_aux=True)
            return outputs, pull(dict(cotangents))[0]

        def both(values: Mapping[str, Any], cotangents: Mapping[str, Any]) -> Any:
            def double(arrays: Mapping[str, Any]) -> dict[str, Any]:
                f = jax.numpy.float64
                return {k: a.astype(f) if a.dtype.kind == "f" else a for k, a in arrays.items()}

            return vjp(values, cotangents), vjp(double(values), double(cotangents))

        total = sum(int(np.prod(t.shape(problem), dtype=np.int64)) for t in problem.given.values())
        self._small = total < SMALL
        self._forward = compiled(jax, run, problem, "forward", self._small)
        self._vjp = compiled(jax, vjp, problem, "vjp", self._small)
        self._both = compiled(jax, both, problem, "both", self._small)

    def forward(self, values: Values) -> dict[str, Array]:
        """Outputs and new buffers."""
        found: dict[str, Array] = self._run("forward", self._forward, dict(values))
        return found

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Outputs, and gradients by reverse-mode differentiation."""
        return Evaluation(*self._run("vjp", self._vjp, dict(values), dict(cotangents)))

    def both_precisions(self, values: Values, cotangents: Values) -> tuple[Evaluation, Evaluation]:
        """The same in float32 and in float64, compiled as one program: half the compilations.

        Of large arrays one after the other, because of the memory.
        """
        if not self._small:
            single = self.vjp(values, cotangents)
            double = self.vjp(cast(values, "float64"), cast(cotangents, "float64"))
            gc.collect(0)  # jax lets go of what it was given at the next collection
            return single, double
        low, high = self._run("vjp", self._both, dict(values), dict(cotangents))
        return Evaluation(*low), Evaluation(*high)

    def _run(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        jax = import_jax()
        # What jax aliases instead of copying it does not change, and answers are copied.
        arguments = tuple({k: np.asarray(a, order="C") for k, a in d.items()} for d in arguments)
        try:
            with jax.enable_x64(True), jax.default_device(jax_device(current())):
                return jax.tree_util.tree_map(np.array, function(*arguments))
        except ImplementationError:
            raise
        except Exception as error:
            raise ImplementationError.during(f"{self.name}'s {what}", error) from error
