"""The catalogue in figures: entries next to torch.nn, flax and optax; checks, worst error, unchecked.

    python -m benchmarks.catalogue --seeds 3                # 30 minutes on one core; resumable
    python -m benchmarks.catalogue --seeds 20 --against torch,numeric     # without JAX, which compiles
    python -m benchmarks.catalogue --seeds 0                # the table of what was run before

Every entry is checked with reference_nn's own layer under the seeds 1, 2, …, as ``crosscheck run`` does
under seed 0. All of this code is correct: every disagreement is a false alarm.

How the libraries' classes are counted: public subclasses of ``torch.nn.Module`` in ``torch.nn``, without
the lazy ones (the same layers), the bases, containers of modules and what is deprecated; losses are
those of ``torch.nn.modules.loss``, activations those of ``torch.nn.modules.activation`` but attention.
flax: public ``flax.linen.Module`` classes in ``flax.linen`` but wrappers; activations are the public
functions of ``flax.linen.activation``; losses are those of ``optax.losses``, optimizers ``torch.optim``'s
classes and the functions of ``optax`` that return a whole optimizer.
"""

from __future__ import annotations

import inspect
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import crosscheck
from benchmarks.journal import Journal
from benchmarks.progress import track
from crosscheck.checking import WITNESSES
from crosscheck.comparison import NUMERIC, Verdict
from crosscheck.families import catalogue
from crosscheck.tolerance import C, c
from crosscheck.versions import installed, versions

RESULT = Path(__file__).parent / "results" / "catalogue.json"
#: Of torch.nn: bases, containers, deprecated names, and a layer that torch lists as legacy.
NOT_TORCH = (
    "Module Container ModuleDict ModuleList ParameterDict ParameterList Transformer "
    "TransformerEncoder TransformerDecoder NLLLoss2d RNNBase RNNCellBase DataParallel"
).split()
#: Of flax.linen: the base, wrappers around modules, stochastic helpers.
NOT_FLAX = "Module Sequential RNN Bidirectional SpectralNorm WeightNorm RNNCellBase".split()
#: The family of an entry → the kind that it is counted under; any other is a layer.
KINDS = {
    "losses": "losses", "classification_losses": "losses", "embedding_losses": "losses",
    "ctc": "losses", "activations": "activations", "rectifiers": "activations",
    "softmax": "activations", "optimizers": "optimizers", "adam": "optimizers",
    "adaptive_optimizers": "optimizers", "matrix_optimizers": "optimizers",
    "schedules": "schedules",
}  # fmt: skip


def ours() -> dict[str, list[str]]:
    """Kind → the entries of the catalogue."""
    from crosscheck.families import families

    found: dict[str, list[str]] = {}
    for module in families():
        kind = KINDS.get(module.__name__.rpartition(".")[2], "layers")
        for layer in getattr(module, "LAYERS", ()):
            found.setdefault(kind, []).append(layer.name)
    return found


def of_torch() -> dict[str, list[str]]:
    """Kind → the classes of torch."""
    import torch

    found: dict[str, list[str]] = {"layers": [], "activations": [], "losses": []}
    for name, cls in _public(torch.nn):
        if not (inspect.isclass(cls) and issubclass(cls, torch.nn.Module)):
            continue
        if name in NOT_TORCH or "Lazy" in name:
            continue
        home = cls.__module__.rpartition(".")[2]
        kind = {"loss": "losses", "activation": "activations"}.get(home, "layers")
        found["layers" if name == "MultiheadAttention" else kind].append(name)
    found["optimizers"] = _classes(torch.optim, torch.optim.Optimizer)
    schedule = torch.optim.lr_scheduler
    found["schedules"] = [
        n for n in _classes(schedule, schedule.LRScheduler) if n != "_LRScheduler"
    ]
    return found


def of_jax() -> dict[str, list[str]]:
    """Kind → the classes of flax.linen and the functions of flax and optax."""
    import flax.linen as linen
    import optax

    modules = [n for n in _classes(linen, linen.Module) if n not in NOT_FLAX and "Fp8" not in n]
    helpers = ("logsumexp", "normalize", "one_hot")
    activations = [n for n in _functions(linen.activation, "jax") if n not in helpers]
    found = {"layers": modules, "activations": activations}
    found["losses"] = [n for n in _functions(optax.losses, "optax") if not n.startswith("make_")]
    found["optimizers"] = sorted(
        name
        for name in _functions(optax, "optax")
        if getattr(optax, name).__module__ == "optax._src.alias"
    )
    found["schedules"] = _functions(optax.schedules, "optax.schedules")
    return found


def _public(module: Any) -> list[tuple[str, Any]]:
    return [(n, v) for n, v in sorted(vars(module).items()) if not n.startswith("_")]


def _classes(module: Any, base: type) -> list[str]:
    return [
        n
        for n, v in _public(module)
        if inspect.isclass(v) and issubclass(v, base) and v is not base
    ]


def _functions(module: Any, package: str) -> list[str]:
    """Public functions of a module that were written in a package, each once."""
    found: dict[int, str] = {}
    for name, value in _public(module):
        home = str(getattr(value, "__module__", ""))
        if callable(value) and not inspect.isclass(value) and home.startswith(package):
            found.setdefault(id(value), name)
    return sorted(found.values())


def examine(name: str, seed: int, extra: int, against: tuple[str, ...] | None) -> dict[str, Any]:
    """The tally of one entry under one seed."""
    if against is not None:
        against = tuple(w for w in against if _applies(w, name))
    report = crosscheck.check(name, seed=seed, extra=extra, against=against or None)
    tally: dict[str, Any] = {
        "cases": len(report.cases), "checks": len(report.comparisons), "known": 0, "alone": 0,
        "unchecked": Counter(), "alarms": [], "worst": 0.0, "worst case": "",
        "remarks": list(report.notes),
    }  # fmt: skip
    for comparison in report.comparisons:
        margin = comparison.margin
        if comparison.known is not None:
            tally["known"] += 1
        elif comparison.verdict is Verdict.UNCHECKED:
            if comparison.reason.endswith("is there"):
                tally["alone"] += 1  # a framework is missing: on purpose
            else:
                tally["unchecked"][comparison.reason.partition(":")[0].partition("(")[0]] += 1
        elif comparison.verdict is Verdict.DISAGREE:
            pair = f"{comparison.left} {comparison.right}"
            tally["alarms"].append(
                f"seed {seed} {comparison.case.id} {comparison.quantity} {pair}: {margin} "
                f"{comparison.reason[:100]}"
            )
        elif margin is not None and margin > tally["worst"]:
            tally["worst"] = margin
            tally["worst case"] = f"seed {seed} {comparison.case.id} {comparison.quantity}"
    return tally


def _applies(witness: str, name: str) -> bool:
    layer = catalogue[name]
    if witness == NUMERIC:
        return bool(layer.problem().differentiable)
    return getattr(layer, witness) is not None


def merge(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of tallies, the worst of their margins."""
    total: dict[str, Any] = {
        "entries and seeds": 0, "cases": 0, "checks": 0, "known": 0, "alone": 0,
        "unchecked": Counter(), "alarms": [], "worst": 0.0, "worst case": "", "remarks": [],
    }  # fmt: skip
    for part in parts:
        total["entries and seeds"] += 1
        for key in ("cases", "checks", "known", "alone", "alarms", "remarks"):
            total[key] += part[key]
        total["unchecked"].update(part["unchecked"])
        if part["worst"] > total["worst"]:
            total["worst"], total["worst case"] = part["worst"], part["worst case"]
    unchecked = sum(total["unchecked"].values())
    total["unchecked"] = dict(total["unchecked"].most_common())
    total["unchecked share"] = unchecked / max(total["checks"] - total["alone"], 1)
    return total


@click.command()
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(0))
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--only", default=None, help="These entries only, by default all.")
@click.option("--extra", default=0, show_default=True, help="Further cases of random sizes.")
@click.option("--against", default=None, help="Witnesses, by default all that are installed.")
@click.option("--seconds", default=None, type=int, help="Stop after this time; run again to go on.")
@click.option("-o", "--output", default=RESULT, show_default=True, type=click.Path(path_type=Path))
def main(
    seeds: int,
    first: int,
    only: str | None,
    extra: int,
    against: str | None,
    seconds: int | None,
    output: Path,
) -> None:
    """The catalogue in figures."""
    asked = None if against is None else tuple(against.split(","))
    for name in asked or ():
        if name not in WITNESSES:
            raise click.UsageError(f"--against {name}: there is {', '.join(WITNESSES)}")
    names = [*catalogue] if only is None else [catalogue[n].name for n in only.split(",")]
    started = time.monotonic()
    journal = Journal(output.with_suffix(".journal"), {"C": C, "c": c})
    label = f"{'all' if asked is None else '+'.join(asked)}" + (f" extra={extra}" if extra else "")
    wanted = [
        (f"{label} {seed} {name}", name, seed)
        for seed in range(first, first + seeds)
        for name in names
    ]
    left = [w for w in wanted if w[0] not in journal.parts]
    for key, name, seed in track(left, len(wanted), "catalogue", done=len(wanted) - len(left)):
        if seconds is not None and time.monotonic() - started > seconds:
            break
        journal.add(key, examine(name, seed, extra, asked))
    found = write(journal, output)
    show(found, Console(width=100))


def write(journal: Journal, output: Path) -> dict[str, Any]:
    """The counts and all that was run, by who was asked."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for key, part in journal.parts.items():
        runs.setdefault(key.rsplit(" ", 2)[0], []).append(part)
    found: dict[str, Any] = {
        "entries": ours(),
        "torch": of_torch() if installed("torch") else {},
        "jax": of_jax() if installed("flax") and installed("optax") else {},
        "runs": {label: merge(parts) for label, parts in runs.items()},
        "C": C, "c": c, "versions": versions(),
    }  # fmt: skip
    output.write_text(json.dumps(found, indent=1))
    return found


def show(found: dict[str, Any], console: Console) -> None:
    """The tables."""
    counts = Table(box=None, pad_edge=False)
    for column in ("", "catalogue", "torch", "of them here", "flax, optax"):
        counts.add_column(column, justify="right" if column else "left")
    for kind, names in found["entries"].items():
        torch, jax = found["torch"].get(kind, []), found["jax"].get(kind, [])
        here = len(set(torch) & set(names))
        counts.add_row(kind, *(str(n) for n in (len(names), len(torch), here, len(jax))))
    console.print(counts)
    for label, run in found["runs"].items():
        console.print(
            f"against {label}: {run['entries and seeds']} entries × seeds, {run['cases']} cases, "
            f"{run['checks']} checks: {len(run['alarms'])} false alarms, unchecked "
            f"{run['unchecked share']:.3%}, worst error {run['worst']:.2f} of its tolerance "
            f"({escape(run['worst case'])})"
        )
        for reason, count in run["unchecked"].items():
            console.print(f"  unchecked {count}×: {reason}")


if __name__ == "__main__":
    main()
