"""Conventions of which axis comes first: channels last, samples first, kernels as (h, w, in, out).

Such an order cannot be put to a witness, whose arrays have the shapes of the layer. It is put to the
subject: given its arrays in that order, does it give everything right, in that order?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from crosscheck.evaluation import Evaluation
from crosscheck.spec import Array, Problem, Values

Axes = tuple[int, ...]

#: Parameters with more axes than this are not tried in every order.
MOST_AXES = 3
#: Layers of sequences, and what of theirs is none.
SEQUENCES = ("RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer", "CTCLoss")
NO_SEQUENCE = ("h0", "c0", "hn", "cn", "weights", "attn_mask", "src_mask")


@dataclass(frozen=True)
class Order:
    """Some arrays with their axes in another order.

    Attributes:
        what: the order, as the end of "it is right with …".
        change: what to do to get from one to the other.
        axes: name of an input, parameter or output → the axes in the order that the subject has.
        who: who has this order, "" if nobody in particular.
    """

    what: str
    change: str
    axes: Mapping[str, Axes]
    who: str = ""

    def there(self, arrays: Values) -> dict[str, Array]:
        """Arrays by name, as the subject has them."""
        return {n: _permuted(a, self.axes.get(n)) for n, a in arrays.items()}

    def back(self, found: Evaluation) -> Evaluation | None:
        """The subject's answer in the order of the layer; None where the axes are too few."""
        inverse = {n: tuple(int(i) for i in np.argsort(axes)) for n, axes in self.axes.items()}
        both = (found.outputs, found.gradients)
        for arrays in both:
            if any(n in inverse and a.ndim != len(inverse[n]) for n, a in arrays.items()):
                return None
        outputs, gradients = (
            {n: _permuted(a, inverse.get(n)) for n, a in arrays.items()} for arrays in both
        )
        return Evaluation(outputs, gradients)


def _permuted(array: Array, axes: Axes | None) -> Array:
    return array if axes is None else np.ascontiguousarray(array.transpose(axes))


def orders(problem: Problem) -> Iterator[Order]:
    """Every order that is tried, the likeliest first."""
    data = [Order("", "", {}), *_data(problem)]
    weights = [Order("", "", {}), *_weights(problem)]
    for one in data:
        for other in weights:
            parts = [order for order in (one, other) if order.axes]
            if parts:
                yield Order(
                    " and ".join(part.what for part in parts),
                    "; ".join(part.change for part in parts),
                    {**one.axes, **other.axes},
                    "; ".join(dict.fromkeys(part.who for part in parts if part.who)),
                )


def _data(problem: Problem) -> Iterator[Order]:
    """Inputs and outputs together."""
    name = problem.layer.name
    shapes = problem.shapes()
    ranks = {n: len(shapes[n]) for n in (*problem.inputs, *problem.outputs)}
    if name in SEQUENCES:
        turned = {n: (1, 0, 2) for n, r in ranks.items() if r == 3 and n not in NO_SEQUENCE}
        yield Order(
            "samples and time exchanged",
            "exchange the first two axes of the sequences, or set batch_first",
            turned,
            "PyTorch has (time, batch, …) unless batch_first is set; Keras, flax and optax have "
            "the batch first",
        )
    elif any(r == 4 for r in ranks.values()) and "Attention" in name:
        yield Order(
            "heads after the positions, (batch, length, heads, dim)",
            "exchange the axes of heads and positions",
            {n: (0, 2, 1, 3) for n, r in ranks.items() if r == 4},
            "jax.nn.dot_product_attention; PyTorch has (batch, heads, length, dim)",
        )
    elif max(ranks.values()) > 2:
        yield Order(
            "the channels last",
            "move the channels to the second axis: x.transpose(0, 3, 1, 2) for images",
            {n: (0, *range(2, r), 1) for n, r in ranks.items() if r > 2},
            "flax, Keras and TensorFlow have (batch, …, channels), PyTorch (batch, channels, …)",
        )


def _weights(problem: Problem) -> Iterator[Order]:
    """The parameters with two axes or more, each alone."""
    shapes = problem.shapes()
    for name in problem.parameters:
        rank = len(shapes[name])
        kernel = problem.layer.name.startswith("Conv") and rank > 2
        if rank < 2 or (rank > MOST_AXES and not kernel):
            continue
        space = tuple(range(2, rank))
        who = {
            (*space, 1, 0): "flax, Keras and TensorFlow hold kernels as (space, in, out)",
            (*space, 0, 1): "the transposed convolutions of flax and Keras",
            (1, 0, *space): "",
        }
        # Every order costs a call of a layer that may be slow: of kernels those that somebody has.
        for axes in who if kernel else permutations(range(rank)):
            if axes == tuple(range(rank)):
                continue
            back = tuple(int(i) for i in np.argsort(axes))
            declared = problem.parameters[name].axes
            words = declared.split() if isinstance(declared, str) else []
            words = words if len(words) == rank else [f"axis {i}" for i in range(rank)]
            yield Order(
                f"{name} as ({', '.join(words[i] for i in axes)})",
                f"{name}.transpose{back} is {name} as it is here",
                {name: axes},
                who.get(axes, "") if kernel else "",
            )
