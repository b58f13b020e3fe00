"""RNNCell, LSTMCell, GRUCell: one step of a recurrent layer, and the gates they are made of."""

from __future__ import annotations

import math
from typing import ClassVar, TypeAlias

import numpy as np

from reference_nn.activations import sigmoid
from reference_nn.layer import Array, Layer, require_choice

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

#: What is carried from step to step: (h,) or, for an LSTM, (h, c).
State: TypeAlias = tuple[Array, ...]


class Gates:
    """What a recurrent layer does at one step with what two affine maps give it.

    Every recurrent layer here maps its input x and its hidden state h by

        a = x W_ihᵀ + b_ih,   u = h W_hhᵀ + b_hh

    to `blocks` numbers per hidden unit. What it makes of them, unit by unit, is in a subclass.
    Between these maps and the gates nothing else happens, so that a sequence (`reference_nn.LSTM`)
    can map the inputs of all its steps at once.
    """

    blocks: ClassVar[int]

    def forward(self, a: Array, u: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        """The next state, and the activations that `backward` needs.

        Args:
            a, u: (samples, blocks · hidden_size)
            state: the old state, each (samples, hidden_size)
        """
        raise NotImplementedError

    def backward(
        self, kept: tuple[Array, ...], state: State, grad: State
    ) -> tuple[Array, Array, State]:
        """From the gradient of the next state: A = ∂L/∂a, U = ∂L/∂u and the gradient of the state.

        The last is the part that does not pass through u: past W_hh, straight from step to step.
        """
        raise NotImplementedError


class RNNGates(Gates):
    """h′ = f(a + u), f either tanh or relu, so A = U = G ⊙ f′(a + u).

    f′ is found from h′ alone: 1 − h′² for tanh; for relu 1 where h′ > 0 and else 0.
    """

    blocks = 1

    def __init__(self, nonlinearity: str) -> None:
        self.nonlinearity = nonlinearity

    def forward(self, a: Array, u: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        """((h′,), (h′,))."""
        new = np.tanh(a + u) if self.nonlinearity == "tanh" else np.maximum(a + u, 0)
        return (new,), (new,)

    def backward(
        self, kept: tuple[Array, ...], state: State, grad: State
    ) -> tuple[Array, Array, State]:
        """A, U, and 0: h is used in u alone."""
        (new,), (grad_new,) = kept, grad
        slope = 1 - new * new if self.nonlinearity == "tanh" else new > 0
        grad_a = grad_new * slope
        return grad_a, grad_a, (np.zeros_like(grad_new),)


class LSTMGates(Gates):
    """With the four blocks of a + u being s_i, s_f, s_g, s_o, in this order:

        i = σ(s_i)    f = σ(s_f)    g = tanh(s_g)    o = σ(s_o)
        c′ = f ⊙ c + i ⊙ g
        h′ = o ⊙ tanh(c′)

    c′ reaches the loss directly, with the gradient C, and through h′, with H ⊙ o ⊙ tanh′(c′).
    Together, with t = tanh(c′):

        D = ∂L/∂c′ = C + H ⊙ o ⊙ (1 − t²)
        ∂L/∂s_i = D ⊙ g ⊙ i (1 − i)        ∂L/∂s_g = D ⊙ i ⊙ (1 − g²)
        ∂L/∂s_f = D ⊙ c ⊙ f (1 − f)        ∂L/∂s_o = H ⊙ t ⊙ o (1 − o)
        ∂L/∂c   = D ⊙ f

    The last line is why an LSTM remembers: from step to step the gradient of c is multiplied by f,
    which can stay near 1, and by no matrix.
    """

    blocks = 4

    def forward(self, a: Array, u: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        """((h′, c′), (i, f, g, o, t))."""
        s_i, s_f, s_g, s_o = np.split(a + u, 4, axis=-1)
        i, f, g, o = sigmoid(s_i), sigmoid(s_f), np.tanh(s_g), sigmoid(s_o)
        c = f * state[1] + i * g
        t = np.tanh(c)
        return (o * t, c), (i, f, g, o, t)

    def backward(
        self, kept: tuple[Array, ...], state: State, grad: State
    ) -> tuple[Array, Array, State]:
        """A = U, (0, D ⊙ f): h is used in u alone."""
        i, f, g, o, t = kept
        grad_h, grad_c = grad
        d = grad_c + grad_h * o * (1 - t * t)
        blocks = (
            d * g * i * (1 - i),
            d * state[1] * f * (1 - f),
            d * i * (1 - g * g),
            grad_h * t * o * (1 - o),
        )
        grad_a = np.concatenate(blocks, axis=-1)
        return grad_a, grad_a, (np.zeros_like(grad_h), d * f)


class GRUGates(Gates):
    """With a and u each in three blocks r, z, n, in this order:

        r = σ(a_r + u_r)    z = σ(a_z + u_z)    n = tanh(a_n + r ⊙ u_n)
        h′ = (1 − z) ⊙ n + z ⊙ h

    With G = ∂L/∂h′, from the last line to the first:

        ∂L/∂n = G ⊙ (1 − z)    A_n = ∂L/∂n ⊙ (1 − n²)    U_n = A_n ⊙ r
        ∂L/∂r = A_n ⊙ u_n      A_r = U_r = ∂L/∂r ⊙ r (1 − r)
        ∂L/∂z = G ⊙ (h − n)    A_z = U_z = ∂L/∂z ⊙ z (1 − z)
        ∂L/∂h = G ⊙ z          past W_hh

    The reset gate r acts on u_n, after the matrix product and the bias. The first version of the
    paper has it before, W_hn (r ⊙ h); PyTorch, flax, equinox and cuDNN have it here.
    """

    blocks = 3

    def forward(self, a: Array, u: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        """((h′,), (r, z, n, u_n))."""
        (a_r, a_z, a_n), (u_r, u_z, u_n) = (np.split(s, 3, axis=-1) for s in (a, u))
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = np.tanh(a_n + r * u_n)
        return ((1 - z) * n + z * state[0],), (r, z, n, u_n)

    def backward(
        self, kept: tuple[Array, ...], state: State, grad: State
    ) -> tuple[Array, Array, State]:
        """A, U, (G ⊙ z,)."""
        (r, z, n, u_n), (g,) = kept, grad
        grad_n = g * (1 - z) * (1 - n * n)
        grad_r = grad_n * u_n * r * (1 - r)
        grad_z = g * (state[0] - n) * z * (1 - z)
        grad_a = np.concatenate((grad_r, grad_z, grad_n), axis=-1)
        grad_u = np.concatenate((grad_r, grad_z, grad_n * r), axis=-1)
        return grad_a, grad_u, (g * z,)


def gates_of_rnn(layer: str, nonlinearity: str) -> RNNGates:
    """The gates of an RNN.

    Raises:
        ValueError: `nonlinearity` is neither ``"tanh"`` nor ``"relu"``.
    """
    require_choice(layer, "nonlinearity", nonlinearity, ("tanh", "relu"))
    return RNNGates(nonlinearity)


def require_shape(layer: object, name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape, before it is broadcast.

    Raises:
        ValueError: the message names the layer, the array and both shapes.
    """
    if array.shape != shape:
        raise ValueError(
            f"{type(layer).__name__}: {name} has shape {array.shape}, expected {shape}"
        )


class _Cell(Layer):
    r"""The two affine maps that all cells share, and their gradients.

    With A = ∂L/∂a and U = ∂L/∂u from the gates, as for `Linear`:

        ∂L/∂W_ih = Aᵀ x    ∂L/∂b_ih = Σ_n A[n]    ∂L/∂x = A W_ih
        ∂L/∂W_hh = Uᵀ h    ∂L/∂b_hh = Σ_n U[n]    ∂L/∂h = U W_hh + what passes W_hh by
    """

    parameter_names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

    def __init__(
        self,
        gates: Gates,
        input_size: int,
        hidden_size: int,
        bias: bool,
        rng: np.random.Generator | None,
    ) -> None:
        rng = rng or np.random.default_rng()
        self.gates, self.input_size, self.hidden_size = gates, input_size, hidden_size
        rows, bound = gates.blocks * hidden_size, 1 / math.sqrt(hidden_size)
        self.weight_ih: Array = rng.uniform(-bound, bound, (rows, input_size))
        self.weight_hh: Array = rng.uniform(-bound, bound, (rows, hidden_size))
        self.bias_ih: Array | None = rng.uniform(-bound, bound, rows) if bias else None
        self.bias_hh: Array | None = rng.uniform(-bound, bound, rows) if bias else None
        self.grad_weight_ih: Array = np.zeros_like(self.weight_ih)
        self.grad_weight_hh: Array = np.zeros_like(self.weight_hh)
        self.grad_bias_ih: Array | None = np.zeros(rows) if bias else None
        self.grad_bias_hh: Array | None = np.zeros(rows) if bias else None

    def _state(self, x: Array, *given: Array | None) -> State:
        """The state, zeros where none is given.

        Raises:
            ValueError: the input or the state is not of the expected shape.
        """
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: expected x of shape (samples, {self.input_size}), "
                f"got shape {x.shape}"
            )
        shape = (x.shape[0], self.hidden_size)
        state = tuple(np.zeros(shape, x.dtype) if s is None else s for s in given)
        for name, part in zip("hc", state, strict=False):
            require_shape(self, name, part, shape)
        return state

    def _step(self, x: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        a, u = x @ self.weight_ih.T, state[0] @ self.weight_hh.T
        if self.bias_ih is not None:
            a, u = a + self.bias_ih, u + self.bias_hh
        return self.gates.forward(a, u, state)

    def _backward(self, x: Array, state: State, grad: State) -> tuple[Array, ...]:
        for name, part in zip("hc", grad, strict=False):
            require_shape(self, f"grad_{name}", part, (x.shape[0], self.hidden_size))
        _, kept = self._step(x, state)
        grad_a, grad_u, (grad_h, *rest) = self.gates.backward(kept, state, grad)
        self.grad_weight_ih = grad_a.T @ x
        self.grad_weight_hh = grad_u.T @ state[0]
        if self.bias_ih is not None:
            self.grad_bias_ih, self.grad_bias_hh = grad_a.sum(axis=0), grad_u.sum(axis=0)
        return grad_a @ self.weight_ih, grad_u @ self.weight_hh + grad_h, *rest


class _HiddenCell(_Cell):
    """Where the state is h alone."""

    def forward(self, x: Array, h: Array | None = None) -> Array:
        """The next hidden state, (samples, hidden_size)."""
        (new,), _ = self._step(x, self._state(x, h))
        return new

    def backward(self, x: Array, h: Array | None, grad_h: Array) -> tuple[Array, Array]:
        """Gradients of x and h, from that of the next h; leaves those of the parameters."""
        grad_x, grad_old = self._backward(x, self._state(x, h), (grad_h,))
        return grad_x, grad_old


class RNNCell(_HiddenCell):
    r"""h′ = f(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh),   f tanh or relu

    With G = ∂L/∂h′ and A = G ⊙ f′, f′ being 1 − h′² for tanh, and 1 where h′ > 0 for relu:

        ∂L/∂x = A W_ih    ∂L/∂W_ih = Aᵀ x    ∂L/∂b_ih = Σ_n A[n]
        ∂L/∂h = A W_hh    ∂L/∂W_hh = Aᵀ h    ∂L/∂b_hh = Σ_n A[n]

    Two biases are added where one would do, and get the same gradient: PyTorch's layout, and
    cuDNN's. flax's SimpleCell has the one of the input.

    Shapes:
        x: (samples, input_size), h and output: (samples, hidden_size); h may be None: zeros
        weight_ih: (hidden_size, input_size), weight_hh: (hidden_size, hidden_size)
        bias_ih, bias_hh: (hidden_size,)

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes and another nonlinearity.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.RNNCell's.

    Source: Elman, Finding structure in time, Cognitive Science 14 (1990).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        rng: np.random.Generator | None = None,
    ) -> None:
        gates = gates_of_rnn("RNNCell", nonlinearity)
        super().__init__(gates, input_size, hidden_size, bias, rng)


class LSTMCell(_Cell):
    r"""Long short-term memory: a state h that is shown, and a state c that is kept

    With s = x W_ihᵀ + b_ih + h W_hhᵀ + b_hh in four blocks s_i, s_f, s_g, s_o:

        i = σ(s_i)    f = σ(s_f)    g = tanh(s_g)    o = σ(s_o)
        c′ = f ⊙ c + i ⊙ g,    h′ = o ⊙ tanh(c′)

    Of what is kept, c, the forget gate f leaves a part, to which the input gate i adds of the new
    g; the output gate o shows a part of it. `LSTMGates` derives S = ∂L/∂s and ∂L/∂c from the
    gradients of h′ and c′; the rest is that of two affine maps:

        ∂L/∂x = S W_ih    ∂L/∂W_ih = Sᵀ x    ∂L/∂b_ih = Σ_n S[n]
        ∂L/∂h = S W_hh    ∂L/∂W_hh = Sᵀ h    ∂L/∂b_hh = Σ_n S[n]

    Elsewhere the blocks are called and ordered differently: Keras i, f, c, o; ONNX i, o, f, c.

    Shapes:
        x: (samples, input_size); h, c and both outputs h′, c′: (samples, hidden_size); h and c
        may be None: zeros
        weight_ih: (4 hidden_size, input_size), weight_hh: (4 hidden_size, hidden_size)
        bias_ih, bias_hh: (4 hidden_size,)

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.LSTMCell's.

    Source: Hochreiter and Schmidhuber, Long short-term memory, Neural Computation 9 (1997); Gers,
    Schmidhuber, Cummins, Learning to forget, Neural Computation 12 (2000), for the forget gate.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(LSTMGates(), input_size, hidden_size, bias, rng)

    def forward(
        self, x: Array, h: Array | None = None, c: Array | None = None
    ) -> tuple[Array, Array]:
        """The next h and c, each (samples, hidden_size)."""
        (new_h, new_c), _ = self._step(x, self._state(x, h, c))
        return new_h, new_c

    def backward(
        self, x: Array, h: Array | None, c: Array | None, grad_h: Array, grad_c: Array
    ) -> tuple[Array, Array, Array]:
        """Gradients of x, h and c, from those of the next h and c; leaves the parameters'."""
        grad_x, grad_old, grad_kept = self._backward(x, self._state(x, h, c), (grad_h, grad_c))
        return grad_x, grad_old, grad_kept


class GRUCell(_HiddenCell):
    r"""Gated recurrent unit: a part z of the state stays, the rest is replaced

    With a = x W_ihᵀ + b_ih and u = h W_hhᵀ + b_hh, in blocks r, z, n:

        r = σ(a_r + u_r)    z = σ(a_z + u_z)    n = tanh(a_n + r ⊙ u_n)
        h′ = (1 − z) ⊙ n + z ⊙ h

    The reset gate r says how much of the state the candidate n sees. Here a and u do not only
    occur in their sum, so their gradients A and U differ, in the block n (`GRUGates` derives
    them), and so do those of the two biases:

        ∂L/∂x = A W_ih                ∂L/∂W_ih = Aᵀ x    ∂L/∂b_ih = Σ_n A[n]
        ∂L/∂h = U W_hh + ∂L/∂h′ ⊙ z    ∂L/∂W_hh = Uᵀ h    ∂L/∂b_hh = Σ_n U[n]

    flax and equinox have four biases for these six: one for each of r and z, two for n.

    Shapes:
        x: (samples, input_size), h and output: (samples, hidden_size); h may be None: zeros
        weight_ih: (3 hidden_size, input_size), weight_hh: (3 hidden_size, hidden_size)
        bias_ih, bias_hh: (3 hidden_size,)

    dtypes: float32 or float64, that of the input and the parameters. Raises ValueError for other
    shapes.

    Initial parameters are uniform in ±1/√hidden_size, as torch.nn.GRUCell's.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014;
    torch.nn.GRUCell, documentation, for where the reset gate acts.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(GRUGates(), input_size, hidden_size, bias, rng)
