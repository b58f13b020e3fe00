"""A disagreement as a short script of its own: NumPy and the framework, nothing of crosscheck.

The script holds the arrays, the source of the implementation, and where the expected values come
from: the framework's own layer if it can be written in a line or taken from the catalogue, which is
tried out here first; else a central difference; else the values themselves. It prints the
disagreement and ends with exit code 1 while there is one.
"""

from __future__ import annotations

import base64
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from crosscheck.comparison import NUMERIC, Comparison, Kind
from crosscheck.implementations import reference
from crosscheck.implementations.conventions import accepts, construction
from crosscheck.implementations.layout import Layout
from crosscheck.implementations.torch_module import is_torch
from crosscheck.report import Report
from crosscheck.report.source import NoSource, Source
from crosscheck.report.where import evidence
from crosscheck.spec import Array, Problem
from crosscheck.versions import version

#: Arrays up to this size are written as numbers, larger ones as bytes in base64.
READABLE = 40


def to_script(report: Report, implementation: Any = None) -> str:
    """A Python script that shows a report's first finding again.

    Args:
        report: one that disagrees.
        implementation: what was checked, as it was given to the check.

    Raises:
        NoSource: it cannot be written down; the message says why.
    """
    shown = next((e for f in report.findings if (e := evidence(f)) is not None), None)
    if shown is None or shown.kind in (Kind.CONTRACT, Kind.CONTROL):
        raise NoSource("a broken contract shows in several calls, not in one comparison")
    if implementation is None:
        found = reference(report.layer)
        implementation = found.subject if found is not None else None
    if shown.kind is Kind.RAISED and shown.case.problem.differentiable:
        # The exception may be the backward's: the script calls both.
        shown = replace(shown, quantity=f"grad_{shown.case.problem.differentiable[0]}")
    source = Source()
    source.imports["import sys"] = None
    source.imports["import numpy as np"] = None
    call = _call(source, shown, implementation)
    expected, tolerance = _expected(source, shown, implementation)
    imports, definitions = source.text()
    parts = [
        f'"""{report.findings[0].message.replace(chr(92), "/")}\n\n{shown.case.id}, made by '
        f'crosscheck {version("crosscheck") or ""}. Needs {_needs(source)}.\n"""',
        "from __future__ import annotations",
        "\n".join(_sorted_imports(imports)),
        definitions,
        "# --- the case",
        _arrays(shown),
        "# --- what the implementation gives",
        call,
        "# --- what it should give",
        expected,
        _comparison(shown, tolerance),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _needs(source: Source) -> str:
    tops = {line.split()[1].partition(".")[0] for line in source.imports}
    return " and ".join(sorted({"numpy", *(tops & {"torch", "jax", "flax", "equinox"})}))


def _sorted_imports(imports: str) -> list[str]:
    lines = imports.splitlines()
    x64 = 'jax.config.update("jax_enable_x64", True)'
    # Where both are there, torch comes first: the other order has aborted processes.
    torch_first = sorted(lines, key=lambda line: ("jax" in line, line))
    return [*torch_first, *([x64] if any("jax" in line for line in lines) else [])]


def _arrays(shown: Comparison) -> str:
    case = shown.case
    lines = []
    strided = case.memory == "strided"
    if strided:
        lines += [
            "def strided(array):",
            '    """Equal values behind negative and doubled strides."""',
            "    if array.ndim == 0:",
            "        return array",
            "    roomy = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)[..., ::-2]",
            "    roomy[...] = array",
            "    return roomy\n\n",
        ]
    named = {**case.arrays(memory="plain")}
    named |= {f"upstream_{k}": a for k, a in case.upstream(memory="plain").items()}
    for name, array in named.items():
        literal = _literal(array)
        lines.append(f"{_id(name)} = strided({literal})" if strided else f"{_id(name)} = {literal}")
        if case.memory == "readonly":
            lines.append(f"{_id(name)}.flags.writeable = False")
    return "\n".join(lines)


def _id(name: str) -> str:
    """A parameter's name as a variable: that of a network has dots."""
    return ("p" + name if name[0].isdigit() else name).replace(".", "_")


def _literal(array: Array) -> str:
    raw = np.ascontiguousarray(array)
    if raw.dtype == np.float64 and np.array_equal(raw.astype(np.float32), raw):
        raw = raw.astype(np.float32)  # cases are drawn so: half the length
    back = f".astype({array.dtype.name!r})" if raw.dtype != array.dtype else ""
    if array.size <= READABLE:
        # As few digits as tell one number of its dtype from the next.
        numbers = [float(str(v)) for v in raw.flat] if raw.dtype.kind == "f" else raw.ravel()
        text = repr(np.array(numbers).reshape(array.shape).tolist())
        return f"np.array({text}, dtype={raw.dtype.name!r}){back}"
    code = textwrap.wrap(base64.b85encode(raw.tobytes()).decode(), 90)
    text = "\n".join(f"    {line!r}" for line in code)
    return (
        f"np.frombuffer(__import__('base64').b85decode(\n{text}\n), {raw.dtype.name!r})"
        f".reshape({array.shape}).copy(){back}"
    )


# --- the implementation ---------------------------------------------------------------------


def _call(source: Source, shown: Comparison, given: Any) -> str:
    """Lines that end with ``got``."""
    problem = shown.case.problem
    if is_torch(given):
        return _torch_call(source, shown, given)
    if callable(getattr(given, "forward", None)):
        return _numpy_call(source, shown, given)
    if callable(given) and not isinstance(given, type):
        source.imports["import jax"] = None
        name = _variable(given)
        source.add(name, given)
        return _jax_call(problem, shown.quantity, f"{name}(**arrays)", "got")
    raise NoSource(f"a script cannot be made for {type(given).__name__}")


def _variable(given: Any) -> str:
    name = getattr(given, "__name__", None) or getattr(
        getattr(given, "fun", None), "__name__", None
    )
    if not isinstance(name, str) or not name.isidentifier():
        raise NoSource("it is a lambda or an object without a name")
    return name


def _constructed(source: Source, problem: Problem, given: Any) -> str:
    if not isinstance(given, type):
        raise NoSource("an object instead of a class was given: its state has no source")
    source.add(given.__name__, given)
    positional, keywords = construction(given, problem)
    arguments = [*map(repr, positional), *(f"{k}={v!r}" for k, v in keywords.items())]
    return f"{given.__name__}({', '.join(arguments)})"


def _numpy_call(source: Source, shown: Comparison, given: Any) -> str:
    problem, quantity = shown.case.problem, shown.quantity
    lines = [f"layer = {_constructed(source, problem, given)}"]
    for name in (*problem.parameters, *problem.buffers):
        if "." in name:
            raise NoSource("a network has its layers' sources in several places")
        lines.append(f"layer.{name} = {name}")
    inputs = ", ".join(problem.inputs)
    returned = [*problem.outputs]
    lines.append(f"{', '.join(returned)} = layer.forward({inputs})")
    if quantity in problem.outputs:
        return "\n".join([*lines, f"got = {quantity}"])
    if quantity in problem.buffers:
        return "\n".join([*lines, f"got = layer.{quantity}"])
    if not quantity.startswith("grad_"):
        raise NoSource(f"{quantity} is not a quantity of one call")
    upstream = [f"upstream_{name}" for name in problem.differentiable_outputs]
    backward = getattr(given, "backward")  # noqa: B009
    # A backward that takes no upstream gradient, as a loss's, is scaled by it afterwards.
    takes = accepts(backward, 1 + len(problem.inputs) + len(upstream))
    moved = [name for name in problem.inputs if name in problem.differentiable]
    left = ", ".join(f"grad_{name}" for name in moved) or "_"
    arguments = ", ".join([*problem.inputs, *(upstream if takes else [])])
    lines.append(f"{left} = layer.backward({arguments})")
    name = quantity.removeprefix("grad_")
    got = f"grad_{name}" if name in moved else f"layer.grad_{name}"
    return "\n".join([*lines, f"got = {got}" if takes else f"got = {upstream[0]} * {got}"])


def _torch_call(source: Source, shown: Comparison, given: Any) -> str:
    import torch

    problem = shown.case.problem
    source.imports["import torch"] = None
    if isinstance(given, type) and issubclass(given, torch.autograd.Function):
        source.add(given.__name__, given)
        state = [_there(problem, name) for name in problem.parameters]
        inputs = [f"t_{name}" for name in problem.inputs]
        order = ", ".join([*inputs, *(f"state[{name!r}]" for name, _, _ in state)])
        return _torch_lines(problem, shown.quantity, None, f"{given.__name__}.apply({order})")
    made = _constructed(source, problem, given)
    return _torch_lines(problem, shown.quantity, made, None)


def _there(problem: Problem, name: str) -> tuple[str, str, str]:
    """A parameter's name in torch, and the expressions that carry an array there and back."""
    layout = Layout.parse(problem.layer.torch_layout.get(name, name))
    flat = [axis for side in (layout.here, layout.there) for group in side for axis in group]
    if any(axis.startswith("~") for axis in flat) or any(
        len(group) != 1 for side in (layout.here, layout.there) for group in side
    ):
        raise NoSource(f"the layout of {name} is more than a transposition")
    here, there = ([group[0] for group in side] for side in (layout.here, layout.there))
    if here == there:
        return layout.name, "", ""
    out = tuple(here.index(axis) for axis in there)
    back = tuple(there.index(axis) for axis in here)
    return layout.name, f".transpose{out}", f".transpose{back}"


def _torch_lines(
    problem: Problem, quantity: str, module: str | None, applied: str | None, to: str = "got"
) -> str:
    lines = []
    for name in problem.inputs:
        grad = ".requires_grad_()" if name in problem.differentiable else ""
        lines.append(f"t_{name} = torch.from_numpy(np.array({name})){grad}")
    names = {name: _there(problem, name) for name in (*problem.parameters, *problem.buffers)}
    lines.append("state = {")
    for name, (theirs, out, _) in names.items():
        grad = ".requires_grad_()" if name in problem.differentiable else ""
        lines.append(f"    {theirs!r}: torch.from_numpy(np.array({name}{out})){grad},")
    lines.append("}")
    inputs = ", ".join(f"t_{name}" for name in problem.inputs)
    if module is not None:
        lines.append(f"module = {module}")
        call = f"torch.func.functional_call(module, state, ({inputs},))"
    else:
        call = str(applied)
    lines.append(f"{', '.join(problem.outputs)} = {call}")
    if quantity in problem.outputs:
        return "\n".join([*lines, f"{to} = {quantity}.detach().numpy()"])
    if quantity in problem.buffers:
        theirs, _, back = names[quantity]
        return "\n".join([*lines, f"{to} = state[{theirs!r}].numpy(){back}"])
    name = quantity.removeprefix("grad_")
    theirs, _, back = names.get(name, ("", "", ""))
    leaf = f"state[{theirs!r}]" if theirs else f"t_{name}"
    outputs = ", ".join(problem.differentiable_outputs)
    upstream = ", ".join(
        f"torch.from_numpy(np.array(upstream_{n}))" for n in problem.differentiable_outputs
    )
    lines.append(f"{to} = torch.autograd.grad([{outputs}], {leaf}, [{upstream}])[0].numpy(){back}")
    return "\n".join(lines)


def _jax_call(problem: Problem, quantity: str, call: str, to: str) -> str:
    names = ", ".join(f"{_id(name)!r}: {_id(name)}" for name in problem.given)
    lines = [f"given = {{{names}}}"]
    if quantity in problem.outputs:
        index = [*problem.outputs].index(quantity)
        pick = "" if len(problem.outputs) == 1 else f"[{index}]"
        lines += ["arrays = given", f"{to} = np.array({call}{pick})"]
        return "\n".join(lines)
    if not quantity.startswith("grad_") or len(problem.outputs) != 1:
        raise NoSource(f"{quantity} of several outputs")
    name = quantity.removeprefix("grad_")
    (output,) = problem.outputs
    lines += [
        "",
        "",
        "def function(moving):",
        f"    arrays = {{**given, {name!r}: moving}}",
        f"    return {call}",
        "",
        "",
        f"{to} = np.array(jax.vjp(function, {name})[1](upstream_{output})[0])",
    ]
    return "\n".join(lines)


# --- what it should give --------------------------------------------------------------------


def _expected(source: Source, shown: Comparison, given: Any) -> tuple[str, float]:
    """Lines that end with ``expected``, and how far off is still rounding."""
    tolerance = shown.tolerance or 0.0
    if shown.kind in (Kind.RAISED, Kind.MISSING):
        return "expected = got  # no exception", tolerance
    if shown.right == NUMERIC or shown.expected is None:
        return _central(shown, given), -1.0
    builders: dict[str, tuple[Callable[[Source, Comparison], str], ...]] = {
        "torch": (_torch_twin,),
        "jax": (_jax_twin,),
    }
    for build in builders.get(shown.right, ()):
        fresh = Source()
        try:
            lines = build(fresh, shown)
            if _gives(fresh, lines, shown):
                for name, value in fresh._known.items():
                    source.add(name, value)
                source.imports |= fresh.imports
                return lines, tolerance
        except Exception:  # noqa: S112 - anything that does not work is replaced by the values
            continue
    who = f"{shown.right} {version(shown.right) or ''}".strip()
    return f"# {who}'s values\nexpected = {_literal(shown.expected)}", tolerance


def _gives(source: Source, lines: str, shown: Comparison) -> bool:
    """Whether lines of a script give the values that the check expected."""
    imports, definitions = source.text()
    scope: dict[str, Any] = {"np": np}
    named = {**shown.case.arrays(memory="plain")}
    named |= {f"upstream_{k}": a for k, a in shown.case.upstream(memory="plain").items()}
    scope |= {_id(name): array for name, array in named.items()}
    body = "\n".join(["from __future__ import annotations", imports, definitions, lines])
    if "jax" in imports:
        import jax

        with jax.enable_x64(True):
            exec(body, scope)
    else:
        exec(body, scope)
    found, wanted = scope["expected"], shown.expected
    assert wanted is not None
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    with np.errstate(all="ignore"):
        near = np.abs(found - wanted) <= (shown.tolerance or 0.0)
    return bool(np.all(near | (found == wanted) | (np.isnan(found) & np.isnan(wanted))))


def _torch_twin(source: Source, shown: Comparison) -> str:
    import torch

    problem = shown.case.problem
    assert problem.layer.torch is not None
    module = problem.layer.torch(problem)
    source.imports["import torch"] = None
    made = repr(module)
    if not isinstance(module, torch.nn.Module) or "\n" in made or "(" not in made:
        raise NoSource("the twin is not one module")
    options = "reduction" in problem.options and hasattr(module, "reduction")
    if options and "reduction" not in made:  # torch leaves it out of the text
        made = made[:-1] + f"reduction={module.reduction!r})"
    return _torch_lines(problem, shown.quantity, f"torch.nn.{made}", None, to="expected")


def _jax_twin(source: Source, shown: Comparison) -> str:
    problem = shown.case.problem
    twin = problem.layer.jax
    assert twin is not None
    source.imports["import jax"] = None
    source.imports["from types import SimpleNamespace"] = None
    name = _variable(twin)
    source.add(name, twin)
    values = {**problem.options, **problem.sizes}
    chosen = ", ".join(f"{k}={v!r}" for k, v in values.items())
    first = next(iter(inspect.signature(twin).parameters))
    lines = f"{first} = SimpleNamespace({chosen})\n"
    return lines + _jax_call(problem, shown.quantity, f"{name}({first}, **arrays)", "expected")


def _central(shown: Comparison, given: Any) -> str:
    """Central differences of a NumPy layer's own forward."""
    problem, name = shown.case.problem, shown.quantity.removeprefix("grad_")
    if is_torch(given) or not callable(getattr(given, "forward", None)):
        raise NoSource("only the numeric derivative disagrees, and that is taken of NumPy layers")
    inputs = ", ".join(problem.inputs)
    total = " + ".join(f"np.sum(upstream_{n} * {n})" for n in problem.differentiable_outputs)
    put = [f"    layer.{name} = moved"] if name in problem.parameters else []
    called = ", ".join("moved" if n == name else n for n in problem.inputs) if not put else inputs
    return "\n".join([
        "def total(moved):",
        *put,
        f"    {', '.join(problem.outputs)} = layer.forward({called})",
        f"    return {total}",
        "",
        "",
        f"expected = np.zeros({name}.shape)  # central differences of its own forward",
        f"for place in np.ndindex({name}.shape):",
        f"    step = 1e-5 * max(1.0, abs({name}[place]))",
        f"    up, down = np.array({name}), np.array({name})",
        "    up[place] += step",
        "    down[place] -= step",
        "    expected[place] = (total(up) - total(down)) / (up[place] - down[place])",
    ])  # fmt: skip


def _comparison(shown: Comparison, tolerance: float) -> str:
    limit = f"{tolerance!r}" if tolerance >= 0 else "1e-6 * max(1.0, np.abs(expected).max())"
    why = (
        "what rounding explains" if tolerance >= 0 else "far more than a central difference is off"
    )
    return "\n".join([
        "got, expected = np.asarray(got), np.asarray(expected)",
        f"print({shown.quantity!r}, 'got', got.shape, got.dtype, 'expected', "
        "expected.shape, expected.dtype)",
        "if got.shape != expected.shape or got.dtype != expected.dtype:",
        "    sys.exit('the shapes or dtypes differ')",
        "difference = np.abs(got - expected)",
        "for flat in np.argsort(-np.nan_to_num(difference, nan=np.inf), axis=None)[:4]:",
        "    place = np.unravel_index(flat, got.shape)",
        "    print([int(i) for i in place], 'expected', expected[place], 'got', got[place])",
        f"tolerance = {limit}  # {why}",
        "if not np.all((difference <= tolerance) | (got == expected)):",
        "    sys.exit(f'they differ by up to {difference.max():.3g}')",
        "print('they agree')",
    ])  # fmt: skip
