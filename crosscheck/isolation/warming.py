"""A zygote that has done before what its workers do: they inherit what was learned.

Python specialises the code that it runs often, writes down what it found in the code itself, and
fills caches. In a worker all of that would happen anew, in memory that it would first have to copy.
So a zygote that is to have many workers answers some questions itself, about layers of this file:
they compute nothing that anybody could be asked for.
"""

from __future__ import annotations

import json
import linecache
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from crosscheck.implementations.manner import Manner
from crosscheck.isolation.description import describe
from crosscheck.isolation.protocol import Entry, Frame, Kind, Layout, Role, encode
from crosscheck.isolation.runtime import Capped, Runtime, module_name
from crosscheck.spec import Layer, Problem, Tensor

#: How often: code is specialised when it has run some eight times, and settles a little later.
ROUNDS = 12
FILE = "crosscheck_warming.py"
#: Forwards of three shapes; their gradients are zero, which is no answer to anything.
TEXT = """
import numpy as np

class WithParameters:
    def __init__(self, rows, columns):
        self.weights = np.zeros((rows, columns))
        self.bias = np.zeros(columns)

    def forward(self, x):
        return np.zeros((len(x), len(self.bias)), x.dtype)

    def backward(self, x, upstream):
        self.grad_weights = 0 * self.weights
        self.grad_bias = 0 * self.bias
        return 0 * x

class OfOneArray:
    def forward(self, x):
        return np.abs(x)

    def backward(self, x, upstream):
        return 0 * x

class OfTwoArrays:
    def forward(self, x, y):
        return np.max(np.abs(x))

    def backward(self, x, y):
        return 0 * x
"""
LAYERS = (
    Layer(
        "WithParameters",
        inputs={"x": "batch rows"},
        parameters={"weights": "rows columns", "bias": "columns"},
        outputs={"output": "batch columns"},
        constructor=["rows", "columns"],
    ),
    Layer("OfOneArray", inputs={"x": "batch rows"}, outputs={"output": "batch rows"}),
    Layer(
        "OfTwoArrays",
        inputs={"x": "batch rows", "y": Tensor("batch rows", differentiable=False)},
    ),
)  # fmt: skip


def warm() -> None:
    """Answer as a worker does, some times over; nothing of it stays but what Python has learned."""
    questions = b"".join(map(encode, _questions()))
    for _ in range(ROUNDS):
        ours, theirs = socket.socketpair()
        with ours, theirs, np.errstate(), warnings.catch_warnings():
            ours.sendall(questions)
            ours.shutdown(socket.SHUT_WR)
            finders = [*sys.meta_path]
            try:
                Runtime(theirs.fileno(), Capped(0)).serve()
            except EOFError:
                pass
            sys.meta_path[:] = finders
            del sys.modules[module_name(FILE)]
    linecache.clearcache()


def _questions() -> Iterator[Frame]:
    yield Frame(Kind.LOAD, 0, text=json.dumps({FILE: TEXT}))
    for layer in LAYERS:
        problem = layer.problem({}, {"batch": 2, "rows": 3, "columns": 4})
        manner = {"manner": Manner((layer.name,)).to_json()}
        asked = {
            "key": layer.name, "names": [layer.name], "convention": manner, "strict": False,
            "called": layer.name,
        }  # fmt: skip
        yield Frame(Kind.DEFINE, 0, text=json.dumps(asked))
        yield Frame(Kind.BIND, 0, text=f"{layer.name}\nslot\n{describe(problem)}")
        for layout in Layout:
            for kind in (Kind.VJP, Kind.AGAIN):
                yield Frame(kind, 0, _arrays(problem, layout), "slot")
        yield Frame(Kind.REREAD, 0, text="slot")
        yield Frame(Kind.FORWARD, 0, _values(problem, Layout.PLAIN), "slot")
        for dtype in (float, complex):
            stacked = (
                replace(e, array=np.stack([e.array.astype(dtype)] * 3))
                for e in _values(problem, Layout.PLAIN)
            )
            yield Frame(Kind.FORWARDS, 0, tuple(stacked), "slot")
    yield Frame(Kind.OUTPUT, 0)


def _values(problem: Problem, layout: Layout) -> tuple[Entry, ...]:
    return tuple(
        Entry(Role.VALUE, at, np.ones(tensor.shape(problem)), layout)
        for at, tensor in enumerate(problem.given.values())
    )


def _arrays(problem: Problem, layout: Layout) -> tuple[Entry, ...]:
    cotangents = (
        Entry(Role.COTANGENT, at, np.ones(problem.outputs[name].shape(problem)), layout)
        for at, name in enumerate(problem.differentiable_outputs)
    )
    return *_values(problem, layout), *cotangents
