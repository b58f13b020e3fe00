"""What people call things: weights ``W``, their gradient ``dW``, an upstream gradient ``dout``.

Tables, and the order in which they are tried. The names that an exercise states come first, the
canonical name second, these last; what was taken is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

#: Canonical parameter → other names for it.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "weights": ("weight", "W", "w", "kernel", "Theta", "theta", "_weights", "_W"),
    "bias": ("biases", "b", "B", "_bias", "_b"),
    "weight": ("weights", "W", "w", "gamma"),
}
#: Patterns of a gradient's name over the name of what it is the gradient of.
GRADIENTS = (
    "grad_{}", "d{}", "d_{}", "{}_grad", "grad{}", "{}grad", "delta_{}", "nabla_{}", "{}_gradient",
    "gradient_{}", "D{}",
)  # fmt: skip
#: Role → names of arguments and attributes that play it.
INPUTS = ("x", "X", "input", "inputs", "A_prev", "A", "a", "a_prev", "in_", "data", "bottom")
PREDICTIONS = ("prediction", "predictions", "pred", "y_hat", "yhat", "y_pred", "AL", "output", "p")
TARGETS = ("target", "targets", "y", "Y", "y_true", "t", "labels", "label")
OUTPUTS = (
    "output",
    "outputs",
    "out",
    "y",
    "Y",
    "Z",
    "z",
    "a",
    "A",
    "loss",
    "value",
    "top",
    "result",
)
UPSTREAM = (
    "grad_output", "output_grad", "output_gradient", "dout", "grad", "upstream", "dvalues", "dy",
    "dY", "dZ", "dz", "dA", "da", "delta", "d_out", "d_output", "doutput", "grad_out", "g", "G",
    "gradient", "error", "dL_dy", "dL", "top_diff", "grad_y", "grad_outputs", "dL_dout",
)  # fmt: skip
#: The gradient of the input, as an attribute or a key.
INPUT_GRADIENTS = (
    "grad_input", "input_grad", "dinputs", "dinput", "dx", "dX", "grad_x", "d_input", "d_inputs",
    "grad_inputs", "dA_prev", "dA", "bottom_diff", "dL_dx", "x_grad", "input_gradient", "dA0",
    "dprediction", "dpred", "dy_hat", "dAL", "grad_prediction",
)  # fmt: skip
CACHES = ("cache", "caches", "ctx", "memory", "context", "saved", "tape", "stored")
RATES = ("learning_rate", "lr", "eta", "alpha", "rate", "step_size", "step")
DICTIONARIES = ("parameters", "params", "theta", "weights", "model", "p", "P")
GRADIENT_HOLDERS = ("grads", "gradients", "grad", "d", "derivatives", "g", "dparams", "grad_params")

Where: TypeAlias = Iterable[str]


def parameter_names(name: str, parameters: Where) -> tuple[str, ...]:
    """The names under which a parameter may be found, most canonical first.

    A network's ``"2.weights"`` is the second of its weights: ``W2``, ``weights2``, ``W_2``.
    """
    stage, dot, plain = name.rpartition(".")
    own = (plain, *ALIASES.get(plain, ()))
    if not dot:
        return (*own, *(f"{n}1" for n in own))
    kin = [other for other in parameters if other.rpartition(".")[2] == plain]
    number = kin.index(name) + 1
    return tuple(f"{n}{joint}{number}" for n in own for joint in ("", "_"))


def gradient_names(name: str) -> tuple[str, ...]:
    """The names under which the gradient of an attribute may be found."""
    found = [pattern.format(name) for pattern in GRADIENTS]
    capital = name[:1].upper() + name[1:]
    singular = name[:-1] if name.endswith("s") else name
    found += [f"grad{capital}", f"d{capital}", f"grad{capital.removesuffix('s')}"]
    found += [f"d{name}es" if name.endswith("s") else f"d{name}s", f"d{singular}", f"d{singular}s"]
    return tuple(dict.fromkeys(found))


def first(candidates: Where, known: Iterable[str]) -> str | None:
    """The first candidate that is known."""
    have = set(known)
    return next((name for name in candidates if name in have), None)
