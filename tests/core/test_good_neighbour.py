"""A check leaves no trace in the process; importing crosscheck imports no framework."""

import importlib
import random
import subprocess
import sys

import numpy as np
import pytest

import crosscheck


def test_importing_imports_nothing_heavy():
    code = (
        "import sys, crosscheck, crosscheck.pytest_plugin\n"
        "print([m for m in ('numpy', 'torch', 'jax', 'rich', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names():
    for name in crosscheck.__all__:
        assert getattr(crosscheck, name) is not None
        assert name in dir(crosscheck)
    with pytest.raises(AttributeError, match="nonsense"):
        crosscheck.nonsense  # noqa: B018
    importlib.import_module("crosscheck.checking")  # a submodule does not hide the function
    assert callable(crosscheck.check) and "Linear" in crosscheck.catalogue


def test_a_check_leaves_no_trace():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    jax = pytest.importorskip("jax", reason="jax is not installed")

    def state():
        return (
            torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.get_rng_state().tolist(), jax.config.jax_enable_x64,
            np.geterr(), np.random.get_state()[1].tolist(), random.getstate(),
        )  # fmt: skip

    before = state()
    crosscheck.check("Linear")
    crosscheck.check("Sigmoid", options={})
    assert state() == before


def test_what_the_caller_set_is_kept():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("jax", reason="jax is not installed")
    default, errors = torch.get_default_dtype(), np.geterr()
    try:
        torch.set_default_dtype(torch.float64)
        np.seterr(all="raise")
        with torch.no_grad():
            assert crosscheck.check("Linear").verdict is crosscheck.Verdict.AGREE
        assert torch.get_default_dtype() is torch.float64
        assert np.geterr()["over"] == "raise"
    finally:
        torch.set_default_dtype(default)
        np.seterr(**errors)


def test_torch_is_imported_before_jax():
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("jax", reason="jax is not installed")
    code = (
        "import sys, crosscheck\n"
        "crosscheck.check('Sigmoid', against=('jax',), dtypes=('float64',))\n"
        "print([m for m in sys.modules if m in ('torch', 'jax')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['torch', 'jax']"
