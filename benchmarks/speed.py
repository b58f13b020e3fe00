"""How long a check takes, next to what a user would pick instead: ratios, medians, one run.

    python -m benchmarks.speed              # everything but the whole catalogue
    python -m benchmarks.speed --catalogue  # the whole catalogue too, cold and warm
    python -m benchmarks.speed --quick      # small sizes, few repetitions: does it run?

Results go to benchmarks/results/speed.json, the plot to docs/_static/speed.png, the tables to
docs/speed.md. Torch computes with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import crosscheck
from benchmarks.speed_page import write_page
from crosscheck import sampling
from crosscheck.case import Case
from crosscheck.checking import assemble, examine
from crosscheck.implementations.remembered import RECENT
from crosscheck.panel import Panel
from crosscheck.versions import versions

HERE = Path(__file__).parent
#: The network of the exercise: 4 → 5 → 3 with two sigmoids and a squared error.
LAYERS = ("Linear", "Sigmoid", "Linear", "Sigmoid", ("MSELoss", {"reduction": "sum"}))
#: Parameters wanted → sizes of the network.
SIZES = {
    43: {"batch": 1, "in_features": 4, "out_features": 5, "out_features_2": 3},
    20_000: {"batch": 8, "in_features": 100, "out_features": 180, "out_features_2": 10},
    230_000: {"batch": 8, "in_features": 300, "out_features": 740, "out_features_2": 10},
    1_000_000: {"batch": 8, "in_features": 784, "out_features": 1260, "out_features_2": 10},
}


def network() -> crosscheck.Layer:
    """The exercise's network as one layer."""
    return crosscheck.network(*LAYERS, name="TwoLayers")


def case_of(size: int) -> Case:
    """The case of one size, float64, weights scaled so that nothing saturates."""
    layer = network()
    return next(
        iter(sampling.cases(layer, options={}, sizes=SIZES[size], dtypes=("float64",), seed=1))
    )


class Ours:
    """A warm check of one case: forward and all gradients against every witness.

    By default as of arrays that nobody was asked about yet; `again` as of a layer that was changed
    since the last check: what the frameworks said of the case is remembered.
    """

    def __init__(self, size: int) -> None:
        self.case = case_of(size)
        self.panel: Panel = assemble(self.case.problem.layer, None, None, None)[0]

    def __call__(self) -> None:
        RECENT.clear()
        self.again()

    def again(self) -> None:
        comparisons, _ = examine(self.panel, [self.case], None)
        assert all(c.verdict is not crosscheck.Verdict.DISAGREE for c in comparisons)


def torch_function(case: Case) -> tuple[Callable[..., Any], list[Any]]:
    """The same network as a function of tensors, for gradcheck."""
    import torch

    names = case.problem.differentiable
    fixed = {k: torch.from_numpy(np.array(a)) for k, a in case.values.items()}
    leaves = [torch.from_numpy(np.array(case.values[n])).requires_grad_() for n in names]
    target = next(k for k in fixed if "target" in k)

    def run(*tensors: Any) -> Any:
        v = {**fixed, **dict(zip(names, tensors, strict=True))}
        hidden = torch.sigmoid(v["x"] @ v["0.weights"] + v["0.bias"])
        output = torch.sigmoid(hidden @ v["2.weights"] + v["2.bias"])
        return ((output - v[target]) ** 2).sum()

    return run, leaves


def jax_function(case: Case) -> tuple[Callable[..., Any], list[Any]]:
    """The same for JAX's own checker and for chex."""
    import jax

    names = case.problem.differentiable
    fixed = {k: np.array(a) for k, a in case.values.items()}
    target = next(k for k in fixed if "target" in k)

    def run(*arrays: Any) -> Any:
        v = {**fixed, **dict(zip(names, arrays, strict=True))}
        hidden = jax.nn.sigmoid(v["x"] @ v["0.weights"] + v["0.bias"])
        output = jax.nn.sigmoid(hidden @ v["2.weights"] + v["2.bias"])
        return ((output - v[target]) ** 2).sum()

    return jax.jit(run), [fixed[n] for n in names]


def peers(case: Case) -> dict[str, Callable[[], None]]:
    """What a user would pick instead, each on the same network."""
    import chex
    import jax
    import torch
    from jax.test_util import check_grads

    run, leaves = torch_function(case)
    traced, arrays = jax_function(case)
    ours = crosscheck.implementations.reference(case.problem.layer).bind(case.problem)
    values, upstream = case.arrays(), case.upstream()

    def loop() -> None:
        analytic = ours.vjp(values, upstream).gradients
        for name in case.problem.differentiable:
            moved = {k: np.array(a) for k, a in values.items()}
            flat = moved[name].reshape(-1)
            for i in range(flat.size):
                kept = flat[i]
                flat[i] = kept + 1e-5
                high = float(ours.forward(moved)["output"])
                flat[i] = kept - 1e-5
                low = float(ours.forward(moved)["output"])
                flat[i] = kept
                expected = float(upstream["output"]) * (high - low) / 2e-5
                assert abs(analytic[name].reshape(-1)[i] - expected) < 1e-4 * (1 + abs(expected))

    def by_hand() -> None:
        found = ours.vjp(values, {"output": np.ones(())})
        for leaf in leaves:
            leaf.grad = None
        loss = run(*leaves)
        loss.backward()
        assert np.allclose(found.outputs["output"], loss.detach().numpy())
        for name, leaf in zip(case.problem.differentiable, leaves, strict=True):
            assert np.allclose(found.gradients[name], leaf.grad.numpy())

    def in_x64(function: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            with jax.enable_x64(True):
                function()

        return call

    return {
        "torch gradcheck, fast": lambda: torch.autograd.gradcheck(run, leaves, fast_mode=True),
        "torch gradcheck, slow": lambda: torch.autograd.gradcheck(run, leaves),
        # With its own tolerance it calls some of these right gradients wrong.
        "jax check_grads": in_x64(
            lambda: check_grads(traced, arrays, order=1, modes=["rev"], rtol=1e-2)
        ),
        "chex": in_x64(lambda: chex.assert_numerical_grads(traced, tuple(arrays), order=1)),
        "a loop of central differences": loop,
        "NumPy against torch, by hand": by_hand,
    }


#: Peers that take a time that grows with the number of parameters are left out above this.
DEAR = {"torch gradcheck, slow": 20_000, "chex": 2_000, "a loop of central differences": 20_000}


def median(function: Callable[[], None], runs: int) -> float:
    """Median CPU seconds of a warm call, so that other load on the machine does not count."""
    if runs > 1:
        function()
    times = []
    for _ in range(runs):
        started = time.process_time()
        function()
        times.append(time.process_time() - started)
    return statistics.median(times)


def cost_against_size(sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """Median seconds of every checker at every size, and of one forward and backward."""
    rows = []
    for size in sizes:
        ours = Ours(size)
        found: dict[str, float] = {
            "crosscheck": median(ours, runs),
            "crosscheck, the same case again": median(ours.again, runs),
        }
        subject = ours.panel.subject.bind(ours.case.problem)
        arrays = ours.case.arrays(), ours.case.upstream()
        found["one forward + backward of the subject"] = median(
            lambda s=subject, a=arrays: s.vjp(*a),
            runs,  # type: ignore[misc]
        )
        for name, peer in peers(ours.case).items():
            if size <= DEAR.get(name, size):
                slow = name in DEAR and size > 2_000
                found[name] = median(peer, 1 if slow else runs)
        rows.append({"parameters": size, "seconds": found})
    return rows


def own_share(names: list[str]) -> dict[str, float]:
    """The share of a warm run that is spent neither in a witness nor in NumPy.

    By the profiler, which makes calls of Python functions dearer than they are, and counts
    arithmetic of arrays that is written with an operator as its caller's: an upper bound.
    """
    import cProfile
    import pstats

    from crosscheck.implementations import forget, jax_function

    # XLA's calls are nothing that the profiler sees: here they count as this file's.
    compiled = jax_function.compiled

    def outside(*arguments: Any) -> Callable[..., Any]:
        function = compiled(*arguments)
        return lambda *arrays: function(*arrays)

    def run() -> None:
        RECENT.clear()
        for name in names:
            crosscheck.check(name)

    forget()
    jax_function.compiled = outside  # type: ignore[assignment]
    try:
        run()
        profile = cProfile.Profile(time.process_time)
        profile.runcall(run)
    finally:
        jax_function.compiled = compiled
        forget()
    harness = str(Path(crosscheck.__file__).parent) + os.sep
    total, own = 0.0, 0.0
    for (file, _, _), (_, _, spent, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        total += spent
        own += spent if file.startswith(harness) else 0.0
    return {"share": own / total}


def process(arguments: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=False,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    return time.perf_counter() - started


def peak_memory(size: int) -> dict[str, float]:
    """Peak memory of one check beyond a tiny one and the case itself (Linux), in parameter bytes."""
    # Linux counts a parent's peak as the child's in ru_maxrss; VmHWM begins anew.
    code = (
        "from benchmarks.speed import Ours; Ours(43)();"
        "peak = lambda: int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]);"
        f"ours = Ours({size}); before = peak(); ours(); print((peak() - before) * 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parameters = sum(
        case_array.nbytes
        for name, case_array in case_of(size).values.items()
        if name in case_of(size).problem.parameters
    )
    return {"bytes": float(done.stdout), "times the parameters": float(done.stdout) / parameters}


def processor_time(arguments: list[str]) -> float:
    """CPU seconds of a process, from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process(arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts(runs: int) -> dict[str, float]:
    """CPU seconds of short commands beyond a process that imports what they need."""
    three_layers = ["-m", "crosscheck", "run", "Linear", "Sigmoid", "MSELoss"]
    frameworks, first, three = [], [], []
    for _ in range(runs):  # in turn, so that none has a busier machine than the others
        frameworks.append(processor_time(["-c", "import torch, jax"]))
        first.append(processor_time(["-m", "crosscheck", "run", "Linear"]))
        three.append(processor_time(three_layers))
    return {
        "importing torch and jax": statistics.median(frameworks),
        "run Linear, beyond": statistics.median(first) - statistics.median(frameworks),
        "run three layers, beyond": statistics.median(three) - statistics.median(frameworks),
        **{
            word: statistics.median(processor_time(["-m", "crosscheck", word]) for _ in range(runs))
            for word in ("--help", "list")
        },
    }


def whole_catalogue() -> dict[str, float]:
    """`crosscheck run` on all cores, both dtypes: without a cache, filling one, with it full."""
    with tempfile.TemporaryDirectory() as folder:
        cached = ["-m", "crosscheck", "run", "--compilation-cache", folder, "--save", folder]
        return {
            "cold": process(["-m", "crosscheck", "run", "--save", folder]),
            "cold, filling a cache": process(cached),
            "warm cache": process(cached),
        }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Cost against the number of parameters, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
    for name in names:
        points = [(r["parameters"], r["seconds"][name]) for r in rows if name in r["seconds"]]
        width = 2.5 if name.startswith("crosscheck") else 1.2
        axes.plot(*zip(*points, strict=True), marker="o", label=name, linewidth=width)
    axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="CPU seconds, warm, median")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions")
    parser.add_argument("--catalogue", action="store_true", help="the whole catalogue too")
    parser.add_argument("--runs", type=int, default=9, help="repetitions (7 or more to quote)")
    options = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        # Read when NumPy is loaded: threads that wait for each other would count as work.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.speed", *sys.argv[1:]])
    runs = 2 if options.quick else options.runs
    sizes = [43, 20_000] if options.quick else list(SIZES)
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"versions": versions(), "runs": runs, "cores": os.cpu_count()}
    result["cost"] = cost_against_size(sizes, runs)
    result["own share"] = own_share(["Linear", "Sigmoid", "Softmax", "MSELoss", "LayerNorm"])
    result["starts"] = starts(2 if options.quick else 3)
    result["memory"] = peak_memory(20_000 if options.quick else 1_000_000)
    if options.catalogue:
        result["catalogue"] = whole_catalogue()
    console = Console(width=100)
    table = Table("parameters", "checker", "seconds", "ratio to crosscheck", box=None)
    for row in result["cost"]:
        for name, seconds in row["seconds"].items():
            ratio = seconds / row["seconds"]["crosscheck"]
            table.add_row(f"{row['parameters']:,}", name, f"{seconds:.3g}", f"{ratio:.3g}")
    console.print(table)
    for name in ("own share", "starts", "memory", "catalogue"):
        if name in result:
            console.print(name, {k: round(v, 3) for k, v in result[name].items()})
    if not options.quick:
        folder = HERE / "results"
        folder.mkdir(exist_ok=True)
        path = folder / "speed.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        if "catalogue" in before and not options.catalogue:
            result["catalogue"] = before["catalogue"]
        path.write_text(json.dumps(result, indent=1) + "\n")
        plot(result["cost"], HERE.parent / "docs" / "_static" / "speed.png")
        write_page()


if __name__ == "__main__":
    main()
