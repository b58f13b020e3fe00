"""Losses: prediction, target, and a reduction."""

from __future__ import annotations

from typing import Any

from crosscheck.families.points import extreme
from crosscheck.spec import Layer, Problem, Tensor


def _reduced(axes: str) -> dict[str, Tensor]:
    """The output of a loss: of the elements' axes with reduction "none", else a scalar."""
    return {
        "output": Tensor(
            lambda p: Tensor(axes).shape(p) if p.reduction == "none" else (),
        )
    }


def _jax_reduce(p: Problem, elements: Any) -> Any:
    return {"mean": elements.mean, "sum": elements.sum, "none": lambda: elements}[p.reduction]()


def _torch_mse(p: Problem) -> Any:
    import torch

    return torch.nn.MSELoss(reduction=p.reduction)


def _jax_mse(p: Problem, prediction: Any, target: Any) -> Any:
    return _jax_reduce(p, (prediction - target) ** 2)


REDUCTIONS = ({"reduction": "sum"}, {"reduction": "none"})

LAYERS = (
    Layer(
        "MSELoss",
        inputs={
            "prediction": "batch features",
            "target": Tensor("batch features", differentiable=False),
        },
        outputs=_reduced("batch features"),
        options={"reduction": "mean"},
        variants=REDUCTIONS,
        torch=_torch_mse,
        jax=_jax_mse,
        group="losses",
        special={"extreme": extreme("prediction")},
    ),
)
