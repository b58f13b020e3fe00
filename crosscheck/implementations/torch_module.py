"""PyTorch modules, autograd functions and functions of tensors as an implementation.

torch is imported here on first use only. Nothing global is changed: default dtype, threads and
the state of the random generator are as before.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crosscheck.evaluation import Evaluation, ImplementationError, NotOffered
from crosscheck.implementations.conventions import build
from crosscheck.implementations.device import current
from crosscheck.implementations.layout import Layout
from crosscheck.spec import Array, Problem, Values


class TorchImplementation:
    """Something of PyTorch, given as a function that makes it.

    Args:
        make: from the `Problem` to a ``torch.nn.Module`` (called with the inputs in order, the
            parameters put in through the layer's `torch_layout`) or to a function of keyword
            arguments, one per canonical array.
        name: what reports call it.
    """

    def __init__(self, make: Callable[[Problem], Any], name: str = "torch") -> None:
        self.make = make
        self._name = name
        self._bound: dict[Any, TorchBound] = {}

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    def bind(self, problem: Problem) -> TorchBound:
        """Construct the module once per problem.

        Raises:
            ImplementationError: the constructor raised, or the module lacks a parameter.
        """
        key = (problem.key(), current())
        if key not in self._bound:
            self._bound[key] = TorchBound(self, problem)
        return self._bound[key]


class TorchBound:
    """A module or function bound to a problem."""

    def __init__(self, implementation: TorchImplementation, problem: Problem) -> None:
        import torch

        self.name = implementation.name
        self.problem = problem
        self.device = current()
        try:
            with torch.random.fork_rng(devices=[]):  # initialisation draws random numbers
                self.target = implementation.make(problem)
        except NotOffered:
            raise
        except Exception as error:
            raise ImplementationError.during(f"{self.name}'s constructor", error) from error
        self.is_module = isinstance(self.target, torch.nn.Module)
        if self.is_module and self.device != "cpu":
            self.target = self.target.to(self.device)
        self.layouts: dict[str, Layout] = {}
        #: Where the module holds the arrays: a dictionary of it or of a part, the key, our name.
        self.places: list[tuple[dict[str, Any], str, str]] = []
        if self.is_module:
            state = dict(self.target.named_parameters()) | dict(self.target.named_buffers())
            self._read_layouts(state)
            names = {id(state[layout.name]): name for name, layout in self.layouts.items()}
            self.places = [
                (held, key, names[id(tensor)])  # a tensor that is shared has several places
                for module in self.target.modules()
                for held in (module._parameters, module._buffers)
                for key, tensor in held.items()
                if id(tensor) in names
            ]

    def _read_layouts(self, state: Mapping[str, Any]) -> None:
        layer = self.problem.layer
        for name in (*self.problem.parameters, *self.problem.buffers):
            layout = Layout.parse(layer.torch_layout.get(name, name))
            if layout.name not in state and name in state:
                layout = Layout(name)  # a module written in the canonical layout
            if layout.name not in state:
                raise ImplementationError(
                    f"{self.name} has no parameter or buffer {layout.name!r} for {name!r}; "
                    f"it has {', '.join(sorted(state)) or 'none'}"
                )
            self.layouts[name] = layout

    def forward(self, values: Values) -> dict[str, Array]:
        """Outputs and new buffers, without a tape."""
        import torch

        with torch.no_grad(), self._errors("forward"):
            tensors = {name: self._tensor(name, array) for name, array in values.items()}
            return self._read(self._call(tensors), tensors)

    def vjp(self, values: Values, cotangents: Values) -> Evaluation:
        """Outputs, and gradients by autograd. No path to an input is a gradient of zero."""
        import torch

        wanted = self.problem.differentiable
        with torch.enable_grad(), self._errors("forward and backward"):
            tensors = {name: self._tensor(name, array) for name, array in values.items()}
            leaves = [tensors[name].requires_grad_(True) for name in wanted]
            returned = self._call(tensors)
            # <cotangent, output> as one number: handing the cotangents over instead would make
            # PyTorch import its symbolic shapes, a third of a second.
            total: Any = None
            for name in self.problem.differentiable_outputs:
                output, upstream = returned[name], np.array(cotangents[name], order="C")
                if tuple(output.shape) != upstream.shape:
                    raise ImplementationError(
                        f"{name} has shape {tuple(output.shape)}, should be {upstream.shape}"
                    )
                if output.requires_grad:
                    weighed = (output * self._put(upstream)).sum()
                    total = weighed if total is None else total + weighed
            found: tuple[Any, ...] = (None,) * len(leaves)
            if leaves and total is not None:
                found = torch.autograd.grad(total, leaves, allow_unused=True)
            gradients = {
                name: self._array(name, torch.zeros_like(leaf) if g is None else g)
                for name, leaf, g in zip(wanted, leaves, found, strict=True)
            }
            return Evaluation(self._read(returned, tensors), gradients)

    def _tensor(self, name: str, array: Array) -> Any:
        layout = self.layouts.get(name)
        return self._put(layout.out(array) if layout else np.array(array, order="C"))

    def _put(self, array: Array) -> Any:
        import torch

        tensor = torch.from_numpy(array)
        return tensor if self.device == "cpu" else tensor.to(self.device)

    def _array(self, name: str, tensor: Any) -> Array:
        array = tensor.detach().cpu().numpy()
        layout = self.layouts.get(name)
        return layout.back(array) if layout else np.array(array)

    def _call(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        if self.is_module:
            # As torch.func.functional_call does it, but without looking the places up every time.
            own = [held[key] for held, key, _ in self.places]
            try:
                for held, key, name in self.places:
                    held[key] = tensors[name]
                returned = self.target(*(tensors[name] for name in self.problem.inputs))
            finally:
                for (held, key, _), tensor in zip(self.places, own, strict=True):
                    held[key] = tensor
        else:
            returned = self.target(**tensors)
        names = (*self.problem.outputs, *self.problem.buffers)
        return name_outputs(returned, names, len(self.problem.outputs), self.name)

    def _read(self, returned: Mapping[str, Any], tensors: Mapping[str, Any]) -> dict[str, Array]:
        found = {
            name: self._array(name, returned[name] if name in returned else tensors[name])
            for name in (*self.problem.outputs, *self.problem.buffers)
        }
        return found

    def _errors(self, what: str) -> _TorchErrors:
        return _TorchErrors(f"{self.name}'s {what}")


class _TorchErrors:
    """Exceptions of PyTorch code become `ImplementationError`."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._warnings.__enter__()
        warnings.simplefilter("ignore")  # advice to a caller who is not there

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._warnings.__exit__(kind, error, trace)
        if isinstance(error, Exception) and not isinstance(error, ImplementationError):
            raise ImplementationError.during(self.what, error) from error


def name_outputs(returned: Any, names: tuple[str, ...], least: int, who: str) -> dict[str, Any]:
    """Name what a twin returned: a mapping, a tuple in order, or a single output.

    Args:
        returned: what came back.
        names: outputs, then buffers, in order.
        least: how many of them are outputs, which must be there.
        who: for the message.
    """
    if isinstance(returned, Mapping):
        return dict(returned)
    parts = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
    if not least <= len(parts) <= len(names):
        raise ImplementationError(
            f"{who} returned {len(parts)} values; expected {', '.join(names)}"
        )
    return dict(zip(names, parts, strict=False))


def from_subject(subject: Any, strict: bool) -> TorchImplementation:
    """Somebody's module class, module or autograd function as an implementation.

    A module class is constructed with the sizes by position and the options by keyword. An
    autograd function is applied to inputs, then parameters, in the framework's layout.
    """
    import torch

    name = getattr(subject, "__name__", type(subject).__name__)
    if isinstance(subject, type) and issubclass(subject, torch.nn.Module):
        return TorchImplementation(lambda problem: build(subject, problem, strict), name)
    if isinstance(subject, torch.nn.Module):
        return TorchImplementation(lambda problem: subject, name)
    if isinstance(subject, type) and issubclass(subject, torch.autograd.Function):
        return TorchImplementation(lambda problem: _function_module(subject, problem), name)
    raise TypeError(f"{subject!r} is nothing of PyTorch")


def _function_module(function: Any, problem: Problem) -> Any:
    """An autograd function in a module that holds its parameters, so that layouts apply."""
    import torch

    class Applied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in (*problem.parameters, *problem.buffers):
                layout = Layout.parse(problem.layer.torch_layout.get(name, name))
                shape = layout.out(np.zeros(problem.given[name].shape(problem))).shape
                self.register_parameter(layout.name, torch.nn.Parameter(torch.zeros(shape)))

        def forward(self, *inputs: Any) -> Any:
            return function.apply(*inputs, *self.parameters())

    return Applied()


def is_torch(subject: Any) -> bool:
    """Whether something is of PyTorch, told without importing it."""
    return is_of(subject, "torch")


def is_of(subject: Any, package: str) -> bool:
    """Whether something's class comes from a package, told without importing that."""
    kinds = inspect.getmro(subject if isinstance(subject, type) else type(subject))
    return any(kind.__module__.split(".")[0] == package for kind in kinds)
