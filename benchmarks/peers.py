"""Gradient checkers side by side, each called as its documentation says, with its own defaults.

A checker is a function of code (forward and backward, as a `Bound`), a case and the layer, that says
True if it raises an alarm, False if it passes the code, None if it was not run.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.layers import elements
from crosscheck.case import Case
from crosscheck.comparison import Verdict
from crosscheck.evaluation import Bound
from crosscheck.implementations import oracle
from crosscheck.implementations.jax_function import import_jax
from crosscheck.panel import Hearing
from crosscheck.spec import Array

#: Full Jacobians are not taken above this many elements: the time grows with the square.
SLOW = 2_500


@dataclass
class Bench:
    """A case, with everything that does not depend on the error planted: heard once.

    Attributes:
        case: in the dtype that is checked.
        all, alone: the harness's hearings of the correct code, with all witnesses and with the
            numeric one only. A plant leaves the forward as it is, so that the derivatives of the
            forward are the same for all plants.
        torch: PyTorch's gradients in the case's dtype.
    """

    case: Case
    all: Hearing
    alone: Hearing
    torch: Mapping[str, Array]
    code: Bound | None = None

    @cached_property
    def jax_function(self) -> Callable[..., Any]:
        """`code` as a compiled JAX function with a hand-written vjp; compiled once for all plants."""
        return _as_jax(self)


def harness(code: Bound, bench: Bench) -> bool:
    """This harness with all witnesses."""
    return _heard(code, bench.all, bench.case)


def numeric_alone(code: Bound, bench: Bench) -> bool:
    """This harness with nobody to compare with."""
    return _heard(code, bench.alone, bench.case)


def _heard(code: Bound, hearing: Hearing, case: Case) -> bool:
    right = hearing.subject
    hearing.subject = hearing.numeric.subject = code
    try:
        # Read-only arrays: a failure alone is wanted, not the search for the wrong element.
        found = hearing.compare(case.with_values(memory="readonly"))
    finally:
        hearing.subject = hearing.numeric.subject = right
    return any(c.verdict is Verdict.DISAGREE for c in found)


def _as_torch(code: Bound, case: Case) -> tuple[Any, list[Any]]:
    """The code as a function of tensors with a hand-written backward."""
    import torch

    problem = case.problem
    arrays = case.arrays()
    moving, outputs = problem.differentiable, problem.differentiable_outputs

    def values(tensors: Any) -> dict[str, Array]:
        given = {k: t.detach().numpy().copy() for k, t in zip(moving, tensors, strict=True)}
        return {**{k: a.copy() for k, a in arrays.items()}, **given}

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors)
            found = code.forward(values(tensors))
            return tuple(torch.from_numpy(np.array(found[k])) for k in outputs)

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            cotangents = {k: g.numpy().copy() for k, g in zip(outputs, upstream, strict=True)}
            found = code.vjp(values(ctx.saved_tensors), cotangents).gradients
            return tuple(torch.from_numpy(np.array(found[k])) for k in moving)

    leaves = [torch.from_numpy(arrays[k].copy()).requires_grad_(True) for k in moving]
    return Wrapped.apply, leaves


def _gradcheck(code: Bound, bench: Bench, fast: bool) -> bool:
    import torch

    function, leaves = _as_torch(code, bench.case)
    # Once the fast mode has failed the code, the slow mode is run to word the message: days, at a million.
    module = importlib.import_module("torch.autograd.gradcheck")
    worded = mock.patch.object(module, "_run_slow_mode_and_get_error", return_value="")
    with warnings.catch_warnings(), worded:
        warnings.simplefilter("ignore")
        return not torch.autograd.gradcheck(function, leaves, fast_mode=fast, raise_exception=False)


def gradcheck_slow(code: Bound, bench: Bench) -> bool | None:
    """``torch.autograd.gradcheck``: the whole Jacobian."""
    return None if elements(bench.case.problem) > SLOW else _gradcheck(code, bench, False)


def gradcheck_fast(code: Bound, bench: Bench) -> bool:
    """``torch.autograd.gradcheck(fast_mode=True)``."""
    return _gradcheck(code, bench, True)


def _as_jax(bench: Bench) -> Callable[..., Any]:
    jax = import_jax()
    case = bench.case
    problem, arrays = case.problem, case.arrays()
    moving, outputs = problem.differentiable, problem.differentiable_outputs
    shapes = problem.shapes()
    dtype = np.dtype(case.dtype)

    def described(names: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(jax.ShapeDtypeStruct(shapes[k], dtype) for k in names)

    def values(given: tuple[Any, ...]) -> dict[str, Array]:
        fresh = {k: np.array(a) for k, a in zip(moving, given, strict=True)}
        return {**{k: a.copy() for k, a in arrays.items()}, **fresh}

    def forward(*given: Any) -> tuple[Array, ...]:
        assert bench.code is not None
        found = bench.code.forward(values(given))
        return tuple(np.asarray(found[k], dtype) for k in outputs)

    def backward(given: Any, upstream: Any) -> tuple[Array, ...]:
        assert bench.code is not None
        cotangents = {k: np.array(g) for k, g in zip(outputs, upstream, strict=True)}
        found = bench.code.vjp(values(given), cotangents).gradients
        return tuple(np.asarray(found[k], dtype) for k in moving)

    @jax.custom_vjp
    def function(*given: Any) -> Any:
        return jax.pure_callback(forward, described(outputs), *given)

    function.defvjp(
        lambda *given: (function(*given), given),
        lambda given, upstream: jax.pure_callback(backward, described(moving), given, upstream),
    )
    return jax.jit(function)  # type: ignore[no-any-return]


def _arguments(code: Bound, bench: Bench) -> tuple[Array, ...]:
    bench.code = code
    arrays = bench.case.arrays()
    return tuple(arrays[k] for k in bench.case.problem.differentiable)


def _alarm(check: Callable[[], None]) -> bool:
    jax = import_jax()
    before = jax.config.jax_enable_x64
    # Not `jax.enable_x64`: with large arrays the callback runs in a thread that it does not reach.
    jax.config.update("jax_enable_x64", True)
    try:
        check()
    except AssertionError:
        return True
    finally:
        jax.config.update("jax_enable_x64", before)
    return False


def check_grads(code: Bound, bench: Bench) -> bool:
    """``jax.test_util.check_grads``, reverse mode: the mode that calls a hand-written vjp."""
    import_jax()
    from jax.test_util import check_grads as check

    arguments = _arguments(code, bench)
    return _alarm(lambda: check(bench.jax_function, arguments, order=1, modes=["rev"]))


def chex_grads(code: Bound, bench: Bench) -> bool:
    """``chex.assert_numerical_grads``, likewise."""
    import_jax()
    import chex

    arguments = _arguments(code, bench)
    return _alarm(
        lambda: chex.assert_numerical_grads(bench.jax_function, arguments, order=1, modes=["rev"])
    )


def sampled(code: Bound, bench: Bench) -> bool:
    """Ten elements of every gradient, h = 1e-5, relative error above 1e-4: as CS231n teaches."""
    case = bench.case
    rng = np.random.default_rng(0)
    upstream = case.upstream()
    gradients = code.vjp(case.arrays(), case.upstream()).gradients

    def loss(values: dict[str, Array]) -> float:
        found = code.forward(values)
        return float(sum(np.sum(c * found[k]) for k, c in upstream.items()))

    for name in case.problem.differentiable:
        for flat in rng.integers(0, gradients[name].size, 10):
            ends = []
            for step in (1e-5, -1e-5):
                values = case.arrays()
                values[name].reshape(-1)[flat] += step
                ends.append(loss(values))
            numeric = (ends[0] - ends[1]) / 2e-5
            analytic = float(gradients[name].reshape(-1)[flat])
            size = abs(numeric) + abs(analytic)
            if size and not abs(numeric - analytic) <= 1e-4 * size:
                return True
    return False


def allclose(code: Bound, bench: Bench) -> bool:
    """``numpy.allclose`` of every gradient against PyTorch's, with the default rtol and atol."""
    found = code.vjp(bench.case.arrays(), bench.case.upstream()).gradients
    return not all(np.allclose(found[k], g) for k, g in bench.torch.items())


#: Name in tables → checker.
CHECKERS: Mapping[str, Callable[[Bound, Bench], bool | None]] = {
    "crosscheck": harness,
    "crosscheck, numeric only": numeric_alone,
    "torch gradcheck": gradcheck_slow,
    "torch gradcheck, fast": gradcheck_fast,
    "jax check_grads": check_grads,
    "chex assert_numerical_grads": chex_grads,
    "10 sampled elements": sampled,
    "allclose against torch": allclose,
}


def torch_gradients(case: Case) -> Mapping[str, Array]:
    """PyTorch's gradients in the case's dtype."""
    twin = oracle("torch", case.problem.layer)
    assert twin is not None
    return twin.bind(case.problem).vjp(case.arrays(), case.upstream()).gradients
