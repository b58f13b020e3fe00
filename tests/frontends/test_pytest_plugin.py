"""The fixture: passes on a right layer, fails on a wrong one, with a text that explains itself."""

import pytest

LAYERS = """
    import numpy as np

    class Right:
        def __init__(self, i, o):
            self.weights, self.bias = np.zeros((i, o)), np.zeros(o)
        def forward(self, x):
            return x @ self.weights + self.bias
        def backward(self, x, g):
            self.grad_weights, self.grad_bias = x.T @ g, g.sum(0)
            return g @ self.weights.T

    class Wrong(Right):
        def backward(self, x, g):
            grad = super().backward(x, g)
            self.grad_bias = g.copy()
            return grad
"""


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(
        layers=LAYERS,
        test_layers="""
        from layers import Right, Wrong
        def test_right(crosscheck):
            assert crosscheck("Linear", Right, against=("numeric",)).layer.name == "Linear"
        def test_wrong(crosscheck):
            crosscheck("Linear", Wrong, against=("numeric",))
        """,
    )
    return pytester


def test_one_line_per_layer(suite):
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*wrong-shape*grad_bias*", "*should be (7,)*"])
    text = result.stdout.str()
    assert "crosscheck.check('Linear', Wrong" in text
    assert "checking.py" not in text  # no frames of ours


def test_runs_under_xdist(suite):
    pytest.importorskip("xdist")
    suite.runpytest_subprocess("-n", "2").assert_outcomes(passed=1, failed=1)


def test_loading_imports_neither_numpy_nor_a_framework(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others import what they like
    pytester.makepyfile(
        """
        import sys
        def test_nothing_loaded(crosscheck):
            assert not {"numpy", "torch", "jax"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-p", "crosscheck.pytest_plugin")
    result.assert_outcomes(passed=1)


def test_unchecked_is_skipped_with_the_reason(pytester):
    pytester.makepyfile(
        """
        import numpy as np
        class Zero:
            def forward(self, x): return np.round(x)
            def backward(self, x, g): return np.zeros_like(g)
        import crosscheck as cc
        spec = cc.Layer("Round", inputs={"x": "n"}, outputs={"output": "n"})
        def test_round(crosscheck):
            crosscheck(spec, Zero)
        """
    )
    result = pytester.runpytest_subprocess("-rs")
    assert result.ret == 0
