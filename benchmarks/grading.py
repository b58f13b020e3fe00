"""How fast a course is graded, what isolation costs, what the parent needs, and what a kill loses.

    python benchmarks/grading.py throughput --submissions 5000
    python benchmarks/grading.py overhead
    python benchmarks/grading.py memory --sizes 100 1000 10000
    python benchmarks/grading.py kills --times 20

The submissions are generated: the notebook's three layers in many handwritings, half of the classes with
a mistake, no two files alike. The usual way to compare with is measured in the same run: one pytest
process per submission that imports torch; a small sample, extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

EXERCISE = "backpropagation"
RESULT = Path(__file__).parent / "results" / "grading.json"
#: Right and wrong ways to write each part: the share of wrong ones is about a course's.
PARTS = {
    "forward": [
        "np.dot(x, self.weights) + self.bias",
        "x @ self.weights + self.bias",
        "np.einsum('bi,io->bo', x, self.weights) + self.bias",
        "np.add(np.matmul(x, self.weights), self.bias)",
        "self.bias + x.dot(self.weights)",
        "(self.weights.T @ x.T).T + self.bias",
    ],
    "grad_weights": [
        "np.dot(x.T, grad_output)",
        "x.T @ grad_output",
        "np.einsum('bi,bo->io', x, grad_output)",
        "(grad_output.T @ x).T",
        "np.dot(grad_output.T, x)",
        "np.dot(x.T, grad_output) / x.shape[0]",
    ],
    "grad_bias": [
        "np.sum(grad_output, axis=0)",
        "grad_output.sum(0)",
        "np.ones(len(grad_output), grad_output.dtype) @ grad_output",
        "np.add.reduce(grad_output)",
        "np.copy(grad_output)",
        "grad_output.mean(axis=0)",
    ],
    "grad_x": [
        "np.dot(grad_output, self.weights.T)",
        "grad_output @ self.weights.T",
        "(self.weights @ grad_output.T).T",
        "np.einsum('bo,io->bi', grad_output, self.weights)",
    ],
    "sigmoid": [
        "1 / (1 + np.exp(-x))",
        "0.5 * (1 + np.tanh(0.5 * x))",
        "np.exp(-np.logaddexp(0, -x))",
        "np.reciprocal(1 + np.exp(-x))",
        "np.exp(x) / (1 + np.exp(x))",
        "1 / (1 + np.exp(x))",
    ],
    "grad_sigmoid": [
        "y * (1 - y) * grad_output",
        "grad_output * (y - y ** 2)",
        "np.multiply(y, (1 - y) * grad_output)",
        "(1 - y) * grad_output",
    ],
    "loss": [
        "np.sum(np.square(p - t))",
        "((p - t) ** 2).sum()",
        "np.vdot(p - t, p - t)",
        "np.mean((p - t) ** 2)",
    ],
    "grad_loss": [
        "2 * (p - t)",
        "-2 * (t - p)",
        "2 * p - 2 * t",
        "(p - t)",
    ],
}  # fmt: skip
TEMPLATE = '''"""Exercise {number}."""
import numpy as np


class nn_MSECriterion:
    def forward(self, p, t):
        return {loss}

    def backward(self, p, t):
        return {grad_loss}


class nn_Sigmoid:
    def forward(self, x):
        return {sigmoid}

    def backward(self, x, grad_output):
        y = self.forward(x)
        return {grad_sigmoid}


class nn_Linear:
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size) * 0.01
        self.bias = np.random.randn(output_size)

    def forward(self, x):
        return {forward}

    def backward(self, x, grad_output):
        self.grad_weights = {grad_weights}
        self.grad_bias = {grad_bias}
        return {grad_x}


STUDENT_{number} = {number}
'''
#: What a course's test file usually looks like.
USUAL = """import numpy as np, torch
from solution import nn_Linear, nn_Sigmoid, nn_MSECriterion

def test_linear():
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    layer, mine = torch.nn.Linear(4, 3).double(), nn_Linear(4, 3)
    mine.weights, mine.bias = layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy()
    g = torch.randn(5, 3, dtype=torch.float64)
    layer(x).backward(g)
    assert np.allclose(mine.backward(x.detach().numpy(), g.numpy()), x.grad)
    assert np.allclose(mine.grad_weights, layer.weight.grad.T)
    assert np.allclose(mine.grad_bias, layer.bias.grad)

def test_sigmoid():
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    g = torch.randn(5, 4, dtype=torch.float64)
    torch.sigmoid(x).backward(g)
    assert np.allclose(nn_Sigmoid().backward(x.detach().numpy(), g.numpy()), x.grad)

def test_loss():
    p, t = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    torch.nn.MSELoss(reduction="sum")(p, t).backward()
    assert np.allclose(nn_MSECriterion().backward(p.detach().numpy(), t.numpy()), p.grad)
"""


def generate(folder: Path, count: int, seed: int = 0) -> None:
    """So many submissions, all different."""
    rng = random.Random(seed)
    for number in range(count):
        chosen = {part: rng.choice(ways) for part, ways in PARTS.items()}
        own = folder / f"student{number:05d}"
        own.mkdir(parents=True)
        (own / "solution.py").write_text(TEMPLATE.format(number=number, **chosen))


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"


def throughput(arguments: argparse.Namespace) -> dict[str, object]:
    from crosscheck.grading.grade import grade

    with tempfile.TemporaryDirectory() as temporary:
        course, out = Path(temporary) / "course", Path(temporary) / "out"
        generate(course, arguments.submissions)
        command = [
            sys.executable,
            "-m",
            "crosscheck",
            "record",
            EXERCISE,
            "-o",
            f"{temporary}/oracle.npz",
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        recording = time.perf_counter() - started
        before = os.times()
        started = time.perf_counter()
        summary = grade(
            EXERCISE, course, out, oracle=f"{temporary}/oracle.npz", processes=arguments.jobs,
            require="confined",
        )  # fmt: skip
        seconds = time.perf_counter() - started
        after = os.times()
        spent = sum(after[:4]) - sum(before[:4])
        usual = _usual(course, arguments.sample)
    return {
        "submissions": summary.students,
        "isolation": summary.level,
        "mean points": round(summary.mean, 3),
        "seconds": round(seconds, 1),
        "a minute": round(60 * summary.students / seconds),
        "processor milliseconds per submission, all processes": round(
            1e3 * spent / summary.students, 1
        ),
        "seconds to record the frameworks' answers, once": round(recording, 1),
        "usual way: seconds per submission": round(usual, 3),
        "usual way: a minute (extrapolated)": round(60 / usual),
        "times as fast": round(usual * summary.students / seconds),
    }


def _usual(course: Path, sample: int) -> float:
    """Wall-clock seconds per submission of one pytest process each, one per core at a time."""
    folders = sorted(course.iterdir())[:sample]
    for folder in folders:
        (folder / "test_it.py").write_text(USUAL)

    def one(folder: Path) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    one(folders[0])  # the files are read from the disk once, for both ways
    started = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        [*pool.map(one, folders)]
    return (time.perf_counter() - started) / len(folders)


def overhead(arguments: argparse.Namespace) -> dict[str, object]:
    """A worker made, hardened, given the submission and ended, against running the text here."""
    chosen = {part: ways[0] for part, ways in PARTS.items()}
    text = TEMPLATE.format(number=0, **chosen)
    weak = ("namespaces", "Landlock", "seccomp", "no new privileges", "limits")
    found: dict[str, object] = {}
    for without in ((), weak):
        _, idle, _ = _workers(text, 0, without)
        times, busy, level = _workers(text, arguments.repeat, without)
        found[f"{level}: median ms"] = round(statistics.median(times), 2)
        found[f"{level}: best tenth ms"] = round(statistics.quantiles(times, n=10)[0], 2)
        found[f"{level}: processor ms, all processes"] = round((busy - idle) / len(times), 2)
    times = []
    for _ in range(arguments.repeat):
        started = time.perf_counter()
        exec(compile(text, "here", "exec"), {})
        times.append(1e3 * (time.perf_counter() - started))
    found["in this process: median ms"] = round(statistics.median(times), 2)
    return found


def _workers(text: str, count: int, without: Sequence[str]) -> tuple[list[float], float, str]:
    """The milliseconds that each of some workers took; the processor's in all; their level."""
    from crosscheck.isolation import Zygote, open_worker

    before, times = os.times(), []
    zygote = Zygote(without=without)
    level = zygote.level.name.lower()
    for _ in range(count):
        started = time.perf_counter()
        with open_worker(text, zygote=zygote):
            pass
        times.append(1e3 * (time.perf_counter() - started))
    zygote.close()
    return times, 1e3 * (sum(os.times()[:4]) - sum(before[:4])), level


class Canned(Executor):
    """Marks one submission and gives everybody its result: the parent's own part alone."""

    def __init__(self) -> None:
        self.result: dict[str, object] | None = None

    def submit(self, function, /, settings, tasks):  # type: ignore[no-untyped-def, override]
        future: Future[list[dict[str, object]]] = Future()
        if self.result is None:
            self.result = function(settings, tasks[:1])[0]["result"]
        future.set_result([
            {"student": t.entry.student, "fingerprint": t.fingerprint, "result": self.result}
            for t in tasks
        ])  # fmt: skip
        return future


def memory(arguments: argparse.Namespace) -> dict[str, object]:
    """Peak resident memory of the process that holds the journal, by size of the course."""
    code = (
        "import resource, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from grading import Canned\n"
        "from crosscheck.grading.grade import grade\n"
        "if __name__ == '__main__':\n"
        f"    executor = Canned() if {arguments.canned} else None\n"
        f"    s = grade({EXERCISE!r}, sys.argv[1], sys.argv[2], oracle=sys.argv[3],\n"
        "              executor=executor, write=['csv', 'junit', 'html'])\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, s.students)\n"
    )
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as temporary:
        script = Path(temporary) / "run.py"
        script.write_text(code)
        oracle = f"{temporary}/oracle.npz"
        command = [sys.executable, "-m", "crosscheck", "record", EXERCISE, "-o", oracle]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for size in arguments.sizes:
            course = Path(temporary) / f"course{size}"
            generate(course, size)
            run = subprocess.run(
                [sys.executable, str(script), str(course), f"{temporary}/out{size}", oracle],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            peak, students = map(int, run.stdout.split())
            assert students == size
            found[f"{size} submissions: peak MiB"] = peak
    return found


def kills(arguments: argparse.Namespace) -> dict[str, object]:
    """Kill a run at random moments, resume it, and compare with one that was left alone."""

    def outputs(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and path.name not in ("journal", "oracle.npz")
        }

    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        course, oracle = Path(temporary) / "course", f"{temporary}/oracle.npz"
        generate(course, arguments.submissions)
        base = [sys.executable, "-m", "crosscheck"]
        record = [*base, "record", EXERCISE, "-o", oracle]
        subprocess.run(record, check=True, stdout=subprocess.DEVNULL)

        def start(out: Path) -> subprocess.Popen[bytes]:
            command = [*base, "grade", EXERCISE, str(course), "-o", str(out), "--oracle", oracle]
            return subprocess.Popen(
                command,
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        alone, killed = Path(temporary) / "alone", Path(temporary) / "killed"
        started = time.perf_counter()
        assert start(alone).wait() == 0
        whole = time.perf_counter() - started
        done, ends = [], 0
        journal = killed / "journal"

        def lines() -> int:
            return journal.read_bytes().count(b"\n") if journal.is_file() else 0

        while ends < arguments.times:
            before, run = lines(), start(killed)
            if rng.random() < 0.8:  # most kills come while results are written, some at the start
                while run.poll() is None and lines() <= max(before, 1):
                    time.sleep(0.005)
            try:
                code = run.wait(rng.uniform(0, whole / 8))
                assert code == 0 and outputs(alone) == outputs(killed)
                shutil.rmtree(killed)  # it came through: begin anew, until there were enough kills
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
                ends += 1
                done.append(max(0, lines() - 1))
        assert start(killed).wait() == 0
        one, other = outputs(alone), outputs(killed)
        differing = sorted(k for k in {*one, *other} if one.get(k) != other.get(k))
        for name in differing[:3]:
            lines_of = [x.get(name, b"").splitlines() for x in (one, other)]
            pairs = [(a, b) for a, b in zip(*lines_of, strict=False) if a != b]
            print(name, [len(x) for x in lines_of], pairs[:2])
    return {
        "submissions": arguments.submissions,
        "kills": ends,
        "in the journal at each kill": done,
        "files compared": "all but the journal",
        "the same bytes": not differing,
        "differing": differing[:10],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["throughput", "overhead", "memory", "kills"])
    parser.add_argument("--submissions", type=int)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--sample", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--canned", action="store_true", help="memory: mark one submission only")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help=f"keep it in {RESULT.name}")
    arguments = parser.parse_args()
    arguments.submissions = arguments.submissions or {"kills": 200}.get(arguments.what, 5000)
    before = machine()
    found = globals()[arguments.what](arguments)
    found = {"machine before": before, "after": machine(), **found}
    print(json.dumps(found, indent=1))
    if arguments.save:
        kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
        kept[arguments.what] = found
        RESULT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
