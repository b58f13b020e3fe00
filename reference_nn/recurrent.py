"""RNN, LSTM, GRU: cells over a sequence, in several layers, forwards and backwards in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reference_nn.layer import Array, Layer, require_choice
from reference_nn.recurrent_cells import (
    Gates,
    GRUGates,
    LSTMGates,
    State,
    gates_of_rnn,
    require_shape,
)

__all__ = ["GRU", "LSTM", "RNN"]


@dataclass(frozen=True)
class _Run:
    """One direction of one layer over the whole sequence, and what its backward pass needs.

    Attributes:
        suffix: the ending of its parameters' names, such as ``_l0_reverse``.
        order: the step through time, 1 or −1.
        x: (length, samples, features), in the order in which it was read.
        states: before the first step, and after each.
        kept: the activations of each step.
    """

    suffix: str
    order: int
    x: Array
    states: list[State]
    kept: list[tuple[Array, ...]]

    def output(self) -> Array:
        """The hidden states after each step, (length, samples, hidden_size), in order of time."""
        return np.stack([h for h, *_ in self.states[1:]])[:: self.order]


class _Recurrent(Layer):
    r"""What RNN, LSTM and GRU share: time, layers and directions.

    One layer in one direction applies the same cell at every step,

        h_t = cell(a_t, u_t),   a_t = W_ih x_t + b_ih,   u_t = W_hh h_{t−1} + b_hh

    Backpropagation through time. h_t reaches the loss by two ways: as the output at step t, with
    the gradient G_t, and through the next step, with the gradient that the next step's backward
    pass gives to its old state. So from the last step to the first, starting with the gradient of
    the last state,

        H_t = G_t + U_{t+1} W_hh + (what passes W_hh by),    A_t, U_t from H_t by the gates

    where H_0, with no output to add, is the gradient of the initial state. A parameter is used at
    every step, so its gradient is a sum over the steps: with t and the samples n as rows of one
    matrix,

        ∂L/∂W_ih = Aᵀ X    ∂L/∂b_ih = Σ_{t,n} A    ∂L/∂X = A W_ih
        ∂L/∂W_hh = Uᵀ H    ∂L/∂b_hh = Σ_{t,n} U    where row t of H is h_{t−1}

    Only what depends on the step before has to be done step by step: h W_hhᵀ and the gates, and
    in the backward pass U W_hh. All else is a few products of large matrices.

    A second direction is the same cell with other parameters on the sequence reversed in time;
    both outputs are put side by side, so x collects the gradients of both. The next layer takes
    that as its input.
    """

    def __init__(
        self,
        gates: Gates,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        rng: np.random.Generator | None,
    ) -> None:
        name = type(self).__name__
        require_choice(name, "dropout", dropout, (0.0,))
        if num_layers < 1:
            raise ValueError(f"{name}: num_layers={num_layers} must be 1 or more")
        rng = rng or np.random.default_rng()
        self.gates, self.input_size, self.hidden_size = gates, input_size, hidden_size
        self.num_layers, self.batch_first = num_layers, batch_first
        #: The endings of parameter names and the step through time, one for each direction.
        self.directions = (("", 1), ("_reverse", -1)) if bidirectional else (("", 1),)
        rows, bound = gates.blocks * hidden_size, 1 / math.sqrt(hidden_size)
        for layer in range(num_layers):
            features = len(self.directions) * hidden_size if layer else input_size
            for direction, _ in self.directions:
                shapes = {"weight_ih": (rows, features), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}  # type: ignore[dict-item]
                for parameter, shape in shapes.items():
                    full = f"{parameter}_l{layer}{direction}"
                    setattr(self, full, rng.uniform(-bound, bound, shape))
                    setattr(self, "grad_" + full, np.zeros(shape))

    def parameters(self) -> dict[str, Array]:
        """``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, ``weight_ih_l1`` …"""
        every = [
            f"{name}_l{layer}{direction}"
            for layer in range(self.num_layers)
            for direction, _ in self.directions
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        return {name: getattr(self, name) for name in every if hasattr(self, name)}

    # --- one direction of one layer -----------------------------------------------------------

    def _affine(self, kind: str, suffix: str, rows: Array) -> Array:
        """Rows times W_ihᵀ plus b_ih, or with hh."""
        product = rows @ getattr(self, f"weight_{kind}{suffix}").T
        bias = getattr(self, f"bias_{kind}{suffix}", None)
        return np.asarray(product if bias is None else product + bias)

    def _run(self, suffix: str, order: int, x: Array, state: State) -> _Run:
        x = x[::order]
        length, samples, features = x.shape
        a = self._affine("ih", suffix, x.reshape(-1, features)).reshape(length, samples, -1)
        run = _Run(suffix, order, x, [state], [])
        for t in range(length):
            u = self._affine("hh", suffix, state[0])
            state, activations = self.gates.forward(a[t], u, state)
            run.states.append(state)
            run.kept.append(activations)
        return run

    def _run_backward(self, run: _Run, grad_output: Array, grad: State) -> tuple[Array, State]:
        """Gradients of x and of the initial state, from those of the output and the last state."""
        grad_output = grad_output[:: run.order]
        weight_ih = getattr(self, f"weight_ih{run.suffix}")
        weight_hh = getattr(self, f"weight_hh{run.suffix}")
        steps_a, steps_u = [], []
        for t in reversed(range(len(run.x))):
            grad = (grad[0] + grad_output[t], *grad[1:])
            a, u, past = self.gates.backward(run.kept[t], run.states[t], grad)
            grad = (u @ weight_hh + past[0], *past[1:])
            steps_a.append(a)
            steps_u.append(u)
        # The steps as rows of one matrix, first step first.
        grad_a, grad_u = np.concatenate(steps_a[::-1]), np.concatenate(steps_u[::-1])
        h = np.concatenate([before[0] for before in run.states[:-1]])
        found = {
            "weight_ih": grad_a.T @ run.x.reshape(len(grad_a), -1),
            "weight_hh": grad_u.T @ h,
            "bias_ih": grad_a.sum(axis=0),
            "bias_hh": grad_u.sum(axis=0),
        }
        for name, gradient in found.items():
            if hasattr(self, name + run.suffix):
                setattr(self, f"grad_{name}{run.suffix}", gradient)
        return (grad_a @ weight_ih).reshape(run.x.shape)[:: run.order], grad

    # --- all layers and directions --------------------------------------------------------------

    def _runs(self, x: Array, state: State) -> list[list[_Run]]:
        """The runs of every layer, one for each direction. The states are numbered alike."""
        layers: list[list[_Run]] = []
        initial = iter(zip(*state, strict=True))
        for layer in range(self.num_layers):
            runs = [
                self._run(f"_l{layer}{direction}", order, x, next(initial))
                for direction, order in self.directions
            ]
            layers.append(runs)
            x = np.concatenate([run.output() for run in runs], axis=-1)
        return layers

    def _forward(self, x: Array, *given: Array | None) -> tuple[Array, ...]:
        state = self._state(x, given)
        layers = self._runs(self._time_first(x), state)
        output = np.concatenate([run.output() for run in layers[-1]], axis=-1)
        last = zip(*(run.states[-1] for runs in layers for run in runs), strict=True)
        return self._time_first(output), *(np.stack(part) for part in last)

    def _backward(
        self, x: Array, given: tuple[Array | None, ...], *upstream: Array | None
    ) -> tuple[Array, ...]:
        state = self._state(x, given)
        grad_output, *grad_last = self._upstream(x, upstream)
        last = [*zip(*grad_last, strict=True)]
        initial: list[State] = []
        grad_x = self._time_first(grad_output)
        for runs in reversed(self._runs(self._time_first(x), state)):
            grad_outputs = np.split(grad_x, len(runs), axis=-1)
            grad_x = np.zeros_like(runs[0].x)
            for run, grad in reversed([*zip(runs, grad_outputs, strict=True)]):
                grad_of_run, grad_state = self._run_backward(run, grad, last.pop())
                grad_x = grad_x + grad_of_run
                initial.append(grad_state)
        of_state = zip(*reversed(initial), strict=True)
        return self._time_first(grad_x), *(np.stack(part) for part in of_state)

    def _time_first(self, sequence: Array) -> Array:
        """(length, samples, features) from what the caller has, and the other way round."""
        return sequence.swapaxes(0, 1) if self.batch_first else sequence

    # --- shapes ---------------------------------------------------------------------------------

    def _state(self, x: Array, given: tuple[Array | None, ...]) -> State:
        """The initial state, zeros where none is given.

        Raises:
            ValueError: the input or the state is not of the expected shape.
        """
        if x.ndim != 3 or x.shape[2] != self.input_size or 0 in x.shape[:2]:
            axes = "samples, length" if self.batch_first else "length, samples"
            raise ValueError(
                f"{type(self).__name__}: expected x of shape ({axes}, {self.input_size}) with one "
                f"step or more, got shape {x.shape}"
            )
        return self._filled(x, dict(zip(("h0", "c0"), given, strict=False)), {})

    def _upstream(self, x: Array, given: tuple[Array | None, ...]) -> State:
        """The gradients of the outputs, zeros where none is given."""
        sequence = (*x.shape[:2], len(self.directions) * self.hidden_size)
        names = ("grad_output", "grad_hn", "grad_cn")
        named = dict(zip(names, given, strict=False))
        return self._filled(x, named, {"grad_output": sequence})

    def _filled(
        self, x: Array, given: dict[str, Array | None], shapes: dict[str, tuple[int, ...]]
    ) -> State:
        samples = self._time_first(x).shape[1]
        usual = (self.num_layers * len(self.directions), samples, self.hidden_size)
        for name, array in given.items():
            if array is not None:
                require_shape(self, name, array, shapes.get(name, usual))
        return tuple(
            np.zeros(shapes.get(name, usual), x.dtype) if array is None else array
            for name, array in given.items()
        )


class _HiddenOnly(_Recurrent):
    """Where the state is h alone."""

    def forward(self, x: Array, h0: Array | None = None) -> tuple[Array, Array]:
        """The output and the last hidden states."""
        output, hn = self._forward(x, h0)
        return output, hn

    def backward(
        self, x: Array, h0: Array | None, grad_output: Array | None, grad_hn: Array | None = None
    ) -> tuple[Array, Array]:
        """Gradients of x and h0; leaves those of the parameters. None upstream is zeros."""
        grad_x, grad_h0 = self._backward(x, (h0,), grad_output, grad_hn)
        return grad_x, grad_h0


class RNN(_HiddenOnly):
    r"""h_t = f(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh) for every step t, f tanh or relu

    The cell is `RNNCell`, whose gradients A_t = U_t = H_t ⊙ f′ are there. Through time (derived in
    `_Recurrent`), with G_t the gradient of the output at step t:

        H_t = G_t + (H_{t+1} ⊙ f′_{t+1}) W_hh

    So a gradient that comes from k steps later was multiplied k times by W_hh and by f′, which is
    why it vanishes or explodes, and why there are LSTM and GRU.

    Shapes:
        x: (length, samples, input_size), with ``batch_first`` (samples, length, input_size)
        h0: (num_layers · directions, samples, hidden_size), or None: zeros; ordered layer by
        layer, in each forwards, then backwards
        output: as x, with directions · hidden_size features: the hidden states of the last layer
        hn: as h0: the hidden states after the last step; backwards that is the first in time
        parameters: for layer k, ``weight_ih_lk`` (hidden_size, features), ``weight_hh_lk``
        (hidden_size, hidden_size), ``bias_ih_lk`` and ``bias_hh_lk`` (hidden_size,), and the same
        ending in ``_reverse``; features is input_size, or directions · hidden_size above layer 0

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes, another nonlinearity, and dropout between layers, which this layer does not have.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.RNN's.

    Source: Elman, Finding structure in time, Cognitive Science 14 (1990); Werbos, Backpropagation
    through time: what it does and how to do it, Proceedings of the IEEE 78 (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        gates = gates_of_rnn("RNN", nonlinearity)
        super().__init__(
            gates, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng
        )  # fmt: skip


class LSTM(_Recurrent):
    r"""(h_t, c_t) = LSTMCell(x_t, h_{t−1}, c_{t−1}) for every step t

        i, f, o = σ(s_i), σ(s_f), σ(s_o),   g = tanh(s_g),   s_t = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh
        c_t = f_t ⊙ c_{t−1} + i_t ⊙ g_t,    h_t = o_t ⊙ tanh(c_t)

    `LSTMCell` has the gradients of one step. Through time (derived in `_Recurrent`) two gradients
    run backwards, that of h and that of c; with S_t = ∂L/∂s_t and G_t that of the output:

        H_t = G_t + S_{t+1} W_hh,    D_t = D_{t+1} ⊙ f_{t+1} + H_t ⊙ o_t ⊙ (1 − tanh²(c_t))

    Shapes:
        x: (length, samples, input_size), with ``batch_first`` (samples, length, input_size)
        h0, c0: (num_layers · directions, samples, hidden_size), or None: zeros; ordered layer by
        layer, in each forwards, then backwards
        output: as x, with directions · hidden_size features: the hidden states of the last layer
        hn, cn: as h0: the states after the last step; backwards that is the first in time
        parameters: as `RNN`, with 4 hidden_size for the rows, in blocks i, f, g, o

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes, and for dropout between layers and a proj_size, which this layer does not have.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.LSTM's.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9 (1997); Graves
    and Schmidhuber, Framewise phoneme classification with bidirectional LSTM, Neural Networks 18
    (2005), for the whole gradient through time.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        require_choice("LSTM", "proj_size", proj_size, (0,))
        gates = LSTMGates()
        super().__init__(
            gates, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng
        )  # fmt: skip

    def forward(
        self, x: Array, h0: Array | None = None, c0: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """The output and the last states h and c."""
        output, hn, cn = self._forward(x, h0, c0)
        return output, hn, cn

    def backward(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        grad_output: Array | None,
        grad_hn: Array | None = None,
        grad_cn: Array | None = None,
    ) -> tuple[Array, Array, Array]:
        """Gradients of x, h0 and c0; leaves those of the parameters. None upstream is zeros."""
        grad_x, grad_h0, grad_c0 = self._backward(x, (h0, c0), grad_output, grad_hn, grad_cn)
        return grad_x, grad_h0, grad_c0


class GRU(_HiddenOnly):
    r"""h_t = GRUCell(x_t, h_{t−1}) for every step t

        r, z = σ(a_r + u_r), σ(a_z + u_z),   n = tanh(a_n + r ⊙ u_n),   h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}

    with a_t = W_ih x_t + b_ih and u_t = W_hh h_{t−1} + b_hh. `GRUCell` has the gradients of one step.
    Through time (derived in `_Recurrent`), with G_t that of the output:

        H_t = G_t + U_{t+1} W_hh + H_{t+1} ⊙ z_{t+1}

    Where z is near 1 the state stays, and the gradient passes by the matrix unchanged.

    Shapes:
        x: (length, samples, input_size), with ``batch_first`` (samples, length, input_size)
        h0: (num_layers · directions, samples, hidden_size), or None: zeros; ordered layer by
        layer, in each forwards, then backwards
        output: as x, with directions · hidden_size features: the hidden states of the last layer
        hn: as h0: the hidden states after the last step; backwards that is the first in time
        parameters: as `RNN`, with 3 hidden_size for the rows, in blocks r, z, n

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes, and for dropout between layers, which this layer does not have.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.GRU's.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014;
    torch.nn.GRU, documentation, for where the reset gate acts.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        rng: np.random.Generator | None = None,
    ) -> None:
        gates = GRUGates()
        super().__init__(
            gates, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, rng
        )  # fmt: skip
