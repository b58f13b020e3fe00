"""A whole course: nothing lost, nothing twice, the same bytes however often it was stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import pytest
from conftest import SEED

from crosscheck.errors import CaseError, UsageError
from crosscheck.grading.grade import grade
from crosscheck.grading.journal import Journal
from crosscheck.grading.recording import Record
from crosscheck.isolation import IsolationError

WRONG = {
    "bias": ("np.sum(grad_output, axis=0)", "grad_output.copy()"),
    "scale": ("2 * (prediction - target)", "(prediction - target)"),
}


@pytest.fixture(scope="module")
def course(tmp_path_factory, solution):
    """Twelve students: right ones, wrong ones, and some that are no submissions."""
    folder = tmp_path_factory.mktemp("course")

    def hand_in(student, text, name="solution.py"):
        (folder / student).mkdir()
        (folder / student / name).write_bytes(text.encode())

    hand_in("ada", solution)
    hand_in("bob", solution + "\n# bob\n")
    for number, (old, new) in enumerate(WRONG.values()):
        assert old in solution
        for student in ("carl", "dora", "eve"):
            hand_in(f"{student}{number}", solution.replace(old, new) + f"\n# {student}\n")
    hand_in("fay", "class nn_Linear(:\n")
    hand_in("=gus", "import os\nos._exit(0)\n")
    hand_in("hal", "%matplotlib inline\n!rm -rf /\n", "notebook.ipynb")
    hand_in("ivy", "no code", "essay.txt")
    return folder


def outputs(folder):
    """Everything that a run writes but its journal, which is in the order of finishing."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("journal", "oracle.npz")
    }


def graded(course, out, oracle, **more):
    with ThreadPoolExecutor(1) as executor:
        return grade("backpropagation", course, out, executor=executor, oracle=oracle, **more)


@pytest.fixture(scope="module")
def done(course, oracle_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    return graded(course, out, oracle_file), out


def earned(out):
    with Journal(out, {}) as journal:
        return {s: r["earned"] for s, r in journal.results(sorted(journal.done))}


def test_everybody_gets_a_result(course, done):
    summary, out = done
    assert summary.students == summary.marked == len([*course.iterdir()]) == 12
    assert summary.failures == 0
    points = earned(out)
    assert points["ada"] == points["bob"] == summary.points
    assert all(0 < points[s] < summary.points for s in points if s[:-1] in ("carl", "dora", "eve"))
    assert all(points[s] == 0 for s in ("fay", "=gus", "hal", "ivy"))


def test_the_same_failures_are_one_group(done):
    summary, _ = done
    bias = next(g for g in summary.groups if g["quantity"] == "grad_bias")
    assert bias["count"] == 3 and bias["students"] == ["carl0", "dora0", "eve0"]
    assert bias["what"] == "not summed over batch"


def test_a_second_run_marks_nothing_and_writes_the_same(course, done, oracle_file):
    _, out = done
    before = outputs(out)
    again = graded(course, out, oracle_file)
    assert again.marked == 0 and outputs(out) == before


def test_scripts_change_nothing(course, done, oracle_file, tmp_path):
    graded(course, tmp_path / "plain", oracle_file, scripts=False)
    assert outputs(tmp_path / "plain") == outputs(done[1])


def test_a_changed_submission_is_marked_again(course, done, oracle_file, solution, tmp_path):
    graded(course, tmp_path / "out", oracle_file)
    changed = course / "ivy" / "solution.py"
    changed.write_text(solution)
    try:
        assert graded(course, tmp_path / "out", oracle_file).marked == 1
        assert earned(tmp_path / "out")["ivy"] == done[0].points
    finally:
        changed.unlink()


def command(course, out, oracle):
    return [
        sys.executable, "-m", "crosscheck", "grade", "backpropagation", str(course), "-o", str(out),
        "--oracle", str(oracle), "--jobs", "1",
    ]  # fmt: skip


def test_killed_and_resumed_it_writes_the_same_bytes(course, done, oracle_file, tmp_path):
    out = tmp_path / "out"
    run = subprocess.Popen(
        command(course, out, oracle_file), start_new_session=True, stdout=subprocess.DEVNULL
    )
    journal = out / "journal"
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 3):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    with open(journal, "ab") as handle:  # as if the machine had gone down in the middle of a line
        handle.write(b'01234567 {"student":"zoe","fingerprint":"","resu')
    found = subprocess.run(
        command(course, out, oracle_file), capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert outputs(out) == outputs(done[1])


def test_two_runs_do_not_share_a_folder(course, oracle_file, tmp_path):
    with Journal(tmp_path, {}):
        with pytest.raises(UsageError, match="in use by another run"):
            graded(course, tmp_path, oracle_file)


def test_a_folder_of_another_exercise_is_refused(course, oracle_file, tmp_path):
    with Journal(tmp_path, {"exercise": "another"}):
        pass
    with pytest.raises(UsageError, match="results of another run"):
        graded(course, tmp_path, oracle_file)


def test_a_journal_drops_what_is_not_whole(tmp_path):
    entry = {"student": "a", "fingerprint": "1", "result": {"earned": 1}}
    with Journal(tmp_path, {"x": 1}) as journal:
        journal.add([entry])
    whole = (tmp_path / "journal").read_bytes()
    for cut in range(1, 20):
        (tmp_path / "journal").write_bytes(whole[:-cut])
        with Journal(tmp_path, {"x": 1}) as journal:
            assert journal.done == {}
            journal.add([entry])
        assert (tmp_path / "journal").read_bytes() == whole
    damaged = whole.replace(b'"earned":1', b'"earned":9')
    (tmp_path / "journal").write_bytes(damaged)
    with Journal(tmp_path, {"x": 1}) as journal:
        assert journal.done == {}


class Losing(Executor):
    """Loses some batches, as a cluster whose machines go away does."""

    def __init__(self, always=False):
        self.inner = ThreadPoolExecutor(1)
        self.count = 0
        self.always = always
        self.lock = threading.Lock()

    def submit(self, function, /, *arguments, **options):
        with self.lock:
            self.count += 1
            lost = self.always or self.count in (1, 3)
        if not lost:
            return self.inner.submit(function, *arguments, **options)
        future = Future()
        future.set_exception(RuntimeError("the machine is gone"))
        return future


def test_nothing_is_lost_with_a_machine(course, done, oracle_file, tmp_path):
    out = tmp_path / "out"
    grade("backpropagation", course, out, executor=Losing(), oracle=oracle_file)
    assert outputs(out) == outputs(done[1])


def test_what_no_machine_can_mark_is_left_to_the_teacher(course, oracle_file, tmp_path):
    out = tmp_path / "out"
    executor = Losing(always=True)
    summary = grade("backpropagation", course, out, executor=executor, oracle=oracle_file)
    assert summary.failures == summary.students == 12
    assert "mark by hand" in (out / "quantities.csv").read_text()


def test_a_cluster_that_loses_a_worker_loses_nothing(course, done, oracle_file, tmp_path):
    distributed = pytest.importorskip("distributed")
    import psutil

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        victims = [psutil.Process(w.process.pid) for w in cluster.workers.values()]

        def kill_one(student, number, total):
            if victims:
                victims.pop().kill()
                victims.clear()

        out = tmp_path / "out"
        address = cluster.scheduler_address
        summary = grade(
            "backpropagation", course, out, scheduler=address, oracle=oracle_file, progress=kill_one
        )
    assert not victims and summary.students == 12 and summary.failures == 0
    assert outputs(out) == outputs(done[1])
    lines = (out / "journal").read_bytes().count(b"\n")
    assert lines == 1 + 12  # nothing twice


def test_less_isolation_than_required_grades_nobody(course, oracle_file, tmp_path, monkeypatch):
    from crosscheck.grading import grade as module
    from crosscheck.isolation import Zygote

    weak = Zygote(without=("namespaces", "seccomp"))
    monkeypatch.setattr(module, "shared", lambda extra: weak)
    try:
        with pytest.raises(IsolationError, match="confined is required"):
            graded(course, tmp_path / "out", oracle_file, require="confined")
        assert not (tmp_path / "out").exists()
    finally:
        weak.close()


# --- records ----------------------------------------------------------------------------------


def test_a_record_is_the_same_after_a_journey(kept):
    again = Record.from_bytes(kept.to_bytes())
    assert again.to_bytes() == kept.to_bytes()
    assert again.facts == json.loads(json.dumps(kept.facts))


def test_a_record_of_another_seed_is_refused(course, kept, tmp_path):
    other = Record(kept.answers, {**kept.facts, "seed": SEED + 1})
    path = other.save(tmp_path / "other.npz")
    with pytest.raises(CaseError, match="record it again"):
        graded(course, tmp_path / "out", path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x80\x04N."])
def test_what_is_no_record_is_told(content, tmp_path):
    path = tmp_path / "oracle.npz"
    path.write_bytes(content)
    with pytest.raises(CaseError, match="record"):
        Record.load(path)


def test_a_truncated_record_is_told(kept, tmp_path):
    with pytest.raises(CaseError):
        Record.from_bytes(kept.to_bytes()[:-100])


def test_checking_against_a_record_imports_no_framework(oracle_file, solution, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(solution)
    code = (
        "import sys\nfrom crosscheck.cli import cli\n"
        f"result = cli.main(['check', {str(file)!r}, '--oracle', {str(oracle_file)!r}], "
        "standalone_mode=False)\n"
        "assert not {'torch', 'jax'} & set(sys.modules)\nraise SystemExit(result)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "11 of 11 points" in found.stdout
