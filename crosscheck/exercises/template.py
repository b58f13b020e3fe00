"""A new exercise, as a commented TOML file and a solution to fill in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from crosscheck.exercises.exercise import IMPORTS, SHOW, Limits
from crosscheck.exercises.reading import quantities
from crosscheck.implementations.conventions import CONVENTIONS
from crosscheck.sampling import draw_sizes, generator
from crosscheck.spec import Layer, Problem


def template(title: str, layers: Sequence[Layer]) -> str:
    """The text of an ``exercise.toml``: what is commented out shows the default."""
    limits = Limits()
    head = f"""\
# An exercise. Check it with: crosscheck exercise test FOLDER
# It needs a solution.py beside it, which students do not get.

title = {_quoted(title)}
description = \"\"\"
Write {", ".join(map(class_name, layers))} with NumPy.
\"\"\"

# How the code is called; without it, it is guessed from the signatures, and said. One of:
# {", ".join(CONVENTIONS)},
# or a function of your own in a file beside this one: "conventions.py:mine".
convention = "notebook"

# What students are shown: {", ".join(SHOW)}. None of them shows an expected value.
show = "hints"

# The share of a quantity's points for another scaling than the one declared (a mean for a sum).
# mismatch = 0.5

# Whom to ask: all that are installed by default.
# against = ["torch", "jax", "numeric"]

# Imports of anything else are left out, and the student is told.
# allowed_imports = [{", ".join(map(_quoted, IMPORTS[:-1]))}]

[limits]
# seconds = {limits.seconds:g}        # of one call
# total = {limits.total:g}         # of all calls together
# memory_mib = {limits.memory_mib:g}
# output = {limits.output}      # characters of printed text that are kept
"""
    return head + "".join(map(_item, layers))


def _item(layer: Layer) -> str:
    problem = _problem(layer)
    points = ", ".join(f"{quantity} = 1" for quantity in quantities(problem))
    lines = [
        "",
        "[[items]]",
        f"layer = {_quoted(layer.name)}",
        f"name = {_quoted(class_name(layer))}      # the class; or [forward, backward], two functions",
    ]
    if layer.options:
        options = ", ".join(f"{k} = {_toml(v)}" for k, v in layer.options.items())
        lines.append(f"# options = {{ {options} }}")
    constructor = [word for word in layer.constructor if isinstance(word, str)]
    if constructor:
        lines.append(f"# constructor = [{', '.join(map(_quoted, constructor))}]")
    if problem.parameters:
        first = next(iter(problem.parameters))
        lines += [
            f"# attributes = {{ {first} = {_quoted(first)}, grad_{first} = {_quoted('grad_' + first)} }}",
            f'# scale = {{ grad_{first} = "1/batch" }}     # a mean over the batch inside the layer',
            f"# transposed = [{_quoted(first)}]            # kept as (out, in)",
            "# accumulates = false",
            f"# gradients = [{', '.join(map(_quoted, problem.differentiable))}]     # those asked for",
        ]
    axes = [axis for axis in problem.sizes]
    if axes:
        lines.append(f"# sizes = {{ {axes[0]} = 4 }}     # drawn by default, 1 included: better so")
    lines += ['# dtypes = ["float64"]', f"points = {{ {points} }}", ""]
    return "\n".join(lines)


def solution(layers: Sequence[Layer]) -> str:
    """The text of a ``solution.py`` to fill in."""
    parts = ['"""The solution: to test the exercise with."""\n\nimport numpy as np\n']
    for layer in layers:
        problem = _problem(layer)
        inputs = ", ".join(problem.inputs)
        words = [w if isinstance(w, str) else f"size_{n}" for n, w in enumerate(layer.constructor)]
        body = [f"\n\nclass {class_name(layer)}:"]
        if words or problem.parameters:
            body.append(f"    def __init__(self, {', '.join(words)}):")
            body += [
                f"        self.{name} = np.zeros(…)  # {tensor.axes if isinstance(tensor.axes, str) else ''}"
                for name, tensor in problem.parameters.items()
            ] or ["        ..."]
            body.append("")
        scalar = all(t.shape(problem) == () for t in problem.outputs.values())
        upstream = "" if scalar else ", grad_output"
        body += [f"    def forward(self, {inputs}):", "        raise NotImplementedError", ""]
        body.append(f"    def backward(self, {inputs}{upstream}):")
        body += [f"        # leaves self.grad_{name}" for name in problem.parameters]
        body += ["        raise NotImplementedError", ""]
        parts.append("\n".join(body))
    return "".join(parts).replace("np.zeros(…)", "np.zeros(0)")


def class_name(layer: Layer) -> str:
    """What the class is called in a new exercise."""
    return f"My{layer.name}"


def _problem(layer: Layer) -> Problem:
    return draw_sizes(layer, {}, generator(0, "template")) or layer.problem()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _toml(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else _quoted(str(value))
