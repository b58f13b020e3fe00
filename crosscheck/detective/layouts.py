"""Conventions of where numbers stand: gate orders, flipped kernels, split projections, masks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np

from crosscheck.causes.evidence import View
from crosscheck.detective.alternative import Alternative, Map, layout, rows, times
from crosscheck.evaluation import Evaluation
from crosscheck.families.convolution import each
from crosscheck.spec import Array, Problem

#: Gates in the order of PyTorch's rows.
GATES = {"LSTM": "ifgo", "GRU": "rzn"}
#: Who has which order of gates.
ORDERS = {
    ("LSTM", "iofg"): "ONNX (there called i, o, f, c)",
    ("LSTM", "igfo"): "TensorFlow 1's LSTM cells",
    ("GRU", "zrn"): "Keras and ONNX (there called z, r, h)",
}


def alternatives(problem: Problem) -> Iterator[Alternative]:
    """Those that make sense for a problem."""
    name = problem.layer.name
    family = name.removesuffix("Cell")
    if family in GATES:
        yield from _gates(problem, family)
    if family in ("RNN", "LSTM", "GRU"):
        yield from _biases(problem)
    if name.startswith("Conv"):
        yield from _kernels(problem)
    if "in_proj_weight" in problem.parameters:
        yield from _projections()
    yield from _exchanges(problem)
    for mask in [n for n in problem.inputs if "mask" in n]:
        keep = (_turned, _same)
        yield Alternative(
            "mask-polarity",
            f"True in {mask} meaning the opposite",
            f"pass ~{mask}: what is True here says the opposite elsewhere",
            layout({mask: keep}),
            "PyTorch's MultiheadAttention ignores where True; its scaled_dot_product_attention, "
            "and JAX, keep where True",
        )


def _gates(problem: Problem, family: str) -> Iterator[Alternative]:
    names, gated = GATES[family], _gated(problem)
    for order in permutations(range(len(names))):
        if order == tuple(range(len(names))):
            continue
        # Block j is read as gate theirs[j]; the witness wants gate i from where that is.
        theirs = "".join(names[order.index(j)] for j in range(len(names)))
        yield Alternative(
            "gate-order",
            f"the gates in the order {', '.join(theirs)}",
            f"reorder the blocks of the parameters: {', '.join(theirs)} to {', '.join(names)}",
            layout(dict.fromkeys(gated, rows(order))),
            ORDERS.get((family, theirs), ""),
        )
    if family == "GRU":
        turned = times(np.array([1.0, -1.0, 1.0]))
        yield Alternative(
            "gru-update-gate",
            "the update gate weighing the new state, h′ = z n + (1 − z) h",
            "exchange z and 1 − z, or turn the sign of the parameters of z",
            layout(dict.fromkeys(gated, turned)),
            "Cho et al. have it the other way round from PyTorch",
        )
    if family == "LSTM" and any(n.startswith("bias_ih") for n in gated):
        plus = {n: (_forget, _same) for n in gated if n.startswith("bias_ih")}
        yield Alternative(
            "forget-bias",
            "1 added to the forget gate's bias",
            "do not add 1 in the cell: it is an initial value of the bias",
            layout(plus),
            "TensorFlow 1 adds it in the cell, Keras when it initialises",
        )
    yield from _states(problem, family)


def _states(problem: Problem, family: str) -> Iterator[Alternative]:
    if family == "LSTM":
        yield Alternative(
            "carry-order",
            "the state in the order (c, h)",
            "exchange h and c, going in and coming out",
            _exchanged,
            "flax carries (c, h), PyTorch (h, c)",
        )


def _exchanges(problem: Problem) -> Iterator[Alternative]:
    """Two inputs of one shape and kind in each other's place."""
    shapes = problem.shapes()
    numbers = [n for n, t in problem.inputs.items() if shapes[n] and "mask" not in n]
    for one, other in combinations(numbers, 2):
        if shapes[one] == shapes[other]:
            yield Alternative(
                "arguments-exchanged",
                f"{one} and {other} exchanged",
                f"exchange {one} and {other} where the layer is called",
                partial(_swapped, one=one, other=other),
                "Keras and scikit-learn have (y_true, y_pred), PyTorch (prediction, target)"
                if other == "target"
                else "",
            )


def _swapped(view: View, one: str, other: str) -> Evaluation | None:
    found = view.ask(values={one: view.values[other], other: view.values[one]})
    right = view.right
    if (
        found is None
        or right is None
        or all(np.array_equal(a, right.outputs[n]) for n, a in found.outputs.items())
    ):  # |a − b| is |b − a|: nothing that could be told
        return None
    back = {one: other, other: one}
    return Evaluation(
        found.outputs, {n: found.gradients[m] for n in found.gradients
                        if (m := back.get(n, n)) in found.gradients}
    )  # fmt: skip


def _exchanged(view: View) -> Evaluation | None:
    *_, h, c = view.problem.inputs
    *_, new_h, new_c = view.problem.outputs
    swap, back = {h: c, c: h}, {new_h: new_c, new_c: new_h}
    found = view.ask(
        values={a: view.values[b] for a, b in swap.items()},
        upstream={a: view.upstream[b] for a, b in back.items()},
    )
    if found is None:
        return None
    return Evaluation(
        {n: found.outputs[back.get(n, n)] for n in found.outputs},
        {n: found.gradients[swap.get(n, n)] for n in found.gradients},
    )


def _gated(problem: Problem) -> list[str]:
    return [n for n in problem.parameters if n.startswith(("weight_", "bias_"))]


def _forget(array: Array, problem: Problem) -> Array:
    blocks = array.reshape(4, -1).copy()
    blocks[1] += 1
    return blocks.reshape(array.shape)


def _same(array: Array, problem: Problem) -> Array:
    return array


def _turned(array: Array, problem: Problem) -> Array:
    return np.asarray(~array if array.dtype.kind == "b" else array)


def _biases(problem: Problem) -> Iterator[Alternative]:
    """One bias of two: the other is as if it were 0, and its gradient too."""
    family = problem.layer.name.removesuffix("Cell")
    for side, who in (("bias_hh", "flax's SimpleCell"), ("bias_ih", "flax's LSTM cells")):
        names = [n for n in problem.parameters if n.startswith(side)]
        if not names:
            continue
        zero = times(np.zeros(1))
        yield Alternative(
            "one-bias",
            f"no {side}: one bias where PyTorch has two",
            f"add {side} to the other bias when weights are moved",
            layout(dict.fromkeys(names, zero)),
            who,
        )
        if family == "GRU" and side == "bias_hh":
            kept = times(np.array([0.0, 0.0, 1.0]))
            yield Alternative(
                "one-bias",
                "no bias_hh for r and z, only for n",
                "add the r and z blocks of bias_hh to those of bias_ih when weights are moved",
                layout(dict.fromkeys(names, kept)),
                "flax and equinox",
            )


def _kernels(problem: Problem) -> Iterator[Alternative]:
    flip = (_flipped, _flipped)
    yield Alternative(
        "kernel-flipped",
        "the kernel flipped in space",
        "flip the kernel along its axes of space: a convolution flips it, a correlation does not",
        layout({"weights": flip}),
        "flax's ConvTranspose with transpose_kernel=False, equinox; scipy.signal.convolve",
    )
    if not problem.layer.name.startswith("ConvTranspose"):
        yield Alternative(
            "same-padding",
            "padding as JAX's SAME: the odd one behind",
            "pad by hand, (0, 1) in place of (1, 1), or give JAX the padding as numbers",
            _same_padding,
            "JAX and TensorFlow; PyTorch pads both ends alike",
        )


def _flipped(array: Array, problem: Problem) -> Array:
    return np.flip(array, tuple(range(2, array.ndim)))


def _same_padding(view: View) -> Evaluation | None:
    """The input padded as SAME does, and a convolution without padding of its own."""
    p = view.problem
    axes = [n.removeprefix("kernel_") for n in p.sizes if n.startswith("kernel_")]
    if isinstance(p.padding, str):
        return None
    stride, dilation = each(p.stride, len(axes)), each(p.dilation, len(axes))
    pads = []
    for axis, s, d in zip(axes, stride, dilation, strict=True):
        size, span = p.sizes[axis], d * (p.sizes[f"kernel_{axis}"] - 1) + 1
        total = max((-(-size // s) - 1) * s + span - size, 0)
        pads.append((total // 2, total - total // 2))
    grown = np.pad(view.x, [(0, 0), (0, 0), *pads])
    sizes = {axis: p.sizes[axis] + sum(pad) for axis, pad in zip(axes, pads, strict=True)}
    found = view.ask({"x": grown}, options={"padding": 0}, sizes=sizes)
    if found is None:
        return None
    if found.outputs["output"].shape != view.u.shape:  # no upstream gradient fits it
        return Evaluation(found.outputs, {})
    inner = tuple(slice(a, a + p.sizes[n]) for n, (a, _) in zip(axes, pads, strict=True))
    at: tuple[Any, ...] = (..., *inner)
    return Evaluation(found.outputs, {**found.gradients, "x": found.gradients["x"][at]})


def _projections() -> Iterator[Alternative]:
    for order in permutations(range(3)):
        theirs = ", ".join("qkv"[order.index(j)] for j in range(3))
        if order != (0, 1, 2):
            yield Alternative(
                "projection-order",
                f"the input projection in the order {theirs}",
                f"reorder its blocks: {theirs} to q, k, v",
                layout(dict.fromkeys(("in_proj_weight", "in_proj_bias"), rows(order))),
            )
    inward = (_interleaved, _separated)
    outward: tuple[Map, Map] = (
        lambda a, p: _interleaved(a.T, p).T,
        lambda a, p: _separated(a.T, p).T,
    )
    yield Alternative(
        "heads-interleaved",
        "heads along the inner axis: (head_dim, heads) for (heads, head_dim)",
        "reshape to (…, heads, head_dim), not to (…, head_dim, heads)",
        layout({"in_proj_weight": inward, "in_proj_bias": inward, "out_proj_weight": outward}),
        "flax holds its kernels as (embedding, heads, head_dim)",
    )


def _interleaved(array: Array, problem: Problem) -> Array:
    heads, dim = problem.sizes["heads"], problem.sizes["head_dim"]
    split = array.reshape(-1, dim, heads, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(array.shape)


def _separated(array: Array, problem: Problem) -> Array:
    heads, dim = problem.sizes["heads"], problem.sizes["head_dim"]
    split = array.reshape(-1, heads, dim, *array.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(array.shape)
