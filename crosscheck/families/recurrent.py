"""Recurrent layers: RNN, LSTM and GRU over a sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.errors import UsageError
from crosscheck.families.recurrent_cells import CELLS, WEIGHTS, jax_step, saturated
from crosscheck.spec import Array, Layer, Options, Problem, Tensor

_STATE = "num_layers*(1+bidirectional) batch hidden_size"


def _suffixes(o: Options | Problem) -> list[str]:
    """The endings of parameter names, layer by layer, in each forwards, then backwards.

    Raises:
        UsageError: num_layers is no positive whole number.
    """
    if not isinstance(o["num_layers"], int) or o["num_layers"] < 1:
        raise UsageError(f"num_layers={o['num_layers']!r}: expected a whole number, 1 or more")
    directions = ("", "_reverse") if o["bidirectional"] else ("",)
    return [f"_l{layer}{way}" for layer in range(o["num_layers"]) for way in directions]


def _parameters(blocks: int) -> Callable[[Options], Mapping[str, Tensor | str]]:
    rows = f"{blocks}*hidden_size"

    def named(o: Options) -> Mapping[str, Tensor | str]:
        found: dict[str, Tensor | str] = {}
        for suffix in _suffixes(o):
            first = suffix.startswith("_l0")
            features = "input_size" if first else "(1+bidirectional)*hidden_size"
            found[f"weight_ih{suffix}"] = Tensor(f"{rows} {features}", WEIGHTS)
            found[f"weight_hh{suffix}"] = Tensor(f"{rows} hidden_size", WEIGHTS)
            found[f"bias_ih{suffix}"] = Tensor(rows, when="bias")
            found[f"bias_hh{suffix}"] = Tensor(rows, when="bias")
        return found

    return named


def _sequence(o: Options, features: str) -> str:
    return f"batch length {features}" if o["batch_first"] else f"length batch {features}"


def _torch(kind: str) -> Callable[[Problem], Any]:
    def make(p: Problem) -> Any:
        import torch

        base: Any = getattr(torch.nn, kind)

        class Flat(base):
            """Called with arrays only, and returning such: torch has a tuple (h, c)."""

            def forward(self, x: Any, *state: Any) -> Any:
                output, last = super().forward(x, state if kind == "LSTM" else state[0])
                return output, *(last if kind == "LSTM" else (last,))

        return Flat(p.input_size, p.hidden_size, **p.options)

    return make


def _jax(kind: str) -> Callable[..., Any]:
    def twin(p: Problem, x: Any, h0: Any, c0: Any = None, **parameters: Any) -> Any:
        import jax
        import jax.numpy as jnp

        initial = (h0,) if c0 is None else (h0, c0)
        how = {"nonlinearity": p.nonlinearity} if kind == "RNN" else {}
        sequence = jnp.swapaxes(x, 0, 1) if p.batch_first else x
        outputs, last = [], []
        for number, suffix in enumerate(_suffixes(p)):
            w_ih, w_hh = parameters[f"weight_ih{suffix}"], parameters[f"weight_hh{suffix}"]
            b_ih, b_hh = (parameters.get(f"bias_{side}{suffix}", 0) for side in ("ih", "hh"))

            def step(state: Any, a: Any, w_hh: Any = w_hh, b_hh: Any = b_hh) -> Any:
                new = jax_step(kind, a, state[0] @ w_hh.T + b_hh, *state, **how)
                return new, new[0]

            state, output = jax.lax.scan(
                step,
                tuple(part[number] for part in initial),
                sequence @ w_ih.T + b_ih,
                reverse=suffix.endswith("_reverse"),
            )
            last.append(state)
            outputs.append(output)
            if len(outputs) == 1 + p.bidirectional:
                sequence, outputs = jnp.concatenate(outputs, axis=-1), []
        output = jnp.swapaxes(sequence, 0, 1) if p.batch_first else sequence
        return output, *(jnp.stack(parts) for parts in zip(*last, strict=True))

    return twin


def _layer(kind: str) -> Layer:
    blocks, state = CELLS[kind]
    options: dict[str, Any] = {
        "num_layers": 1,
        **({"nonlinearity": "tanh"} if kind == "RNN" else {}),
        "bias": True,
        "batch_first": False,
        "bidirectional": False,
    }
    return Layer(
        kind,
        inputs=lambda o: {
            "x": _sequence(o, "input_size"),
            **{f"{name}0": _STATE for name in state},
        },
        parameters=_parameters(blocks),
        outputs=lambda o: {
            "output": _sequence(o, "(1+bidirectional)*hidden_size"),
            **{f"{name}n": _STATE for name in state},
        },
        sums=()
        if kind == "GRU"
        else [
            (f"bias_ih{suffix}", f"bias_hh{suffix}")
            for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
        ],
        constructor=("input_size", "hidden_size"),
        options=options,
        variants=(
            {"num_layers": 2},
            *(({"nonlinearity": "relu"},) if kind == "RNN" else ()),
            {"bias": False},
            {"bidirectional": True},
            {"batch_first": True, "num_layers": 2, "bidirectional": True},
        ),
        pairs=False,  # each takes a second to compile, and the last variant has what can interact
        # Two steps do not tell an error at the last step from one at every step.
        sizes={"length": (3, 4), "batch": (2, 4), "input_size": (2, 6), "hidden_size": (2, 5)},
        torch=_torch(kind),
        jax=_jax(kind),
        special={"extreme": saturated},
    )


LAYERS = tuple(_layer(kind) for kind in CELLS)


#: A sequence of as many steps as samples, and the weights of an RNN of two units without biases.
_X = np.sin(np.arange(1.0, 13.0)).reshape(2, 2, 3)
_W_IH, _W_HH = np.cos(np.arange(6.0)).reshape(2, 3), np.cos(np.arange(7.0, 11.0)).reshape(2, 2)


def _torch_sequence(way: str) -> Array:
    """What PyTorch's RNN makes of it, forwards or backwards in time."""
    import torch

    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        layer = torch.nn.RNN(3, 2, bias=False, bidirectional=True, dtype=torch.float64)
        for name, parameter in layer.named_parameters():
            parameter.copy_(torch.tensor(_W_IH if "_ih_" in name else _W_HH))
        output = np.asarray(layer(torch.tensor(_X))[0])
    return output[..., :2] if way == "forwards" else output[..., 2:]


def _scanned(x: Array) -> Array:
    """What a scan of the same cell makes of a sequence with time first, in the order it is read."""
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()

    def step(h: Any, row: Any) -> Any:
        (new,) = jax_step("RNN", row @ _W_IH.T, h @ _W_HH.T)
        return new, new

    with jax.enable_x64(True):
        return np.asarray(jax.lax.scan(step, jax.numpy.zeros((x.shape[1], 2)), x)[1])


LEDGER = (
    Difference(
        "sequence-axes",
        "RNN",
        "Which axis is time.",
        torch="the first, unless batch_first=True",
        jax="flax: the second, unless time_major=True; jax.lax.scan: the first",
        measure=lambda: (_torch_sequence("forwards"), _scanned(_X.swapaxes(0, 1)).swapaxes(0, 1)),
        mapping="the JAX twin has PyTorch's",
    ),
    Difference(
        "sequence-backwards",
        "RNN",
        "The order of the output of a layer that runs backwards in time.",
        torch="that of the input; jax.lax.scan(reverse=True) too",
        jax="flax.linen.RNN(reverse=True): as it was read, unless keep_order=True",
        measure=lambda: (_torch_sequence("backwards"), _scanned(_X[::-1])),
        mapping="the JAX twin is jax.lax.scan with reverse=True",
    ),
)
