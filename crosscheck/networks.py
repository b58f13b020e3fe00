"""Networks: layers in a chain are a layer. The same cases, witnesses and derivatives serve them.

The sizes of a network are the free axes of its stages: an axis of a stage's first input takes its
size from the output before it, every other axis is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from crosscheck.case import Case
from crosscheck.differences import ANY, Difference, ledger
from crosscheck.errors import UsageError
from crosscheck.implementations.conventions import (
    CONVENTIONS,
    Call,
    Calling,
    Convention,
    Named,
    build,
    by_guess,
    notebook,
)
from crosscheck.implementations.numpy_layer import NumpyImplementation
from crosscheck.implementations.torch_module import name_outputs
from crosscheck.sampling import DEFAULT_RANGE
from crosscheck.sampling import build as build_case
from crosscheck.spec import Array, Layer, Problem, Shape, Tensor

#: Problem of a network → those of its stages: asked for at every call of the subject.
_PROBLEMS: WeakKeyDictionary[Problem, list[Problem]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Stage:
    """One layer of a network.

    Attributes:
        index: its place, from 0; its parameters are named ``"<index>.weights"``.
        layer: its spec.
        options: its options, over the defaults.
        free: its axis → the network's axis, for sizes that are drawn.
        bound: its axis → the axis of the output before it whose size it takes.
        extra: its input → the network's input, for inputs besides the first.
    """

    index: int
    layer: Layer
    options: Mapping[str, Any]
    free: Mapping[str, str]
    bound: Mapping[str, int]
    extra: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Network(Layer):
    """A `Layer` made of stages; see `network`."""

    stages: tuple[Stage, ...] = ()

    def problems(self, p: Problem) -> list[Problem]:
        """The problem of every stage under the network's sizes.

        Raises:
            UsageError: a stage's input has another number of axes than the output before it.
        """
        if p not in _PROBLEMS:
            _PROBLEMS[p] = [*self.walk(p)]
        return _PROBLEMS[p]

    def walk(self, p: Problem) -> Iterator[Problem]:
        """The same one by one: a stage's output needs a size only when the next one is asked for."""
        before: Shape = ()
        for stage in self.stages:
            sizes = {axis: p.sizes[name] for axis, name in stage.free.items()}
            sizes |= {axis: before[i] for axis, i in stage.bound.items() if i < len(before)}
            problem = stage.layer.problem(stage.options, sizes)
            words = _words(next(iter(problem.inputs.values())), stage.layer)
            if stage.index and len(words) != len(before):
                raise UsageError(
                    f"{self.name}: layer {stage.index}, {stage.layer.name}, takes {len(words)} "
                    f"axes ({' '.join(words)}), the one before it gives {len(before)}"
                )
            yield problem
            before = _only(problem.outputs, stage.layer.name).shape(problem)


def network(*items: str | Layer | tuple[str | Layer, Mapping[str, Any]], name: str = "") -> Network:
    """Layers in a chain, the output of each the first input of the next.

    Args:
        items: names in the catalogue, specs, or either with options:
            ``network("Linear", "Sigmoid", ("Linear", {"bias": False}), "MSELoss")``.
        name: what it is called; by default the names joined.

    Returns:
        A spec like any other: check it, draw cases of it. A subject for it is a class with the
        notebook's ``forward`` and ``backward`` whose ``layers`` hold the parameters, or a list of
        classes, one per stage.

    Raises:
        UsageError: a stage with several outputs, or whose input has another number of axes than
            the output before it.
    """
    from crosscheck.families import catalogue

    if not items:
        raise UsageError("a network needs at least one layer")
    stages: list[Stage] = []
    used: dict[str, tuple[int, int]] = {}
    inputs: dict[str, Tensor] = {}
    for index, item in enumerate(items):
        given, options = item if isinstance(item, tuple) else (item, {})
        layer = catalogue[given] if isinstance(given, str) else given
        bare = layer.problem(options)
        words = _words(next(iter(bare.inputs.values())), layer)
        bound: dict[str, int] = {}
        if index:
            bound = {word: i for i, word in enumerate(words) if word in layer.axes(options)}
        free = {}
        for axis in layer.axes(options):
            if axis not in bound:
                free[axis] = axis if axis not in used else f"{axis}_{index}"
                used[free[axis]] = layer.sizes.get(axis, DEFAULT_RANGE)
        extra = {}
        for number, (input_name, tensor) in enumerate(bare.inputs.items()):
            if number or not index:
                public = input_name if input_name not in inputs else f"{index}.{input_name}"
                inputs[public] = _in_stage(index, tensor)
                if number:
                    extra[input_name] = public
        stages.append(Stage(index, layer, dict(options), free, bound, extra))
    chain = tuple(stages)
    last = chain[-1].layer.problem(chain[-1].options)
    _only(last.outputs, chain[-1].layer.name)
    return Network(
        name or "→".join(stage.layer.name for stage in chain),
        inputs=inputs,
        parameters=_numbered(chain, "parameters"),
        buffers=_numbered(chain, "buffers"),
        outputs={k: _in_stage(len(chain) - 1, t) for k, t in last.outputs.items()},
        constructor=tuple(_reference(i) for i in range(len(chain))),
        sizes=used,
        valid=_valid,
        torch=_torch if all(stage.layer.torch for stage in chain) else None,
        torch_layout=_layouts(chain),
        jax=_jax if all(stage.layer.jax for stage in chain) else None,
        reference="Sequential",
        group="containers",
        stages=chain,
    )


def chain_convention(convention: Convention = notebook) -> Convention:
    """A list of classes, one per stage, each called by `convention`, chained by the harness."""

    def chained(subject: Sequence[Any], call: Call) -> Generator[Named, tuple[Array, ...], None]:
        layers = call.layer or [None] * len(subject)
        calls, running = [], []
        upstream_output: Array | None = None
        spec = _network(call.problem)
        for stage, problem, one, layer in zip(
            spec.stages, spec.problems(call.problem), subject, layers, strict=True
        ):
            values = _stage_values(stage, problem, call.values, upstream_output)
            calls.append(Call(problem, values, layer))
            running.append(convention(one, calls[-1]))
            outputs = next(running[-1])
            upstream_output = outputs[next(iter(problem.outputs))]
        call.layer = [c.layer for c in calls]
        last = {name: outputs[name] for name in call.problem.outputs}
        for stage, one_call in zip(spec.stages, calls, strict=True):
            for name in one_call.problem.buffers:
                last[f"{stage.index}.{name}"] = getattr(one_call.layer, name)
        gradient: tuple[Any, ...] = yield last
        found: dict[str, Any] = {}
        for stage, generator, one_call in zip(
            reversed(spec.stages), reversed(running), reversed(calls), strict=True
        ):
            named = dict(generator.send(gradient))
            generator.close()
            first = next(iter(one_call.problem.inputs))
            found |= {
                f"{stage.index}.{k}": named[k] for k in one_call.problem.parameters if k in named
            }
            found |= {public: named[k] for k, public in stage.extra.items() if k in named}
            gradient = (named.get(first),)
            if stage.index == 0 and first in named:
                found[first] = named[first]
        yield found

    return chained


def stage_cases(
    case: Case, forward: Callable[[Problem, Mapping[str, Any]], Array]
) -> Iterator[Case]:
    """One case per stage, on the inputs that trusted stages before it give.

    Args:
        case: of the network.
        forward: a trusted forward of one stage.
    """
    spec = _network(case.problem)
    before: Array | None = None
    for stage, problem in zip(spec.stages, spec.problems(case.problem), strict=True):
        drawn = build_case(problem, case.seed or 0, f"stage {stage.index} of {case.kind}")
        values = _stage_values(stage, problem, case.values, before)
        yield Case(problem, values, drawn.cotangents, kind=drawn.kind)
        before = forward(problem, values)


def compose(
    subject: Sequence[Any], spec: Network, convention: Calling | None
) -> NumpyImplementation:
    """A list of classes, one per stage, as the implementation of a network.

    Raises:
        UsageError: not one class per stage.
    """
    if len(subject) != len(spec.stages):
        raise UsageError(f"{spec.name} has {len(spec.stages)} layers, {len(subject)} were given")
    names = "→".join(getattr(s, "__name__", type(s).__name__) for s in subject)
    if isinstance(convention, Mapping):
        raise UsageError(
            "a network's layers keep their arrays each in its own place: check them alone"
        )
    one = CONVENTIONS[convention] if isinstance(convention, str) else convention or by_guess()
    return NumpyImplementation(tuple(subject), chain_convention(one), names)


def known_differences(spec: Layer) -> tuple[Difference, ...]:
    """The ledger's entries for a layer, or those for the layers of a network.

    In a network an entry of a stage speaks of the stage's own parameters and buffers: a difference
    in its output would be one in all that follows.
    """
    entries = ledger().values()
    if not isinstance(spec, Network):
        return tuple(entry for entry in entries if entry.layer == spec.name)
    found = []
    for stage in spec.stages:
        bare = stage.layer.problem(stage.options)
        own = {f"grad_{name}": f"grad_{stage.index}.{name}" for name in bare.parameters}
        own |= {name: f"{stage.index}.{name}" for name in bare.buffers}
        for entry in entries:
            if entry.layer == stage.layer.name and ANY in entry.kinds:
                quantities = tuple(own[name] for name in entry.quantities if name in own)
                found.append(replace(entry, quantities=quantities))
    return tuple(found)


# --- pieces ---------------------------------------------------------------------------------


def _network(problem: Problem) -> Network:
    assert isinstance(problem.layer, Network)
    return problem.layer


def _only(outputs: Mapping[str, Tensor], name: str) -> Tensor:
    if len(outputs) != 1:
        raise UsageError(f"{name} has {len(outputs)} outputs: it cannot stand in a network")
    return next(iter(outputs.values()))


def _words(tensor: Tensor, layer: Layer) -> list[str]:
    if callable(tensor.axes):
        raise UsageError(f"{layer.name} cannot stand in a network: its input has no named axes")
    return tensor.axes.split()


def _in_stage(index: int, tensor: Tensor) -> Tensor:
    """The tensor of a stage, as one of the network: shape and values are asked of the stage."""

    def stage(p: Problem) -> Problem:
        return _network(p).problems(p)[index]

    def draw(rng: np.random.Generator, shape: Shape, p: Problem) -> Array:
        return tensor.domain.draw(rng, shape, stage(p))  # its sizes have the stage's names

    return Tensor(
        lambda p: tensor.shape(stage(p)), replace(tensor.domain, draw=draw), tensor.differentiable
    )


def _numbered(chain: Sequence[Stage], kind: str) -> dict[str, Tensor]:
    return {
        f"{stage.index}.{name}": _in_stage(stage.index, tensor)
        for stage in chain
        for name, tensor in getattr(stage.layer.problem(stage.options), kind).items()
    }


def _layouts(chain: Sequence[Stage]) -> dict[str, str]:
    found = {}
    for stage in chain:
        bare = stage.layer.problem(stage.options)
        for name in (*bare.parameters, *bare.buffers):
            found[f"{stage.index}.{name}"] = f"{stage.index}." + stage.layer.torch_layout.get(
                name, name
            )
    return found


def _reference(index: int) -> Callable[[Problem], Any]:
    def make(p: Problem) -> Any:
        import reference_nn

        problem = _network(p).problems(p)[index]
        return build(getattr(reference_nn, problem.layer.reference or problem.layer.name), problem)

    return make


def _valid(p: Problem) -> str | None:
    from crosscheck.sampling import misfit

    spec = _network(p)
    before: Shape | None = None
    for stage, problem in zip(spec.stages, spec.walk(p), strict=True):
        reason = misfit(problem)
        if reason is not None:
            return f"layer {stage.index}, {stage.layer.name}: {reason}"
        shape = next(iter(problem.inputs.values())).shape(problem)
        if before is not None and shape != before:
            return f"layer {stage.index} takes {shape}, the one before it gives {before}"
        before = next(iter(problem.outputs.values())).shape(problem)
    return None


def _torch(p: Problem) -> Any:
    import torch

    spec = _network(p)
    problems = spec.problems(p)

    class Chain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for stage, problem in zip(spec.stages, problems, strict=True):
                assert stage.layer.torch is not None
                self.add_module(str(stage.index), stage.layer.torch(problem))

        def forward(self, *inputs: Any) -> Any:
            given = dict(zip(p.inputs, inputs, strict=True))
            output = inputs[0]
            for stage, module in zip(spec.stages, self.children(), strict=True):
                output = module(output, *(given[name] for name in stage.extra.values()))
            return output

    return Chain()


def _jax(p: Problem, **values: Any) -> dict[str, Any]:
    spec = _network(p)
    output = values[next(iter(p.inputs))]
    buffers: dict[str, Any] = {}
    for stage, problem in zip(spec.stages, spec.problems(p), strict=True):
        assert stage.layer.jax is not None
        returned = stage.layer.jax(problem, **_stage_values(stage, problem, values, output))
        names = (*problem.outputs, *problem.buffers)
        named = name_outputs(returned, names, len(problem.outputs), f"layer {stage.index}")
        output = named[names[0]]
        buffers |= {
            f"{stage.index}.{name}": named[name] for name in problem.buffers if name in named
        }
    return {next(iter(p.outputs)): output, **buffers}


def _stage_values(
    stage: Stage, problem: Problem, values: Mapping[str, Any], before: Any
) -> dict[str, Any]:
    first = next(iter(problem.inputs))
    found = {first: values[first] if before is None else before}
    found |= {name: values[public] for name, public in stage.extra.items()}
    found |= {
        name: values[f"{stage.index}.{name}"] for name in (*problem.parameters, *problem.buffers)
    }
    return found
