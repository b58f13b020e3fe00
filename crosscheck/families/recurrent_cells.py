"""Recurrent cells: one step of RNN, LSTM and GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

from crosscheck.differences import Difference
from crosscheck.domains import scaled
from crosscheck.families.twins import same, torch_module
from crosscheck.sampling import EXTREME
from crosscheck.spec import Array, Layer, Problem, Tensor

#: Weights of variance 1 would saturate the gates, and there every gradient is nearly 0.
WEIGHTS = scaled(0.5)
#: Cell → blocks of rows in its weights, and what it carries from step to step.
CELLS = {"RNN": (1, "h"), "LSTM": (4, "hc"), "GRU": (3, "h")}
#: Cell → the names of those blocks.
GATES = {"RNN": "", "LSTM": "ifgo", "GRU": "rzn"}


def jax_step(kind: str, a: Any, u: Any, *state: Any, nonlinearity: str = "tanh") -> tuple[Any, ...]:
    """The next state, from what the input and the hidden state were mapped to."""
    import jax
    import jax.numpy as jnp

    if kind == "RNN":
        return (jnp.tanh(a + u) if nonlinearity == "tanh" else jax.nn.relu(a + u),)
    if kind == "LSTM":
        i, f, g, o = jnp.split(a + u, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
    (a_r, a_z, a_n), (u_r, u_z, u_n) = (jnp.split(s, 3, axis=-1) for s in (a, u))
    z = jax.nn.sigmoid(a_z + u_z)
    n = jnp.tanh(a_n + jax.nn.sigmoid(a_r + u_r) * u_n)
    return ((1 - z) * n + z * state[0],)


def saturated(
    rng: np.random.Generator, problem: Problem, values: dict[str, Array]
) -> dict[str, Array]:
    """Inputs of 1e4; and biases of ±1e5, so that no gate is between its ends by chance."""
    changed = {**values, "x": values["x"] * EXTREME}
    for name in values:
        if name.startswith("bias_ih"):
            changed[name] = rng.choice([-10 * EXTREME, 10 * EXTREME], size=values[name].shape)
    return changed


def _torch_lstm_cell(p: Problem) -> Any:
    import torch

    class Cell(torch.nn.LSTMCell):
        """Called with arrays only: torch takes the state as a tuple."""

        def forward(self, x: Any, h: Any, c: Any) -> Any:
            return super().forward(x, (h, c))

    return Cell(p.input_size, p.hidden_size, bias=p.bias)


def _cell(kind: str) -> Layer:
    blocks, state = CELLS[kind]
    options: dict[str, Any] = {"bias": True}
    if kind == "RNN":
        options["nonlinearity"] = "tanh"
    rows = f"{blocks}*hidden_size"

    def jax(p: Problem, x: Any, h: Any, c: Any = None, **parameters: Any) -> Any:
        a = x @ parameters["weight_ih"].T + parameters.get("bias_ih", 0)
        u = h @ parameters["weight_hh"].T + parameters.get("bias_hh", 0)
        how = {"nonlinearity": p.nonlinearity} if kind == "RNN" else {}
        return jax_step(kind, a, u, h, c, **how)

    return Layer(
        f"{kind}Cell",
        inputs={"x": "batch input_size", **dict.fromkeys(state, "batch hidden_size")},
        parameters={
            "weight_ih": Tensor(f"{rows} input_size", WEIGHTS),
            "weight_hh": Tensor(f"{rows} hidden_size", WEIGHTS),
            "bias_ih": Tensor(rows, when="bias"),
            "bias_hh": Tensor(rows, when="bias"),
        },
        outputs={f"new_{name}": "batch hidden_size" for name in state},
        blocks=dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), GATES[kind]),
        sums=() if kind == "GRU" else (("bias_ih", "bias_hh"),),
        constructor=("input_size", "hidden_size"),
        options=options,
        variants=(
            {"bias": False},
            *(({"nonlinearity": "relu"},) if kind == "RNN" else ()),
        ),
        torch=_torch_lstm_cell
        if kind == "LSTM"
        else torch_module(f"{kind}Cell", "input_size", "hidden_size", **same(*options)),
        jax=jax,
        special={"extreme": saturated},
    )


LAYERS = tuple(_cell(kind) for kind in CELLS)


def _numbers(*shape: int, start: int = 0) -> Array:
    """Numbers in ±1 without a pattern."""
    return np.asarray(np.sin(start + np.arange(1.0, 1 + np.prod(shape))).reshape(shape))


#: Two samples of three features, states of two units, weights and biases of up to four blocks.
_X, _H, _C = _numbers(2, 3), _numbers(2, 2, start=7), _numbers(2, 2, start=12)
_W_IH, _W_HH = _numbers(8, 3, start=20), _numbers(8, 2, start=50)
_B_IH, _B_HH = _numbers(8, start=70), _numbers(8, start=80)


def _torch_step(kind: str, w_hh: Array = _W_HH, b_hh: Array = _B_HH) -> tuple[Array, ...]:
    """What PyTorch's cell makes of these."""
    import torch

    blocks, state = CELLS[kind]
    given = {"weight_ih": _W_IH, "weight_hh": w_hh, "bias_ih": _B_IH, "bias_hh": b_hh}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        cell = getattr(torch.nn, f"{kind}Cell")(3, 2, dtype=torch.float64)
        for name, array in given.items():
            getattr(cell, name).copy_(torch.tensor(array[: 2 * blocks]))
        h, c = torch.tensor(_H), torch.tensor(_C)
        new = cell(torch.tensor(_X), h if len(state) == 1 else (h, c))
    return tuple(np.asarray(part) for part in (new if isinstance(new, tuple) else (new,)))


def _jax_step(kind: str, b_ih: Array = _B_IH, b_hh: Array = _B_HH) -> tuple[Array, ...]:
    """What our twin makes of them, or a library that has no place for some of the biases."""
    from crosscheck.implementations.jax_function import import_jax

    rows = 2 * CELLS[kind][0]
    a, u = _X @ _W_IH[:rows].T + b_ih[:rows], _H @ _W_HH[:rows].T + b_hh[:rows]
    with import_jax().enable_x64(True):
        return tuple(np.asarray(part) for part in jax_step(kind, a, u, _H, _C))


def _haiku_lstm() -> Array:
    """PyTorch's rows read as i, g, f, o, with 1 added to f."""
    from crosscheck.implementations.jax_function import import_jax

    i, g, f, o = np.split(_X @ _W_IH.T + _H @ _W_HH.T + _B_IH + _B_HH, 4, axis=-1)
    with import_jax().enable_x64(True):
        ordered = np.concatenate((i, f + 1, g, o), axis=-1)
        return np.asarray(jax_step("LSTM", ordered, 0.0, _H, _C)[0])


def _haiku_gru(w_hh: Array = _W_HH, sign: int = 1) -> Array:
    """PyTorch's rows, those of z times a sign, without b_hh."""
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    w_r, w_z, w_n = np.split(w_hh[:6], 3)
    a_r, a_z, a_n = np.split(_X @ _W_IH[:6].T + _B_IH[:6], 3, axis=-1)
    with jax.enable_x64(True):
        r = jax.nn.sigmoid(a_r + _H @ w_r.T)
        z = jax.nn.sigmoid(sign * (a_z + _H @ w_z.T))
        return np.asarray((1 - z) * _H + z * jax.numpy.tanh(a_n + (r * _H) @ w_n.T))


#: Without what the new state of a GRU has of the old one, the reset gate has nothing to do.
_NOTHING_TO_RESET = np.where(np.arange(8)[:, None] < 4, _W_HH, 0.0)
_NO_BIAS = np.zeros(8)
_ONLY_OF_N = np.where(np.arange(8) < 4, 0.0, _B_HH)

LEDGER = (
    Difference(
        "rnn-cell-biases",
        "RNNCell",
        "The biases.",
        torch="two: b_ih + b_hh",
        jax="flax's SimpleCell has the one at the input",
        measure=lambda: (_torch_step("RNN")[0], _jax_step("RNN", b_hh=_NO_BIAS)[0]),
        mapping="the JAX twin has both; flax is given their sum",
    ),
    Difference(
        "lstm-cell-biases",
        "LSTMCell",
        "The biases.",
        torch="two for each gate: b_ih + b_hh",
        jax="flax has the one at the hidden state; equinox and haiku have one too",
        measure=lambda: (_torch_step("LSTM")[0], _jax_step("LSTM", b_ih=_NO_BIAS)[0]),
        mapping="the JAX twin has both; the libraries are given their sum",
    ),
    Difference(
        "lstm-cell-carry",
        "LSTMCell",
        "What comes first in the state.",
        torch="(h, c); equinox and haiku too",
        jax="flax: (c, h)",
        measure=lambda: (_torch_step("LSTM")[0], _jax_step("LSTM")[1]),
        mapping="the JAX twin has PyTorch's order",
    ),
    Difference(
        "lstm-cell-gate-order",
        "LSTMCell",
        "The order of the blocks of rows, and what the forget gate starts from.",
        torch="i, f, g, o (equinox and Keras too); ONNX has i, o, f, g",
        jax="haiku: i, g, f, o, and f = σ(s_f + 1)",
        measure=lambda: (_torch_step("LSTM")[0], _haiku_lstm()),
        mapping="the JAX twin has PyTorch's order; flax names the blocks, Keras' bias of f starts at 1",
    ),
    Difference(
        "gru-cell-biases",
        "GRUCell",
        "The biases.",
        torch="two for each of r, z, n",
        jax="flax and equinox: one for r and one for z, two for n",
        measure=lambda: (_torch_step("GRU")[0], _jax_step("GRU", b_hh=_ONLY_OF_N)[0]),
        mapping="the JAX twin has all six; the libraries are given b_ih + b_hh for r and z",
    ),
    Difference(
        "gru-cell-reset",
        "GRUCell",
        "Where the reset gate acts.",
        torch="after the matrix product, r ⊙ (W_hn h + b_hn); flax, equinox, Keras too",
        jax="haiku: before it, W_hn (r ⊙ h); ONNX too, unless linear_before_reset=1",
        measure=lambda: (_torch_step("GRU", b_hh=_NO_BIAS)[0], _haiku_gru(sign=-1)),
        mapping="the JAX twin does as PyTorch",
    ),
    Difference(
        "gru-cell-update",
        "GRUCell",
        "What z is a share of.",
        torch="of the old state: (1 − z) ⊙ n + z ⊙ h; flax and equinox too",
        jax="haiku: of the new one: (1 − z) ⊙ h + z ⊙ n",
        measure=lambda: (
            _torch_step("GRU", _NOTHING_TO_RESET, _NO_BIAS)[0],
            _haiku_gru(_NOTHING_TO_RESET),
        ),
        mapping="the JAX twin does as PyTorch; σ(−s) = 1 − σ(s), so negated rows of z do",
    ),
)
