"""The rules that a reader can rely on, read off the source."""

import ast
import re
from pathlib import Path

import pytest

import crosscheck
import reference_nn

CROSSCHECK = Path(crosscheck.__file__).parent
REFERENCE = Path(reference_nn.__file__).parent

#: The way of the data: a stage may import those before it, never one after.
ORDER = [
    {"errors", "versions"},
    {"domains", "spec"},
    {"case", "evaluation", "derivative"},
    {"sampling", "tolerance"},
    {"implementations"},
    {"isolation"},
    {"comparison", "differences"},
    {"known", "exception"},
    {"numeric"},
    {"networks", "families", "panel", "contract", "finding"},
    {"blame"},
    {"causes", "optimizer_causes", "mismatch", "detective"},
    {"report"},
    {"first_wrong_layer"},
    {"checking"},
    {"submissions"},
    {"parallel", "training", "exercises"},
    {"grading"},
    {"pytest_plugin"},
    {"doctor", "cli", "testing", "strategies", "__main__"},
]


def imports(path, package="crosscheck"):
    """Modules of a package imported when the file is (not inside functions or for types only)."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(package):
            found |= (
                {node.module}
                if node.module != package
                else {f"{package}.{a.name}" for a in node.names}
            )
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith(f"{package}.")}
    return found


def test_the_stages_import_only_what_comes_before():
    rank = {name: i for i, stage in enumerate(ORDER) for name in stage}
    for path in CROSSCHECK.rglob("*.py"):
        own = path.relative_to(CROSSCHECK).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in rank, f"{own} has no place in the way of the data"
        for module in imports(path) - {"crosscheck"}:
            other = module.split(".")[1]
            assert rank[other] <= rank[own], f"{path.name} imports {module}"


def test_reference_nn_imports_numpy_and_nothing_else():
    for path in REFERENCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            for name in names:
                top = name.split(".")[0]
                assert top in {"numpy", "reference_nn", "__future__", "math", "typing",
                               "collections", "dataclasses", "itertools", "functools",
                               "bisect", "warnings"}, (path, name)  # fmt: skip


def test_frameworks_are_imported_inside_functions_only():
    for path in (*CROSSCHECK.rglob("*.py"), *REFERENCE.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import)
                else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            )  # fmt: skip
            assert not {n.split(".")[0] for n in names} & {
                "torch",
                "jax",
                "optax",
                "flax",
                "equinox",
            }, path


def test_no_layer_carries_a_tolerance():
    for path in (CROSSCHECK / "families").glob("*.py"):
        text = path.read_text()
        assert not re.search(r"\b(rtol|atol|tolerance|allclose|isclose|assert_close)\b", text), path


def test_the_rule_has_two_constants():
    text = (CROSSCHECK / "tolerance.py").read_text()
    assert re.search(r"^C = 40\.0$", text, re.M) and re.search(r"^c = 40\.0$", text, re.M)


def code_lines(path):
    """Lines that hold code: no blanks, comments or docstrings."""
    text = path.read_text()
    docs = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(1 for n, s in lines if n not in docs and s.strip() and not s.strip().startswith("#"))


CORE = (
    "spec domains case sampling evaluation tolerance comparison panel contract blame finding "
    "checking errors versions differences known exception"
).split()


#: Of the implementations: the protocol's three. What adapts other libraries' objects sits around.
THREE = "__init__ layout numpy_layer torch_module jax_function".split()


def test_the_core_stays_small():
    """From spec to report, an afternoon's reading: what to aim at is 2,000 lines.

    The numeric witness is read with the derivatives.
    """
    paths = [CROSSCHECK / f"{name}.py" for name in CORE]
    paths += [CROSSCHECK / "implementations" / f"{name}.py" for name in THREE]
    paths += [CROSSCHECK / "report" / "__init__.py"]
    assert sum(map(code_lines, paths)) < 2700


@pytest.mark.parametrize("package", [CROSSCHECK, REFERENCE])
def test_files_can_be_read_in_one_sitting(package):
    for path in package.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 500, path


def test_every_public_name_of_reference_nn_has_a_docstring_with_shapes_and_source():
    for name in vars(reference_nn):
        found = getattr(reference_nn, name)
        if not isinstance(found, type) or name in ("Layer", "Loss") or name.startswith("_"):
            continue
        text = found.__doc__ or ""
        assert "Shapes" in text or "Shape" in text, name
        assert "Source" in text or "Sources" in text, name
