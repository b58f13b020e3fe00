"""The libraries that the catalogue is compared with, each skipping its tests where it is missing."""

import pytest


@pytest.fixture
def frameworks(both):
    """Both of them: at a kink, and where a forward is wrong, nobody else can tell."""
    return both


@pytest.fixture
def x64(both):
    """JAX, with 64 bits while the test runs; after PyTorch: the other order has aborted processes."""
    _, jax = both
    with jax.enable_x64(True):
        yield jax


@pytest.fixture
def linen(x64):
    return pytest.importorskip("flax.linen")


@pytest.fixture
def eqx(x64):
    return pytest.importorskip("equinox")


@pytest.fixture
def hk(x64):
    return pytest.importorskip("haiku")


@pytest.fixture
def optax(x64):
    return pytest.importorskip("optax")
