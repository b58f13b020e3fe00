"""Who walks: a model in one framework and one precision, trained a step at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

import reference_nn as nn
from crosscheck.families.optimizer_twins import OptimizerEntry
from crosscheck.implementations.jax_function import import_jax
from crosscheck.implementations.layout import Layout
from crosscheck.spec import Array, Problem, Values
from crosscheck.training.models import Model

#: From the parameters (a list of arrays) to an object with ``step(gradients)``.
MakeOptimizer = Callable[[list[Array]], Any]


class Walker(Protocol):
    """One framework in one precision."""

    def step(self, x: Array, y: Array) -> float:
        """Train on a batch; the loss on it, before the step."""
        ...

    def weights(self) -> dict[str, Array]:
        """Copies of the weights, canonical."""
        ...

    def logits(self, x: Array) -> Array:
        """What the model gives."""
        ...


class ReferenceWalker:
    """reference_nn's layers and optimizer, or an optimizer of somebody's own."""

    def __init__(
        self,
        model: Model,
        start: Values,
        dtype: str,
        problem: Problem,
        optimizer: MakeOptimizer | None = None,
    ) -> None:
        self.network = model.reference(np.random.default_rng(0))
        self.loss = nn.CrossEntropyLoss()
        self.shape, self.dtype = model.shape, dtype
        for name in self.network.parameters():
            owner, attribute = _owner(self.network, name)
            setattr(owner, attribute, start[name].astype(dtype))
        parameters, _ = self.network.get_params()
        if optimizer is None:
            made = getattr(nn, problem.layer.name)
            self.optimizer = made(parameters, **dict(problem.options))
        else:
            self.optimizer = optimizer(parameters)

    def step(self, x: Array, y: Array) -> float:
        """Forward, backward, update; each layer's input is kept from the one to the other."""
        inputs = [self._input(x)]
        for layer in self.network.layers:
            inputs.append(layer.forward(inputs[-1]))
        logits = inputs.pop()
        gradient = self.loss.backward(logits, y)
        for layer, given in zip(reversed(self.network.layers), reversed(inputs), strict=True):
            gradient = layer.backward(given, gradient)
        self.optimizer.step(self.network.get_params()[1])
        return float(self.loss.forward(logits, y))

    def weights(self) -> dict[str, Array]:
        """Copies."""
        return {name: array.copy() for name, array in self.network.parameters().items()}

    def logits(self, x: Array) -> Array:
        """(samples, classes)."""
        return self.network.forward(self._input(x))

    def _input(self, x: Array) -> Array:
        return x.reshape(len(x), *self.shape).astype(self.dtype)


def _owner(network: Any, name: str) -> tuple[Any, str]:
    """The object that holds a parameter of a network, and its attribute."""
    number, *path, attribute = name.split(".")
    owner = network.layers[int(number)]
    for step in path:
        owner = getattr(owner, step)
    return (owner if hasattr(owner, attribute) else owner.inner), attribute


class TorchWalker:
    """A torch.nn.Module and an optimizer of torch.optim."""

    def __init__(self, model: Model, start: Values, dtype: str, problem: Problem) -> None:
        import torch

        assert isinstance(problem.layer, OptimizerEntry) and problem.layer.make_torch is not None
        with torch.random.fork_rng(devices=[]):
            self.module = model.torch().to(getattr(torch, dtype))
        self.shape, self.dtype = model.shape, dtype
        self.layouts = {name: Layout.parse(model.layouts.get(name, name)) for name in start}
        named = dict(self.module.named_parameters())
        with torch.no_grad():
            for name, layout in self.layouts.items():
                named[layout.name].copy_(torch.from_numpy(layout.out(start[name])))
        # In the order of the canonical names, whatever order torch registers them in.
        self.leaves = {name: named[layout.name] for name, layout in self.layouts.items()}
        self.optimizer = problem.layer.make_torch(problem, list(self.leaves.values()))

    def step(self, x: Array, y: Array) -> float:
        """Forward, backward, update."""
        import torch

        self.optimizer.zero_grad()
        logits = self.module(self._input(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def weights(self) -> dict[str, Array]:
        """Copies."""
        return {
            name: self.layouts[name].back(leaf.detach().numpy())
            for name, leaf in self.leaves.items()
        }

    def logits(self, x: Array) -> Array:
        """(samples, classes)."""
        import torch

        with torch.no_grad():
            return np.asarray(self.module(self._input(x)).numpy())

    def _input(self, x: Array) -> Any:
        import torch

        return torch.from_numpy(x.reshape(len(x), *self.shape).astype(self.dtype))


class JaxWalker:
    """A JAX function and an optimizer of optax, compiled as one step."""

    def __init__(self, model: Model, start: Values, dtype: str, problem: Problem) -> None:
        jax = import_jax()
        import optax

        assert isinstance(problem.layer, OptimizerEntry) and problem.layer.make_optax is not None
        made = problem.layer.make_optax(problem)
        self.shape, self.dtype, self.model = model.shape, dtype, model

        def loss_of(weights: Mapping[str, Any], x: Any, y: Any) -> Any:
            losses = optax.softmax_cross_entropy_with_integer_labels(model.jax(weights, x), y)
            return losses.mean()

        def step(weights: Any, state: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
            updates, state = made.update(gradients, state, weights)
            return optax.apply_updates(weights, updates), state, loss

        self._jax = jax
        with self._exact():
            # A short training is mostly compiling, and without optimisation that takes half the time.
            quick = {"xla_backend_optimization_level": 0}
            self._step = jax.jit(step, compiler_options=quick)
            self._logits = jax.jit(model.jax, compiler_options=quick)
            self._weights = {k: jax.numpy.asarray(a.astype(dtype)) for k, a in start.items()}
            self._state = made.init(self._weights)

    def step(self, x: Array, y: Array) -> float:
        """Forward, backward, update."""
        with self._exact():
            found = self._step(self._weights, self._state, self._input(x), y)
            self._weights, self._state, loss = found
            return float(loss)

    def weights(self) -> dict[str, Array]:
        """Copies."""
        return {name: np.array(array) for name, array in self._weights.items()}

    def logits(self, x: Array) -> Array:
        """(samples, classes)."""
        with self._exact():
            return np.asarray(self._logits(self._weights, self._input(x)))

    def _input(self, x: Array) -> Array:
        return x.reshape(len(x), *self.shape).astype(self.dtype)

    def _exact(self) -> Any:
        """64-bit types, on the CPU."""
        from contextlib import ExitStack

        stack = ExitStack()
        stack.enter_context(self._jax.enable_x64(True))
        stack.enter_context(self._jax.default_device(self._jax.devices("cpu")[0]))
        return stack
