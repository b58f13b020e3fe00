"""Broken versions of a solution's text: one small change each, of the kinds that people make.

The text is parsed and written anew; nothing is run here.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

#: Functions whose two arguments are often given the wrong way round.
PRODUCTS = ("dot", "matmul", "outer", "divide", "subtract")
#: Reductions, and what they are mixed up with.
REDUCTIONS = {"sum": "mean", "mean": "sum", "max": "min", "maximum": "minimum"}


@dataclass(frozen=True)
class Mutant:
    """One broken version.

    Attributes:
        where: the class or function that it breaks, and the method: ``nn_Linear.backward``.
        line: the line of the solution.
        before, after: the expression or statement that was changed.
        text: the whole broken solution.
    """

    where: str
    line: int
    before: str
    after: str
    text: str

    @property
    def owner(self) -> str:
        """The top-level class or function."""
        return self.where.partition(".")[0]

    @property
    def label(self) -> str:
        """One line for a table."""
        return f"{self.where}, line {self.line}: {_short(self.before)} → {_short(self.after)}"


def mutants(text: str, names: frozenset[str]) -> Iterator[Mutant]:
    """All broken versions of a solution, each once, constructors left alone.

    Args:
        text: the solution.
        names: the top-level classes and functions to break.
    """
    tree = ast.parse(text)
    original = ast.unparse(tree)
    seen = {original}
    for path, node, where in _sites(tree, names):
        for changed in _changes(node, where):
            broken = copy.deepcopy(tree)
            _put(broken, path, changed)
            ast.fix_missing_locations(broken)
            new = ast.unparse(broken) + "\n"
            if new.rstrip() in seen:
                continue
            seen.add(new.rstrip())
            after = "nothing" if isinstance(changed, ast.Pass) else ast.unparse(changed)
            yield Mutant(where, getattr(node, "lineno", 0), ast.unparse(node), after, new)


Path = tuple[tuple[str, int | None], ...]


def _sites(tree: ast.Module, names: frozenset[str]) -> Iterator[tuple[Path, ast.AST, str]]:
    """Every statement and expression inside the methods and functions, with the way to it."""
    for number, top in enumerate(tree.body):
        if not isinstance(top, ast.ClassDef | ast.FunctionDef) or top.name not in names:
            continue
        for path, node, function in _inside(top, (("body", number),), ""):
            where = f"{top.name}.{function}" if isinstance(top, ast.ClassDef) else top.name
            if function not in ("__init__", "__repr__", "get_params"):
                yield path, node, where


def _inside(node: ast.AST, path: Path, function: str) -> Iterator[tuple[Path, ast.AST, str]]:
    for name, value in ast.iter_fields(node):
        if name in ("args", "decorator_list", "ctx") and not isinstance(node, ast.Call):
            continue
        many = isinstance(value, list)
        for index, child in enumerate(value if many else [value]):
            if not isinstance(child, ast.AST):
                continue
            step = (*path, (name, index if many else None))
            own = child.name if isinstance(child, ast.FunctionDef) else function
            if own and own == function or isinstance(node, ast.FunctionDef):
                yield step, child, function or getattr(node, "name", "")
            yield from _inside(child, step, own)


def _put(tree: ast.AST, path: Path, changed: ast.AST) -> None:
    node: Any = tree
    for name, index in path[:-1]:
        node = getattr(node, name) if index is None else getattr(node, name)[index]
    name, index = path[-1]
    if index is None:
        setattr(node, name, changed)
    else:
        getattr(node, name)[index] = changed


# --- kinds of change ------------------------------------------------------------------------


def _changes(node: ast.AST, where: str) -> Iterator[ast.AST]:
    for kind in KINDS:
        yield from kind(node, where)


def _arithmetic(node: ast.AST, where: str) -> Iterator[ast.AST]:
    swap: dict[type[ast.operator], ast.operator] = {
        ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Div: ast.Mult(), ast.Mult: ast.Add(),
    }  # fmt: skip
    if isinstance(node, ast.BinOp):
        if type(node.op) in swap:
            yield ast.BinOp(node.left, swap[type(node.op)], node.right)
        if isinstance(node.op, ast.Mult | ast.Div | ast.Add | ast.Sub):
            yield node.left
        if isinstance(node.op, ast.MatMult | ast.Sub | ast.Div):
            yield ast.BinOp(node.right, node.op, node.left)


def _constants(node: ast.AST, where: str) -> Iterator[ast.AST]:
    match node:
        case ast.Constant(value=bool() as truth):
            yield ast.Constant(not truth)
        case ast.Constant(value=int() | float() as number):
            yield ast.Constant(number + 1)
            if number == 2:
                yield ast.Constant(1)


def _transposes(node: ast.AST, where: str) -> Iterator[ast.AST]:
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value
    if isinstance(node, ast.Return) and node.value is not None and "backward" in where:
        yield ast.Return(ast.Attribute(node.value, "T", ast.Load()))


def _calls(node: ast.AST, where: str) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name = node.func.attr
    if name in PRODUCTS and len(node.args) == 2:
        yield ast.Call(node.func, node.args[::-1], node.keywords)
    if name in REDUCTIONS:
        other = ast.Attribute(node.func.value, REDUCTIONS[name], ast.Load())
        yield ast.Call(other, node.args, node.keywords)
    if name in ("sum", "mean", "copy"):
        yield node.args[0] if node.args else node.func.value  # left out
    if node.keywords:
        yield ast.Call(node.func, node.args, [])


def _signs(node: ast.AST, where: str) -> Iterator[ast.AST]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    if isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(ast.UnaryOp(ast.USub(), node.value))


def _comparisons(node: ast.AST, where: str) -> Iterator[ast.AST]:
    other: dict[type[ast.cmpop], ast.cmpop] = {
        ast.Gt: ast.GtE(), ast.GtE: ast.Gt(), ast.Lt: ast.LtE(), ast.LtE: ast.Lt(),
        ast.Eq: ast.NotEq(), ast.NotEq: ast.Eq(),
    }  # fmt: skip
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in other:
        yield ast.Compare(node.left, [other[type(node.ops[0])]], node.comparators)


def _statements(node: ast.AST, where: str) -> Iterator[ast.AST]:
    if isinstance(node, ast.Assign | ast.AugAssign):
        yield ast.Pass()
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
        if len(node.targets) == 1 and "backward" in where:
            yield ast.AugAssign(node.targets[0], ast.Add(), node.value)
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value, lineno=node.lineno)


def _upstream(node: ast.AST, where: str) -> Iterator[ast.AST]:
    """The upstream gradient left out of account."""
    names = ("grad_output", "grad", "dout", "g", "upstream", "delta", "dy")
    if isinstance(node, ast.Name) and node.id in names and isinstance(node.ctx, ast.Load):
        yield ast.BinOp(ast.BinOp(node, ast.Mult(), ast.Constant(0)), ast.Add(), ast.Constant(1))


KINDS: tuple[Callable[[ast.AST, str], Iterator[ast.AST]], ...] = (
    _arithmetic, _constants, _transposes, _calls, _signs, _comparisons, _statements, _upstream,
)  # fmt: skip


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 44 else line[:43] + "…"
