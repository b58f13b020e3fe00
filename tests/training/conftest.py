"""Who can say of an optimizer that it is wrong."""

import importlib.util

import pytest


@pytest.fixture
def an_oracle():
    """PyTorch, or JAX with optax; skips the test where there is neither."""
    there = [name for name in ("torch", "jax", "optax") if importlib.util.find_spec(name)]
    if "torch" not in there and there != ["jax", "optax"]:
        pytest.skip("neither torch nor jax with optax is installed")
