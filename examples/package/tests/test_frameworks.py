"""Functions of the frameworks with a backward of their own; skipped where a framework is missing."""

import pytest


def test_gelu(crosscheck):
    pytest.importorskip("torch", reason="torch is not installed")
    from handwritten.torch_functions import Gelu

    crosscheck("GELU", Gelu, options={"approximate": "none"})


def test_softplus(crosscheck):
    pytest.importorskip("jax", reason="jax is not installed")
    from handwritten.jax_functions import softplus

    crosscheck("Softplus", softplus, options={}, dtypes=("float64",))
