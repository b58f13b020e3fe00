"""Samples as columns: ``Z = W X + b`` with X of shape (features, samples), W (out, in), b (out, 1).

The convention turns every array, and calls as another convention does: functions with dictionaries
``parameters["W1"]`` and ``grads["dW1"]``, or a class.
"""

from __future__ import annotations

from typing import Any

from crosscheck.implementations.conventions.cached import cached
from crosscheck.implementations.conventions.call import Call, Convention, Running
from crosscheck.implementations.conventions.functions_with_cache import functions_with_cache
from crosscheck.implementations.conventions.names import RATES, first
from crosscheck.implementations.conventions.notebook import notebook
from crosscheck.implementations.conventions.signatures import argument_names, method_accepts
from crosscheck.implementations.conventions.updating import updating


def columns(subject: Any, call: Call) -> Running:
    """Functions or a class that take and give everything with samples as columns."""
    call.columns = True
    inner: Convention = functions_with_cache
    if not isinstance(subject, tuple):
        takes = len(call.problem.inputs) + len(call.problem.differentiable_outputs)
        inner = notebook if method_accepts(subject, "backward", takes) else cached
        if first(RATES, argument_names(subject.backward)):
            inner = updating
    return (yield from inner(subject, call))
