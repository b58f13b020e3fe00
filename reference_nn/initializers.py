"""Initial values of weights, in place, as torch.nn.init's.

Arrays are laid out (out, in, …kernel), torch's way; `Linear` here holds the transpose, and a
transposed view serves: ``xavier_uniform_(linear.weights.T, rng=rng)``.

Why a variance: with y = Σ over fan_in of w x and independent w and x of mean zero,
Var y = fan_in · Var w · Var x. So Var w = 1/fan_in keeps the size of the activations, 1/fan_out
that of the gradients, and a rectifier that drops half of both needs 2 in place of 1.
"""

from __future__ import annotations

import math

import numpy as np

from reference_nn.layer import Array, require_choice

__all__ = [
    "calculate_gain",
    "constant_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
]

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor by which a nonlinearity wants weights larger; √(2/(1 + a²)) for leaky_relu of slope a.

    Raises ValueError for another name than linear, sigmoid, tanh, relu, selu, leaky_relu.

    Source: torch.nn.init.calculate_gain's documentation.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + a * a))
    require_choice("calculate_gain", "nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    return _GAINS[nonlinearity]


def fans(array: Array) -> tuple[int, int]:
    """How many inputs an output of the layer has (fan_in), and the other way round.

    Raises:
        ValueError: fewer than two axes: a bias has no fan.
    """
    if array.ndim < 2:
        raise ValueError(f"shape {array.shape} has no fan: (out, in, …) is needed")
    field = math.prod(array.shape[2:])
    return array.shape[1] * field, array.shape[0] * field


def uniform_(
    array: Array, a: float = 0.0, b: float = 1.0, *, rng: np.random.Generator | None = None
) -> Array:
    """U[a, b) in every element. Returns the array."""
    array[...] = _rng(rng).uniform(a, b, array.shape)
    return array


def normal_(
    array: Array, mean: float = 0.0, std: float = 1.0, *, rng: np.random.Generator | None = None
) -> Array:
    """N(mean, std²) in every element. Returns the array."""
    array[...] = _rng(rng).normal(mean, std, array.shape)
    return array


def constant_(array: Array, value: float) -> Array:
    """The same value in every element: 0 and 1 for biases and scales. Returns the array."""
    array[...] = value
    return array


def eye_(array: Array) -> Array:
    """The identity, as far as a matrix that is not square can be it. Returns the array.

    Raises ValueError for an array that is no matrix.
    """
    if array.ndim != 2:
        raise ValueError(f"eye_: shape {array.shape} is no matrix")
    array[...] = np.eye(*array.shape)
    return array


def trunc_normal_(
    array: Array,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    *,
    rng: np.random.Generator | None = None,
) -> Array:
    """N(mean, std²) given that the value lies in [a, b]. Returns the array.

    What falls outside is drawn again, which is the definition. a and b are values, not multiples of
    std; the standard deviation of what is left is smaller than std.
    """
    if not a < b:
        raise ValueError(f"trunc_normal_: the bounds {a} and {b} leave nothing between them")
    draw = _rng(rng)
    values: Array = np.asarray(draw.normal(mean, std, array.shape))
    outside = np.asarray((values < a) | (values > b))
    while outside.any():
        values[outside] = draw.normal(mean, std, int(outside.sum()))
        outside = np.asarray((values < a) | (values > b))
    array[...] = values
    return array


def xavier_uniform_(
    array: Array, gain: float = 1.0, *, rng: np.random.Generator | None = None
) -> Array:
    """U(−r, r) with r = gain √(6/(fan_in + fan_out)), so Var = gain² 2/(fan_in + fan_out).

    Returns the array. Raises ValueError for fewer than two axes.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
    networks, AISTATS 2010, equation 16.
    """
    bound = gain * math.sqrt(6 / sum(fans(array)))
    return uniform_(array, -bound, bound, rng=rng)


def xavier_normal_(
    array: Array, gain: float = 1.0, *, rng: np.random.Generator | None = None
) -> Array:
    """N(0, gain² 2/(fan_in + fan_out)). Otherwise as `xavier_uniform_`."""
    return normal_(array, 0.0, gain * math.sqrt(2 / sum(fans(array))), rng=rng)


def _kaiming(array: Array, a: float, mode: str, nonlinearity: str) -> float:
    require_choice("kaiming", "mode", mode, ("fan_in", "fan_out"))
    return calculate_gain(nonlinearity, a) / math.sqrt(fans(array)[mode == "fan_out"])


def kaiming_uniform_(
    array: Array,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: np.random.Generator | None = None,
) -> Array:
    """U(−r, r) with r = gain √(3/fan), so Var = gain²/fan; gain as `calculate_gain` says.

    Returns the array. Raises ValueError for fewer than two axes, another mode than fan_in and
    fan_out, an unknown nonlinearity.

    Source: He et al., Delving deep into rectifiers, ICCV 2015, equations 10 and 14.
    """
    bound = math.sqrt(3) * _kaiming(array, a, mode, nonlinearity)
    return uniform_(array, -bound, bound, rng=rng)


def kaiming_normal_(
    array: Array,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    *,
    rng: np.random.Generator | None = None,
) -> Array:
    """N(0, gain²/fan). Otherwise as `kaiming_uniform_`."""
    return normal_(array, 0.0, _kaiming(array, a, mode, nonlinearity), rng=rng)


def orthogonal_(
    array: Array, gain: float = 1.0, *, rng: np.random.Generator | None = None
) -> Array:
    """gain times a matrix with orthonormal rows or columns, whichever are fewer, uniformly drawn.

    All axes but the first are one. Q of the QR decomposition of a normal matrix, each column times
    the sign of R's diagonal: without the signs Q is not uniform (Mezzadri). Returns the array.
    Raises ValueError for fewer than two axes.

    Source: Saxe, McClelland, Ganguli, Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks, ICLR 2014; Mezzadri, How to generate random matrices from the classical
    compact groups, Notices of the AMS 54 (2007).
    """
    if array.ndim < 2:
        raise ValueError(f"orthogonal_: shape {array.shape}: at least two axes are needed")
    rows, columns = array.shape[0], math.prod(array.shape[1:])
    draw = _rng(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draw)
    q = q * np.sign(np.diag(r))
    array[...] = gain * (q if rows >= columns else q.T).reshape(array.shape)
    return array


def sparse_(
    array: Array, sparsity: float, std: float = 0.01, *, rng: np.random.Generator | None = None
) -> Array:
    """N(0, std²), with ⌈sparsity · rows⌉ elements of every column set to 0. Returns the array.

    Raises ValueError for an array that is no matrix, or a share outside [0, 1].

    Source: Martens, Deep learning via Hessian-free optimization, ICML 2010, section 5.
    """
    if array.ndim != 2:
        raise ValueError(f"sparse_: shape {array.shape} is no matrix")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity {sparsity}: it must be in [0, 1]")
    draw = _rng(rng)
    normal_(array, 0.0, std, rng=draw)
    rows = array.shape[0]
    for column in range(array.shape[1]):
        array[draw.permutation(rows)[: math.ceil(sparsity * rows)], column] = 0
    return array


def _rng(rng: np.random.Generator | None) -> np.random.Generator:
    return np.random.default_rng() if rng is None else rng
