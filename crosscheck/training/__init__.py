"""Training: from the same weights, on the same batches, three frameworks walk the same path.

A layer can be right and the training still wrong. Here reference_nn, PyTorch and JAX train one model
side by side, and their weights are compared after every step.
"""

from __future__ import annotations

from crosscheck.training.models import MODELS as MODELS
from crosscheck.training.models import Model as Model
from crosscheck.training.trajectory import Training as Training
from crosscheck.training.trajectory import train as train

__all__ = ["MODELS", "Model", "Training", "train"]
