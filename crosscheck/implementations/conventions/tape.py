"""Tensors that record a tape: ``out = layer(x)``, ``out.backward()``, then ``x.grad``."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.evaluation import ImplementationError
from crosscheck.implementations.conventions.call import Call, Running
from crosscheck.implementations.conventions.signatures import accepts
from crosscheck.implementations.conventions.slots import raw


def tape(subject: Any, call: Call) -> Running:
    """Inputs and parameters become tensors of the subject's own; the tape gives their gradients.

    The upstream gradient is given to ``backward`` where it takes one; else the tape is started
    from ``(out * upstream).sum()``.
    """
    tensor = tensor_class(subject)
    if tensor is None:
        raise ImplementationError("no class with a backward of its own was found beside the layer")
    call.wrap, call.unwrap = tensor, raw
    given = {
        name: tensor(array) for name, array in zip(call.problem.inputs, call.inputs, strict=True)
    }
    if isinstance(subject, type) or not callable(subject):
        layer = call.construct(subject)
        out = getattr(layer, "forward", layer)(*given.values())
        leaves = given | {name: call.slot(name).get() for name in call.problem.parameters}
    else:
        leaves = given | {name: tensor(call.given(name)) for name in call.problem.parameters}
        out = subject(*leaves.values())
    (upstream,) = yield call.outputs(out)
    if accepts(out.backward, 1):
        out.backward(tensor(upstream) if _wants_tensor(out) else upstream)
    else:
        weighted = out * tensor(upstream)
        (weighted.sum() if upstream.ndim else weighted).backward()
    found = {
        name: leaf.grad for name, leaf in leaves.items() if name in call.problem.differentiable
    }
    yield {name: call.canonical(name, call.unwrap(g)) for name, g in found.items() if g is not None}


def tensor_class(subject: Any) -> type | None:
    """The class of tensors in the module of a layer: it has a backward and arithmetic."""
    for method in ("forward", "__call__", "__init__"):
        function = getattr(subject, method, None) if isinstance(subject, type) else subject
        names = getattr(getattr(function, "__func__", function), "__globals__", None)
        for found in (names or {}).values():
            if isinstance(found, type) and found is not subject and hasattr(found, "backward"):
                if any(hasattr(found, sign) for sign in ("__mul__", "__add__", "__matmul__")):
                    return found
    return None


def _wants_tensor(out: Any) -> bool:
    return not isinstance(getattr(out, "grad", None), np.ndarray | None)
