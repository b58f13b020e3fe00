# ruff: noqa: E402 - threads are limited before NumPy is imported
"""The figures of training: what is covered, how far apart the frameworks are, and the time of an epoch.

    python benchmarks/training.py                      all of it, some minutes
    python benchmarks/training.py counts steps         only these parts
    python benchmarks/training.py models --steps 1000  longer walks, for the horizon
    python benchmarks/training.py seeds --seeds 20     false alarms over many seeds
    python benchmarks/training.py steps --only Adam    only this optimizer, or model

Needs torch, jax, optax and scikit-learn. Everything runs on one thread.
"""

from __future__ import annotations

import argparse
import inspect
import os
import statistics
import time
from dataclasses import replace

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import optax
import torch

import crosscheck
import reference_nn
from crosscheck.families.optimizer_twins import OptimizerEntry
from crosscheck.spec import Tensor
from crosscheck.training import MODELS, train
from crosscheck.training.digits import batches, digits
from crosscheck.training.initialization import INITIALIZERS
from crosscheck.training.trajectory import _optimizer, _walkers

#: How torch computes, not what: no option of an optimizer here.
MACHINERY = {"self", "params", "foreach", "capturable", "differentiable", "fused"}
#: What optax calls the optimizer, and its arguments for which ours has an option or a twin sets one.
OPTAX = {
    "SGD": ("sgd", {"learning_rate", "momentum", "nesterov"}),
    "Adam": ("adam", {"learning_rate", "b1", "b2", "eps"}),
    "AdamW": ("adamw", {"learning_rate", "b1", "b2", "eps", "weight_decay"}),
    "Adamax": ("adamax", {"learning_rate", "b1", "b2", "eps"}),
    "NAdam": ("nadam", {"learning_rate", "b1", "b2", "eps"}),
    "RAdam": ("radam", {"learning_rate", "b1", "b2", "eps"}),
    "RMSprop": ("rmsprop", {"learning_rate", "decay", "eps", "eps_in_sqrt", "centered", "momentum"}),
    "Adagrad": ("adagrad", {"learning_rate", "initial_accumulator_value", "eps"}),
    "Adadelta": ("adadelta", {"learning_rate", "rho", "eps", "weight_decay"}),
    "Rprop": (
        "rprop",
        {"learning_rate", "eta_minus", "eta_plus", "min_step_size", "max_step_size"},
    ),
    "Adafactor": (
        "adafactor",
        {"learning_rate", "decay_rate", "clipping_threshold", "weight_decay_rate", "eps"},
    ),
    "Muon": (
        "contrib.muon",
        {
            "learning_rate", "ns_coeffs", "ns_steps", "beta", "eps", "weight_decay", "nesterov",
            "consistent_rms",
        },
    ),
}  # fmt: skip


def _group(name: str) -> list[str]:
    return [k for k, layer in crosscheck.catalogue.items() if layer.group == name]


def _optimizers() -> list[OptimizerEntry]:
    found = [crosscheck.catalogue[name] for name in _group("optimizers")]
    return [entry for entry in found if isinstance(entry, OptimizerEntry)]


def counts() -> None:
    print(
        "Optimizers: options of ours that torch.optim has / torch.optim's / of optax's arguments\n"
    )
    totals = np.zeros(4, int)
    for entry in _optimizers():
        theirs = set(inspect.signature(getattr(torch.optim, entry.name)).parameters) - MACHINERY
        where = optax
        path, reached = OPTAX[entry.name]
        for part in path.split("."):
            where = getattr(where, part)
        arguments = set(inspect.signature(where).parameters)
        assert reached <= arguments, reached - arguments
        row = (len(theirs & set(entry.options)), len(theirs), len(reached), len(arguments))
        totals += row
        extra = set(entry.options) - theirs
        print(f"  {entry.name:10} torch {row[0]:2}/{row[1]:2}   optax {row[2]:2}/{row[3]:2}   "
              f"variants {len(entry.variants) + 1}   besides: {', '.join(sorted(extra)) or '–'}")  # fmt: skip
    print(f"  {'sum':10} torch {totals[0]:2}/{totals[1]:2}   optax {totals[2]:2}/{totals[3]:2}\n")

    def classes(module: object, base: type) -> set[str]:
        return {
            k for k, v in vars(module).items()
            if isinstance(v, type) and issubclass(v, base) and v is not base and k[0] != "_"
        }  # fmt: skip

    rates = torch.optim.lr_scheduler
    schedules = classes(rates, rates.LRScheduler) - {"LRScheduler"}
    init = {k for k in vars(torch.nn.init) if k.endswith("_") and k[0] != "_"}
    drawn = {k for k in vars(reference_nn) if k.endswith("_") and k in init}
    aliases = [k for k, v in vars(optax).items() if inspect.isfunction(v)
               and v.__module__ == "optax._src.alias"]  # fmt: skip
    made = [k for k in dir(optax.schedules) if k.endswith(("schedule", "decay"))]
    optimizers = classes(torch.optim, torch.optim.Optimizer)
    for what, ours, torch_has, optax_has in (
        ("optimizers", set(_group("optimizers")), optimizers, len(aliases)),
        ("schedules", set(_group("schedules")), schedules, len(made)),
        ("initialisers", drawn, init, "–"),
    ):
        print(f"  {what:13} {len(ours):2} of torch's {len(torch_has):2}   (optax has {optax_has})")
        print(f"    not here: {', '.join(sorted(torch_has - ours)) or 'none'}")
    print(f"  clipping       {len(_group('clipping'))} of torch's 2")
    print(f"  initialisers checked by distribution: {len(INITIALIZERS)}")
    known = [e for e in crosscheck.ledger().values() if crosscheck.catalogue[e.layer].convention]
    print(f"  ledger: {len(known)} differences: {', '.join(e.slug for e in known)}\n")


def steps(only: list[str]) -> None:
    print("Largest difference of the weights over 100 steps, in units of the tolerance\n")
    print("  optimizer   float64   float32   combinations   verdict")
    for entry in _optimizers():
        if only and entry.name not in only:
            continue
        long = replace(
            entry,
            inputs={k: _longer(t) for k, t in entry.inputs.items()},  # type: ignore[union-attr]
            outputs={k: _longer(t) for k, t in entry.outputs.items()},  # type: ignore[union-attr]
            special={},
        )
        report = crosscheck.check(long)
        worst = {
            dtype: max(c.margin or 0.0 for c in report.comparisons
                       if c.case.dtype == dtype and c.margin is not None)
            for dtype in ("float64", "float32")
        }  # fmt: skip
        print(f"  {entry.name:10} {worst['float64']:8.3f}  {worst['float32']:8.3f}   "
              f"{len(entry.variants) + 1:12}   {report.verdict.value}", flush=True)  # fmt: skip
    print()


def _longer(tensor: Tensor) -> Tensor:
    assert isinstance(tensor.axes, str)
    return replace(tensor, axes=" ".join(["100", *tensor.axes.split()[1:]]))


def models(number: int, only: list[str]) -> None:
    print(f"Four models of the digits, SGD with momentum 0.9, {number} batches of 32, seed 0\n")
    for name in only or MODELS:
        training = train(name, steps=number)
        print(f"  {name}: {training.model.title}")
        for (who, dtype), losses in training.losses.items():
            print(f"    {who:13} {dtype}  final loss {losses[-1]:.12f}  "
                  f"test accuracy {training.accuracy[who, dtype]:.2%}")  # fmt: skip
        first = min((p.step for p in training.partings), default=None)
        print(f"    first step apart by more than rounding: {first or 'none'} "
              f"(horizon: {training.horizon} of {number} steps); worst {training.worst:.2f} of the "
              "tolerance")  # fmt: skip
        far = ", ".join(f"{a}–{b} {d} {v:.1e}" for (a, b, d), v in training.apart.items())
        print(f"    apart at the end: {far}\n", flush=True)


def epoch(repeat: int, only: list[str]) -> None:
    torch.set_num_threads(1)
    data = digits()
    count = len(data.train_x) // 32
    print(f"An epoch of {count} batches of 32, one thread, median of {repeat}, in ms\n")
    print("  model     dtype     reference_nn    torch   ratio")
    for name, model in MODELS.items():
        if only and name not in only:
            continue
        start = model.reference(np.random.default_rng(0)).parameters()
        made, _ = _walkers(model, start, _optimizer("SGD", None, model), None)
        for dtype in ("float64", "float32"):
            taken: dict[str, list[float]] = {"reference_nn": [], "torch": []}
            for _ in range(repeat):  # in turn, so that both see the same machine
                for who, times in taken.items():
                    walker, drawn = made[who, dtype], batches(data, 0, 32)
                    before = time.perf_counter()
                    for _ in range(count):
                        walker.step(*next(drawn))
                    times.append(1e3 * (time.perf_counter() - before))
            ours, theirs = (statistics.median(times) for times in taken.values())
            print(f"  {name:8} {dtype:9} {ours:10.1f} {theirs:11.1f} {ours / theirs:7.2f}",
                  flush=True)  # fmt: skip
    print()


def seeds(number: int, length: int, only: list[str]) -> None:
    print(f"False alarms: {number} seeds of each model, {length} steps\n")
    for name in only or MODELS:
        walks = [train(name, steps=length, seed=seed) for seed in range(1, number + 1)]
        parted = [f"seed {t.seed}: {t.partings[0]}" for t in walks if t.partings]
        print(f"  {name:8} {len(parted)} of {number} part; worst {max(t.worst for t in walks):.2f} "
              f"of the tolerance; shortest horizon {min(t.horizon for t in walks)}")  # fmt: skip
        for line in parted:
            print(f"    {line}")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("counts", "steps", "models", "epoch", "seeds")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME",
                        help="these optimizers (steps) or models (the others)")  # fmt: skip
    chosen = parser.parse_args()
    wanted = chosen.parts or parts
    if "counts" in wanted:
        counts()
    if "steps" in wanted:
        steps(chosen.only)
    if "models" in wanted:
        models(chosen.steps, chosen.only)
    if "epoch" in wanted:
        epoch(chosen.repeat, chosen.only)
    if "seeds" in wanted:
        seeds(chosen.seeds, min(chosen.steps, 100), chosen.only)


if __name__ == "__main__":
    main()
