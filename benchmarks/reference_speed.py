"""How fast reference_nn is: forward and backward against PyTorch on one thread.

    python benchmarks/reference_speed.py

Sizes are those of a small network that people train: images of 32×32 in batches of 32, sequences of
64 steps. Both sides get the same float32 arrays; a run is one forward and one backward pass, with
the gradients of the inputs and of all parameters. Runs of both sides alternate, so that what else the
machine does hits both; the figures are medians. NumPy's threads are limited to one by the environment,
which this script sets before it imports anything.
"""

# ruff: noqa: E402  (NumPy reads the number of its threads when it is imported)

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import reference_nn as nn

#: The aim: at most so many times as slow as PyTorch.
AIM = 5.0


def conv2d() -> tuple[str, Any, Any, tuple[np.ndarray, ...]]:
    shape = (32, 32, 32, 32)
    return (
        "Conv2d(32, 64, 3, padding=1) on 32×32×32×32",
        nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        (normal(shape),),
    )


def lstm() -> tuple[str, Any, Any, tuple[np.ndarray, ...]]:
    return (
        "LSTM(64, 128) on 64 steps of 32 samples",
        nn.LSTM(64, 128),
        torch.nn.LSTM(64, 128),
        (normal((64, 32, 64)),),
    )


def attention() -> tuple[str, Any, Any, tuple[np.ndarray, ...]]:
    rows = normal((16, 64, 128))
    return (
        "MultiheadAttention(128, 4) on 16 samples of 64",
        nn.MultiheadAttention(128, 4, batch_first=True, need_weights=False),
        torch.nn.MultiheadAttention(128, 4, batch_first=True),
        (rows, rows.copy(), rows.copy()),
    )


def batch_norm() -> tuple[str, Any, Any, tuple[np.ndarray, ...]]:
    return (
        "BatchNorm2d(64) on 32×64×32×32",
        nn.BatchNorm2d(64),
        torch.nn.BatchNorm2d(64),
        (normal((32, 64, 32, 32)),),
    )


def normal(shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers in float32, the same at every run."""
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def ours(layer: Any, inputs: tuple[np.ndarray, ...]) -> Callable[[], None]:
    """One forward and backward pass of reference_nn's layer."""
    for name, array in layer.parameters().items():
        setattr(layer, name, array.astype(np.float32))
    for name in layer.buffer_names:
        array = getattr(layer, name)
        if array.dtype.kind == "f":
            setattr(layer, name, array.astype(np.float32))
    state = (None, None) if isinstance(layer, nn.LSTM) else ()
    output = layer.forward(*inputs)
    output = output[0] if isinstance(output, tuple) else output
    grad = normal(output.shape)

    def run() -> None:
        layer.forward(*inputs)
        layer.backward(*inputs, *state, grad)

    return run


def theirs(module: Any, inputs: tuple[np.ndarray, ...]) -> Callable[[], None]:
    """The same in PyTorch, by autograd."""
    tensors = [torch.tensor(array, requires_grad=True) for array in inputs]
    options = {"need_weights": False} if len(inputs) == 3 else {}
    output = module(*tensors, **options)
    output = output[0] if isinstance(output, tuple) else output
    grad = torch.tensor(normal(tuple(output.shape)))
    leaves = [*tensors, *module.parameters()]

    def run() -> None:
        returned = module(*tensors, **options)
        returned = returned[0] if isinstance(returned, tuple) else returned
        torch.autograd.grad(returned, leaves, grad)

    return run


def measure(runs: int) -> list[dict[str, Any]]:
    """A row per layer: medians in milliseconds, and their ratio."""
    rows = []
    for make in (conv2d, lstm, attention, batch_norm):
        name, layer, module, inputs = make()
        sides = {"numpy": ours(layer, inputs), "torch": theirs(module, inputs)}
        times: dict[str, list[float]] = {side: [] for side in sides}
        for run in sides.values():
            run()  # what is done once: memory, threads, kernels
        for _ in range(runs):
            for side, run in sides.items():
                started = time.perf_counter()
                run()
                times[side].append(1e3 * (time.perf_counter() - started))
        medians = {side: statistics.median(found) for side, found in times.items()}
        ratio = medians["numpy"] / medians["torch"]
        rows.append({"layer": name, **medians, "ratio": ratio})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--runs", type=int, default=9, help="runs to take the median of (7 or more)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    given = parser.parse_args()
    if given.runs < 7:
        parser.error(f"--runs {given.runs}: a median of fewer than 7 says little")
    torch.set_num_threads(1)
    rows = measure(given.runs)
    print(
        f"NumPy {np.__version__} against torch {torch.__version__}, one thread, float32, ", end=""
    )
    print(f"medians of {given.runs} runs in ms; aim: ratio at most {AIM:g}\n")
    print(f"{'forward + backward':<50}{'numpy':>9}{'torch':>9}{'ratio':>8}")
    for row in rows:
        print(f"{row['layer']:<50}{row['numpy']:>9.1f}{row['torch']:>9.1f}{row['ratio']:>8.1f}")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"runs": given.runs, "aim": AIM, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
