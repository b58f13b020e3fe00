"""What a worker holds, as an `Implementation` like any other."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from crosscheck.evaluation import Evaluation, ImplementationError, NotOffered, OneNumber
from crosscheck.implementations.manner import Manner
from crosscheck.isolation.description import describe
from crosscheck.isolation.failures import Missing, WorkerDied
from crosscheck.isolation.protocol import NONE, Entry, Frame, Kind, Layout, Role, native
from crosscheck.isolation.text import one_line
from crosscheck.sampling import misfit, with_even_kernel
from crosscheck.spec import Array, Problem, Values

if TYPE_CHECKING:
    from crosscheck.isolation.worker import Convention, Worker


class RemoteImplementation:
    """An implementation in a worker."""

    def __init__(
        self,
        worker: Worker,
        items: tuple[str, ...],
        name: str,
        convention: Convention,
        strict: bool,
        key: str,
    ) -> None:
        self.key = key
        self._binds = 0
        self.worker = worker
        self.items = items
        self._name = name
        self.convention = convention
        self.strict = strict
        self.dead: WorkerDied | None = None
        self._defined = 0
        self.taken = ""
        self.notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    def bind(self, problem: Problem) -> RemoteBound:
        """Construct it in the worker.

        Raises:
            NotOffered: it lacks an option, and `strict` asked for it.
            OneNumber: it takes one number for all axes of a kernel, and here they differ.
            Missing: the submission does not define it.
            ImplementationError: its constructor raised, or it ended the process before.
        """
        self._define()
        self._binds += 1
        slot = f"{self.key}/{self._binds}"
        try:
            reply = self.answered(Kind.BIND, f"{self.key}\n{slot}\n{describe(problem)}")
        except OneNumber as error:
            even = with_even_kernel(problem)
            if even is None or even.sizes == problem.sizes or misfit(even) is not None:
                raise ImplementationError(f"{self.name} refused: {error}") from None
            raise
        self.notes = tuple(one_line(line) for line in reply.text.split("\n")[:8] if line)
        return RemoteBound(self, problem, slot, self.worker.generation)

    def _define(self) -> None:
        if self.dead is not None:
            raise self.dead
        self.worker.revive()
        if self._defined == self.worker.generation:
            return
        names = [self._present(item) for item in self.items]
        convention = self.convention
        if isinstance(convention, Manner):
            convention = {"manner": convention.to_json()}
        elif callable(convention):
            convention = f"{convention.__module__}:{convention.__name__}"
        request = {
            "key": self.key, "names": names, "convention": convention,
            "strict": self.strict, "called": self._name,
        }  # fmt: skip
        reply = self.answered(Kind.DEFINE, json.dumps(request))
        self.taken = one_line(reply.text)
        self._defined = self.worker.generation

    def _present(self, item: str) -> str:
        """Of several names with ``|`` between them the first that is defined.

        Raises:
            Missing: none is.
            ImplementationError: none is, because running the sources failed before.
        """
        for name in item.split("|"):
            if name in self.worker.names:
                return name
        if self.worker.failure is not None:
            raise self.worker.failure
        wanted = item.partition("|")[0]
        near = tuple(difflib.get_close_matches(wanted, self.worker.names, 3, 0.5))
        hint = f"; it defines {', '.join(near)}" if near else ""
        raise Missing(f"the submission does not define {wanted}{hint}", wanted, near)

    def answered(self, kind: Kind, *arguments: Any) -> Frame:
        """`ask`, where "not offered" is an answer only to who asked for what a class may lack.

        Otherwise a submission could choose the cases that it is judged by. That it takes one number
        for all axes of a kernel may be said by any: it is judged by as many cases, with square kernels.
        """
        try:
            return self.ask(kind, *arguments)
        except NotOffered as error:
            if kind is Kind.BIND and (self.strict or isinstance(error, OneNumber)):
                raise
            raise ImplementationError(f"{self.name} refused: {error}") from None

    def ask(self, *arguments: Any) -> Frame:
        """`Worker.ask`; whoever ends the process stays failed."""
        if self.dead is not None:
            raise self.dead
        try:
            return self.worker.ask(*arguments)
        except WorkerDied as error:
            self.dead = error
            raise


class RemoteBound:
    """A bound implementation in a worker.

    Attributes:
        aliases: of the last evaluation, quantity → the given array that it shares memory with,
            as the worker says.
    """

    def __init__(
        self, implementation: RemoteImplementation, problem: Problem, slot: str, generation: int
    ) -> None:
        self.implementation = implementation
        self.problem = problem
        self.slot = slot
        self.generation = generation
        self.given = tuple(problem.given)
        self.outputs = (*problem.outputs, *problem.buffers)
        self.wanted = problem.differentiable
        self.cotangents = problem.differentiable_outputs
        self.aliases: dict[str, str] = {}
        shapes = problem.shapes()
        # Everything once more, in the widest dtype: outputs, gradients, and what was changed.
        self.room = 16 * 3 * sum(int(np.prod(s, dtype=np.int64)) for s in shapes.values())

    def forward(self, values: Values) -> Mapping[str, Array]:
        """The forward pass in the worker. `values` stay as they are."""
        reply = self._ask(Kind.FORWARD, values, {})
        return self._read(reply, values, {}).outputs

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on a newly constructed layer.

        What the submission did to its copies of the arguments is done to `values` and `cotangents`
        too, so that whoever looks for a change sees it; read-only arrays stay as they are.
        """
        return self._read(self._ask(Kind.VJP, values, cotangents), values, cotangents)

    def again(self, values: Values, cotangents: Values) -> Evaluation:
        """Forward and backward on the layer of the call before."""
        return self._read(self._ask(Kind.AGAIN, values, cotangents), values, cotangents)

    def reread(self) -> Evaluation:
        """The arrays of the last answer as they are in the worker now."""
        return self._read(self._ask(Kind.REREAD, {}, {}), {}, {})

    def _ask(self, kind: Kind, values: Values, cotangents: Values) -> Frame:
        if self.generation != self.implementation.worker.generation:
            raise WorkerDied("the submission's process has ended since")
        entries = [
            Entry(Role.VALUE, i, values[name], _layout(values[name]))
            for i, name in enumerate(self.given)
            if name in values
        ]
        entries += [
            Entry(Role.COTANGENT, i, cotangents[name], _layout(cotangents[name]))
            for i, name in enumerate(self.cotangents)
            if name in cotangents
        ]
        return self.implementation.answered(kind, self.slot, entries, self.room)

    def _read(self, reply: Frame, values: Values, cotangents: Values) -> Evaluation:
        outputs: dict[str, Array] = {}
        gradients: dict[str, Array] = {}
        given = [*values, *cotangents]
        self.aliases = {}
        for entry in reply.entries:
            names = {
                Role.OUTPUT: self.outputs, Role.GRADIENT: self.wanted,
                Role.VALUE: self.given, Role.COTANGENT: self.cotangents,
            }[entry.role]  # fmt: skip
            if entry.index >= len(names):
                raise self.implementation.worker.violation("an array that was not asked for")
            name, array = names[entry.index], native(entry.array)
            if entry.role is Role.OUTPUT:
                outputs[name] = array
            elif entry.role is Role.GRADIENT:
                gradients[name] = array
            else:
                _change((values if entry.role is Role.VALUE else cotangents).get(name), array)
                continue
            if entry.alias != NONE and entry.alias < len(given):
                quantity = name if entry.role is Role.OUTPUT else f"grad_{name}"
                self.aliases[quantity] = given[entry.alias]
        who = self.implementation.name
        absent = {n: f"{who} leaves no gradient of {n}" for n in self.wanted if n not in gradients}
        return Evaluation(outputs, gradients, absent)


def _layout(array: Array) -> Layout:
    if not array.flags.writeable:
        return Layout.READONLY
    return Layout.PLAIN if array.flags.c_contiguous else Layout.STRIDED


def _change(argument: Array | None, changed: Array) -> None:
    """Do to the argument what was done to its copy."""
    if (
        argument is not None
        and argument.flags.writeable
        and argument.shape == changed.shape
        and argument.dtype == changed.dtype
    ):
        argument[...] = changed
