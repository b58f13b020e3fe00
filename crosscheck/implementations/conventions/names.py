"""What people call things: weights ``W``, their gradient ``dW``, an upstream gradient ``dout``.

Tables, and the order in which they are tried. The names that an exercise states come first, the
canonical name second, these last; what was taken is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

#: Canonical parameter → other names for it. The plain names of one bias come last where there are two.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "weights": (
        "weight", "W", "w", "kernel", "Theta", "theta", "_weights", "_W", "gamma", "Gamma", "scale",
        "kernels", "filters", "filter", "embedding", "embeddings", "table", "E", "g", "_gamma",
    ),
    "bias": ("biases", "b", "B", "_bias", "_b", "beta", "Beta", "shift", "offset", "_beta"),
    "weight": ("weights", "W", "w", "gamma", "alpha", "a", "slope"),
    "weight_ih": (
        "W_ih", "Wih", "w_ih", "Wxh", "W_xh", "Wx", "W_x", "wx", "W_i", "Wi", "kernel", "U", "W",
    ),
    "weight_hh": (
        "W_hh", "Whh", "w_hh", "Wh", "W_h", "wh", "U_h", "Uh", "recurrent_kernel", "R", "U", "W",
    ),
    "bias_ih": ("b_ih", "bih", "b_x", "bx", "b_i", "bi", "b_xh", "bxh", "bias", "b", "bh", "b_h"),
    "bias_hh": ("b_hh", "bhh", "b_h", "bh", "bias", "b"),
    "in_proj_weight": ("W_qkv", "Wqkv", "W_in", "qkv_weight"),
    "in_proj_bias": ("b_qkv", "bqkv", "b_in", "qkv_bias"),
    "out_proj_weight": ("W_o", "Wo", "W_O", "WO", "w_o", "wo", "W_out", "out_weight", "o_proj"),
    "out_proj_bias": ("b_o", "bo", "b_O", "bO", "b_out", "out_bias"),
    "running_mean": ("moving_mean", "mean_running", "run_mean", "mu_running", "running_mu"),
    "running_var": ("moving_var", "moving_variance", "var_running", "run_var", "running_variance"),
}  # fmt: skip
#: Gate → other names for it; and parameter → patterns of the name of its block for a gate.
GATES: Mapping[str, tuple[str, ...]] = {
    "i": ("i", "u"), "f": ("f",), "g": ("g", "c", "C"), "o": ("o",),
    "q": ("q", "Q"), "k": ("k", "K"), "v": ("v", "V"), "r": ("r",), "z": ("z", "u"), "n": ("n", "h", "c"),
}  # fmt: skip
GATE_PATTERNS: Mapping[str, tuple[str, ...]] = {
    "weight_ih": ("W_i{}", "Wx{}", "W_x{}", "W{}x", "W_{}x", "Wi{}", "W{}", "W_{}", "w_{}", "w{}"),
    "weight_hh": (
        "W_h{}", "Wh{}", "W{}h", "W_{}h", "U{}", "U_{}", "R{}", "R_{}", "u_{}", "u{}", "V{}",
    ),
    "bias_ih": ("b_i{}", "bx{}", "b_x{}", "b{}x", "b{}", "b_{}", "bias_{}"),
    "in_proj_weight": ("W{}", "W_{}", "w{}", "w_{}", "{}_proj", "{}_proj_weight", "{}_weight"),
    "in_proj_bias": ("b{}", "b_{}", "{}_bias", "{}_proj_bias"),
    "bias_hh": ("b_h{}", "bh{}", "b{}h", "c{}", "c_{}"),
}  # fmt: skip
#: Option → other names for it, in constructors, arguments of functions and dictionaries of settings.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "stride": ("strides",),
    "padding": ("pad", "pads"),
    "dilation": ("dilation_rate",),
    "bias": ("use_bias", "with_bias", "has_bias"),
    "eps": ("epsilon",),
    "negative_slope": ("slope", "alpha", "leak"),
    "label_smoothing": ("smoothing",),
    "p": ("rate", "dropout_rate", "drop_rate", "drop_prob"),
    "training": ("is_training", "train", "train_mode", "is_train"),
    "lr": ("learning_rate", "alpha", "eta", "step_size"),
    "momentum": ("mu", "beta"),
    "weight_decay": ("wd", "decay", "l2"),
    "alpha": ("decay_rate", "rho", "decay", "beta"),
    "rho": ("decay_rate", "decay"),
}
#: Option of two numbers → pairs of names for its parts.
PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "betas": (("beta1", "beta2"), ("beta_1", "beta_2"), ("b1", "b2")),
}
#: An option that code is often switched to after it was built, or told at each call → names for it.
MODES: Mapping[str, tuple[str, ...]] = {"training": ("training", *OPTIONS["training"])}
#: Endings of the name of an argument that takes the options in a dictionary: ``conv_param``.
SETTINGS = (
    "_param", "hparams", "hparameters", "hyperparameters", "hyper_parameters", "config", "cfg",
    "options", "settings",
)  # fmt: skip
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


def option_names(name: str, options: Iterable[str]) -> tuple[str, ...]:
    """An option's own name and the others for it that are no option of the layer themselves."""
    return (name, *(other for other in OPTIONS.get(name, ()) if other not in options))


def every_name(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, each under all of its names, the parts of pairs under theirs."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= dict.fromkeys(option_names(name, options), value)
        for pair in PAIRS.get(name, ()):
            found |= dict(zip(pair, value, strict=True))
    return found


def parameter_names(name: str, parameters: Where) -> tuple[str, ...]:
    """The names under which a parameter may be found, most canonical first.

    A network's ``"2.weights"`` is the second of its weights: ``W2``, ``weights2``, ``W_2``.
    """
    stage, dot, plain = name.rpartition(".")
    single = plain.removesuffix("_l0")  # the first of several layers, and often the only one
    own = tuple(dict.fromkeys((plain, single, *ALIASES.get(single, ()))))
    if not dot:
        return (*own, *(f"{n}1" for n in own))
    kin = [other for other in parameters if other.rpartition(".")[2] == plain]
    number = kin.index(name) + 1
    return tuple(f"{n}{joint}{number}" for n in own for joint in ("", "_"))


def gate_names(name: str, gate: str) -> tuple[str, ...]:
    """The names under which the block of a parameter for one gate may be found."""
    patterns = GATE_PATTERNS.get(name.removesuffix("_l0"), ())
    return tuple(
        pattern.format(alias) for pattern in patterns for alias in GATES.get(gate, (gate,))
    )


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
