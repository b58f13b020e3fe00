"""The layers that the benchmarks run over: different mathematics, 60 to 1,000,000 elements.

Where the catalogue has a layer its spec is taken as it is; the others have a spec here, with a twin
in each framework. The code under test is reference_nn's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crosscheck.case import Case
from crosscheck.domains import scaled
from crosscheck.families import catalogue
from crosscheck.networks import network
from crosscheck.sampling import build, representable
from crosscheck.spec import Layer, Problem, Tensor

#: About how many differentiable elements a size class has.
CLASSES = (60, 2_000, 40_000, 1_000_000)


@dataclass(frozen=True)
class Subject:
    """A layer of the benchmarks.

    Attributes:
        name: what tables call it.
        layer: its spec.
        sizes: axis sizes for each of `CLASSES`.
        options: over the layer's defaults.
        smooth: whether it is differentiable everywhere.
        exact: whether reference_nn's code keeps extended precision, so that its gradient there
            can stand for the truth.
    """

    name: str
    layer: Layer
    sizes: tuple[Mapping[str, int], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    smooth: bool = True
    exact: bool = True

    def problem(self, size: int) -> Problem:
        """The problem of a size class, by its index in `CLASSES`."""
        return self.layer.problem(self.options, self.sizes[size])

    def case(self, size: int, seed: int, scale: float = 1.0, dtype: str = "float64") -> Case:
        """A drawn case with its real, differentiable inputs `scale` times as large."""
        case = build(self.problem(size), seed, f"scale={scale:g}")
        moved = {
            name: representable(array * scale)
            if name in case.problem.inputs and name in case.problem.differentiable
            else array
            for name, array in case.values.items()
        }
        return case.with_values(values=moved, dtype=dtype)


# --- layers that have a spec of their own here ------------------------------------------------


def _torch_layer_norm(p: Problem) -> Any:
    import torch

    def run(x: Any, weights: Any, bias: Any) -> Any:
        return torch.nn.functional.layer_norm(x, (p.features,), weights, bias, 1e-5)

    return run


def _jax_standardize(x: Any, axis: int) -> Any:
    import jax.numpy as jnp

    difference = x - x.mean(axis, keepdims=True)
    return difference / jnp.sqrt((difference**2).mean(axis, keepdims=True) + 1e-5)


def _jax_layer_norm(p: Problem, x: Any, weights: Any, bias: Any) -> Any:
    return _jax_standardize(x, -1) * weights + bias


def _torch_batch_norm(p: Problem) -> Any:
    import torch

    def run(x: Any, weights: Any, bias: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, weights, bias, True, 0.1, 1e-5)

    return run


def _jax_batch_norm(p: Problem, x: Any, weights: Any, bias: Any) -> Any:
    return _jax_standardize(x, 0) * weights + bias


LAYER_NORM = Layer(
    "LayerNorm",
    inputs={"x": "batch features"},
    parameters={"weights": "features", "bias": "features"},
    outputs={"output": "batch features"},
    constructor=("features",),
    torch=_torch_layer_norm,
    jax=_jax_layer_norm,
)
BATCH_NORM = Layer(
    "BatchNorm1d",
    inputs={"x": "batch features"},
    parameters={"weights": "features", "bias": "features"},
    outputs={"output": "batch features"},
    constructor=("features",),
    options={"track_running_stats": False},
    valid=lambda p: None if p.batch > 1 else "one sample is its own mean",
    torch=_torch_batch_norm,
    jax=_jax_batch_norm,
)


def _torch_rnn(p: Problem) -> Any:
    import torch

    def run(x: Any, h: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any) -> Any:
        return torch.rnn_tanh_cell(x, h, weight_ih, weight_hh, bias_ih, bias_hh)

    return run


def _jax_rnn(p: Problem, x: Any, h: Any, **w: Any) -> Any:
    import jax.numpy as jnp

    return jnp.tanh(x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"])


def _torch_lstm(p: Problem) -> Any:
    import torch

    def run(x: Any, h: Any, c: Any, **w: Any) -> Any:
        return torch.lstm_cell(
            x, (h, c), w["weight_ih"], w["weight_hh"], w["bias_ih"], w["bias_hh"]
        )

    return run


def _jax_lstm(p: Problem, x: Any, h: Any, c: Any, **w: Any) -> Any:
    import jax
    import jax.numpy as jnp

    s = x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
    i, f, g, o = jnp.split(s, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def _recurrent(blocks: int) -> dict[str, Tensor]:
    small = scaled(0.3)
    rows = f"{blocks}*hidden"
    return {
        "weight_ih": Tensor(f"{rows} inputs", small),
        "weight_hh": Tensor(f"{rows} hidden", small),
        "bias_ih": Tensor(rows, small),
        "bias_hh": Tensor(rows, small),
    }


RNN_CELL = Layer(
    "RNNCell",
    inputs={"x": "batch inputs", "h": "batch hidden"},
    parameters=_recurrent(1),
    outputs={"output": "batch hidden"},
    constructor=("inputs", "hidden"),
    torch=_torch_rnn,
    jax=_jax_rnn,
)
LSTM_CELL = Layer(
    "LSTMCell",
    inputs={"x": "batch inputs", "h": "batch hidden", "c": "batch hidden"},
    parameters=_recurrent(4),
    outputs={"output": "batch hidden", "cell": "batch hidden"},
    constructor=("inputs", "hidden"),
    torch=_torch_lstm,
    jax=_jax_lstm,
)


def _sizes(*rows: tuple[int, ...], axes: str) -> tuple[dict[str, int], ...]:
    return tuple(dict(zip(axes.split(), row, strict=True)) for row in rows)


_DENSE = "batch in_features out_features out_features_2"
_SQUARE = ((6, 10), (40, 50), (200, 201), (1000, 1001))

SUBJECTS: tuple[Subject, ...] = (
    Subject(
        "Linear",
        catalogue["Linear"],
        _sizes(
            (3, 5, 7),
            (12, 39, 40),
            (20, 180, 200),
            (16, 980, 1000),
            axes="batch in_features out_features",
        ),
    ),
    Subject(
        "network, tanh, squared error",
        network("Linear", "Tanh", "Linear", "MSELoss"),
        _sizes(
            (2, 4, 5, 3), (7, 35, 40, 10), (20, 150, 200, 30), (16, 800, 1000, 180), axes=_DENSE
        ),
    ),
    Subject(
        "network, relu, cross-entropy",
        network("Linear", "ReLU", "Linear", "CrossEntropyLoss"),
        _sizes(
            (2, 4, 5, 3), (7, 35, 40, 10), (20, 150, 200, 30), (16, 800, 1000, 180), axes=_DENSE
        ),
        smooth=False,
    ),
    Subject(
        "Softmax",
        catalogue["Softmax"],
        _sizes((3, 5, 4), (5, 20, 21), (10, 60, 70), (20, 200, 250), axes="batch channels length"),
    ),
    Subject(
        "CrossEntropyLoss", catalogue["CrossEntropyLoss"], _sizes(*_SQUARE, axes="batch classes")
    ),
    Subject("LayerNorm", LAYER_NORM, _sizes(*_SQUARE, axes="batch features")),
    Subject(
        "BatchNorm1d",
        BATCH_NORM,
        _sizes(*_SQUARE, axes="batch features"),
        {"track_running_stats": False},
    ),
    Subject(
        "RNNCell",
        RNN_CELL,
        _sizes((2, 3, 5), (5, 20, 33), (20, 50, 170), (20, 200, 900), axes="batch inputs hidden"),
    ),
    Subject(
        "LSTMCell",
        LSTM_CELL,
        _sizes((2, 2, 3), (5, 8, 17), (10, 30, 85), (20, 100, 440), axes="batch inputs hidden"),
    ),
    Subject(
        "Conv2d",
        catalogue["Conv2d"],
        _sizes(
            (1, 2, 3, 4, 5, 3, 2),
            (2, 13, 14, 7, 9, 3, 2),
            (4, 60, 65, 11, 13, 3, 2),
            (2, 380, 390, 12, 10, 3, 2),
            axes="batch in_channels out_channels height width kernel_height kernel_width",
        ),
    ),
    Subject(
        "attention",
        catalogue["ScaledDotProductAttention"],
        _sizes(
            (1, 1, 3, 4, 5, 4),
            (2, 2, 7, 6, 31, 16),
            (4, 4, 30, 40, 31, 18),
            (8, 8, 120, 130, 42, 38),
            axes="batch heads length source dim value_dim",
        ),
    ),
    Subject("GELU", catalogue["GELU"], _sizes(*_SQUARE, axes="batch features"), exact=False),
    Subject(
        "MaxPool2d",
        catalogue["MaxPool2d"],
        _sizes(
            (1, 2, 5, 6, 3, 2),
            (2, 5, 13, 15, 3, 2),
            (4, 40, 15, 17, 3, 2),
            (10, 100, 31, 32, 3, 2),
            axes="batch channels height width kernel_height kernel_width",
        ),
        smooth=False,
    ),
)


def elements(problem: Problem) -> int:
    """How many differentiable elements a problem has."""
    shapes = problem.shapes()
    return sum(int(np.prod(shapes[name])) for name in problem.differentiable)
