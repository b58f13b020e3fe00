"""Shared by all tests."""

import importlib
import importlib.util

import pytest

from crosscheck.errors import MissingFramework

pytest_plugins = ["pytester"]

#: What a test may need and an environment may lack.
LIBRARIES = ("torch", "jax", "flax", "equinox", "optax")


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path, monkeypatch):
    """Failing cases are saved in the working directory: keep them out of the checkout."""
    monkeypatch.chdir(tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A test that turns out to need a library that is not installed is skipped and says so."""
    try:
        return (yield)
    except (MissingFramework, ModuleNotFoundError) as error:
        missing = [n for n in LIBRARIES if n in str(error) and importlib.util.find_spec(n) is None]
        if not missing:
            raise
        pytest.skip(f"{missing[0]} is not installed")


def _or_skip(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


@pytest.fixture
def torch():
    """PyTorch; skips the test where it is not installed."""
    return _or_skip("torch")


@pytest.fixture
def jax():
    """JAX, imported after PyTorch where that is there; skips the test where it is not installed."""
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch")
    return _or_skip("jax")


@pytest.fixture
def both(torch, jax):
    """Both frameworks, or a skipped test."""
    return torch, jax


@pytest.fixture
def a_framework():
    """PyTorch or JAX, whichever there is; skips the test where there is neither."""
    for name in ("torch", "jax"):
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name)
    pytest.skip("neither torch nor jax is installed")
