"""The script of a failure: it runs without crosscheck and shows the same disagreement."""

import importlib.util
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import crosscheck
import reference_nn
from crosscheck.report.script import to_script
from crosscheck.report.source import NoSource, Source


class Twice(reference_nn.Linear):
    def backward(self, x, grad_output):
        found = super().backward(x, grad_output)
        self.grad_weights = FACTOR * self.grad_weights
        return found


FACTOR = 2.0


class Shifted(reference_nn.Sigmoid):
    def forward(self, x):
        return super().forward(x) + np.asarray(0.5, x.dtype)


class Raises(reference_nn.Sigmoid):
    def backward(self, x, grad_output):
        raise ZeroDivisionError("on purpose")


class OnlyStrided(reference_nn.Sigmoid):
    def backward(self, x, grad_output):
        found = super().backward(x, grad_output)
        return found if x.flags.c_contiguous else 2 * found


@pytest.fixture
def execute(monkeypatch, capsys):
    """Run a script where `import crosscheck` fails: its exit code and what it printed."""

    def run(text):
        Path("script.py").write_text(text)
        # Without crosscheck nobody restores JAX's flag; and torch comes before jax.
        jax = sys.modules.get("jax")
        before = None if jax is None else jax.config.jax_enable_x64
        with monkeypatch.context() as patch:
            for name in [
                n for n in sys.modules if n.split(".")[0] in ("crosscheck", "reference_nn")
            ]:
                patch.setitem(sys.modules, name, None)
            try:
                runpy.run_path("script.py")
                return 0, capsys.readouterr().out
            except SystemExit as error:
                return error.code or 0, capsys.readouterr().out + str(error.code)
            except Exception as error:
                return 1, f"{type(error).__name__}: {error}"
            finally:
                if jax is not None:
                    jax.config.update("jax_enable_x64", before)

    return run


@pytest.fixture
def shows(execute):
    def run(report, implementation, said):
        assert report.verdict is crosscheck.Verdict.DISAGREE
        text = to_script(report, implementation)
        assert len(text.splitlines()) < 250
        code, printed = execute(text)
        assert code, printed
        assert said in printed
        return text

    return run


def test_of_a_numpy_layer_against_torch(shows, torch):
    report = crosscheck.check("Linear", Twice, options={}, dtypes=("float64",))
    text = shows(report, Twice, "they differ by up to")
    assert "torch.nn.Linear(in_features=3, out_features=7, bias=True)" in text
    assert "class Linear" in text and "FACTOR = 2.0" in text and "import jax" not in text


def test_of_a_numpy_layer_against_jax(shows, jax):
    report = crosscheck.check("Linear", Twice, options={}, dtypes=("float64",), against=("jax",))
    text = shows(report, Twice, "they differ by up to")
    assert "def _jax_linear" in text and "import torch" not in text


def test_of_a_numpy_layer_against_its_own_forward(shows):
    report = crosscheck.check(
        "Linear", Twice, options={}, dtypes=("float64",), against=("numeric",)
    )
    text = shows(report, Twice, "they differ by up to")
    assert "central differences" in text and "import torch" not in text and "jax" not in text


def test_of_a_wrong_forward_in_float32(shows, a_framework):
    report = crosscheck.check("Sigmoid", Shifted, dtypes=("float32",))
    shows(report, Shifted, "they differ by up to 0.5")


def test_of_an_exception(shows):
    report = crosscheck.check("Sigmoid", Raises, dtypes=("float64",), against=("numeric",))
    shows(report, Raises, "ZeroDivisionError: on purpose")


def test_of_a_mistake_that_only_a_memory_layout_shows(shows, a_framework):
    report = crosscheck.check("Sigmoid", OnlyStrided, dtypes=("float64",))
    assert "def strided(array)" in shows(report, OnlyStrided, "they differ by up to")


def test_a_corrected_layer_makes_the_same_script_agree(execute, a_framework):
    report = crosscheck.check("Linear", Twice, options={}, dtypes=("float64",))
    text = to_script(report, Twice).replace("FACTOR = 2.0", "FACTOR = 1.0")
    code, printed = execute(text)
    assert code == 0 and "they agree" in printed


def test_of_a_torch_module_and_an_autograd_function(shows, torch):
    class Wrong(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 1.01

    shows(crosscheck.check("Linear", Wrong, options={}, dtypes=("float64",)), Wrong, "they differ")

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sigmoid(x)

        @staticmethod
        def backward(ctx, grad_output):
            return grad_output * ctx.saved_tensors[0]

    report = crosscheck.check("Sigmoid", Function, dtypes=("float64",))
    shows(report, Function, "they differ")


def test_of_a_jax_function_and_a_custom_vjp(shows, jax, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import jax\n"
        "@jax.custom_vjp\n"
        "def own(x):\n    return jax.nn.sigmoid(x)\n"
        "def fwd(x):\n    return own(x), x\n"
        "def bwd(x, g):\n    return (g * jax.nn.sigmoid(x),)\n"
        "own.defvjp(fwd, bwd)\n"
        "def wrong(x):\n    return jax.nn.sigmoid(x) * 1.01\n"
    )
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    mine = importlib.util.module_from_spec(spec)
    sys.modules["mine"] = mine
    try:
        spec.loader.exec_module(mine)
        report = crosscheck.check("Sigmoid", mine.own, dtypes=("float64",))
        assert "own.defvjp(fwd, bwd)" in shows(report, mine.own, "they differ")
        report = crosscheck.check("Sigmoid", mine.wrong, dtypes=("float64",))
        shows(report, mine.wrong, "they differ")
    finally:
        del sys.modules["mine"]


def test_large_arrays_are_written_exactly(shows, a_framework):
    sizes = {"batch": 3, "in_features": 9, "out_features": 11}
    report = crosscheck.check("Linear", Twice, options={}, dtypes=("float64",), sizes=sizes)
    assert "b85decode" in shows(report, Twice, "they differ by up to")


@pytest.mark.parametrize("value", [lambda x: x, object(), {"a": 1}])
def test_what_has_no_source_is_said_so(value):
    with pytest.raises(NoSource):
        Source().add("value", value)


def test_one_name_for_two_things_is_refused():
    source = Source()
    source.add("width", 3)
    with pytest.raises(NoSource, match="two things are called width"):
        source.add("width", "4")


def test_a_broken_contract_has_no_script():
    class Changes(reference_nn.Sigmoid):
        def backward(self, x, grad_output):
            found = super().backward(x, grad_output)
            if x.flags.writeable:
                x[...] = 0
            return found

    report = crosscheck.check("Sigmoid", Changes, dtypes=("float64",), against=("numeric",))
    with pytest.raises(NoSource, match="contract"):
        to_script(report, Changes)
