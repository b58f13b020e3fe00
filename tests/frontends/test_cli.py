"""The command line: tables, exit codes, JSON, and bad input without a traceback of ours."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crosscheck
from crosscheck import sampling


def crosscheck_cli(*arguments, code=0, env=None):
    done = subprocess.run(
        [sys.executable, "-m", "crosscheck", *arguments], capture_output=True, text=True, env=env
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_run_prints_a_table_of_at_most_100_columns(tmp_path, both):
    text = crosscheck_cli("run", "Linear", "Sigmoid", "--json", "out.json")
    assert "Linear" in text and "Sigmoid" in text and text.count("agree") >= 8
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b[" not in text  # no colour into a pipe
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["format"] == "crosscheck-run"
    assert [r["layer"] for r in data["reports"]] == ["Linear", "Sigmoid"]
    assert all(r["verdict"] == "agree" for r in data["reports"])
    first = data["reports"][0]["comparisons"][0]
    assert first["error"] <= first["tolerance"] < first["limit"]


def test_one_report_as_json_on_standard_output(both):
    done = subprocess.run(
        [sys.executable, "-m", "crosscheck", "run", "Sigmoid", "--dtype", "float64",
         "--against", "torch,numeric", "--seed", "3", "--json", "-"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    data = json.loads(done.stdout)
    assert set(data["witnesses"]) == {"torch", "numeric"}
    assert {c["case"].split(",")[-1].rstrip("]") for c in data["comparisons"]} <= {
        "float64", "strided", "readonly"
    }  # fmt: skip


def test_options_and_sizes():
    text = crosscheck_cli(
        "run",
        "Linear",
        "--option",
        "bias=False",
        "--size",
        "batch=9",
        "--cases",
        "1",
        "--json",
        "-",
    )
    data = json.loads(text)
    assert {c["sizes"]["batch"] for c in data["comparisons"] if "batch=1" not in c["case"]} == {9}
    assert all("bias=False" in c["case"] for c in data["comparisons"])
    assert any("random0" in c["case"] for c in data["comparisons"])


def test_list_and_doctor(both):
    assert "Linear" in crosscheck_cli("list")
    assert "bias=True" in crosscheck_cli("list")
    text = crosscheck_cli("doctor", "--json", "doctor.json")
    assert text == ""
    rows = json.loads(Path("doctor.json").read_text())["rows"]
    assert {r["what"] for r in rows} >= {"python", "numpy", "torch", "jax"}


@pytest.fixture
def saved(tmp_path):
    case = next(sampling.cases(crosscheck.catalogue["Linear"]))
    return str(case.save(tmp_path / "case.npz"))


WRONG = """
import numpy as np
class Wrong:
    def __init__(self, i, o):
        self.weights, self.bias = np.zeros((i, o)), np.zeros(o)
    def forward(self, x):
        return x @ self.weights + self.bias
    def backward(self, x, g):
        self.grad_weights, self.grad_bias = x.T @ g, 2 * g.sum(0)
        return g @ self.weights.T
"""


def test_replay(saved, tmp_path):
    assert "agree" in crosscheck_cli("replay", saved)
    (tmp_path / "mine.py").write_text(WRONG)
    text = crosscheck_cli("replay", saved, "mine.py:Wrong", code=1)
    assert "grad_bias" in text and "2 times" in text
    assert "did you mean Wrong" in crosscheck_cli("replay", saved, "mine.py:Wrnog", code=2)
    assert "no such file" in crosscheck_cli("replay", saved, "absent.py:Wrong", code=2)
    (tmp_path / "broken.py").write_text("1/0\n")
    assert "ZeroDivisionError" in crosscheck_cli("replay", saved, "broken.py:Wrong", code=2)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("run", "Liner"), 2, "did you mean Linear"),
        (("run", "Linear", "--against", "tensorflow"), 2, "unknown witness 'tensorflow'"),
        (("run", "Linear", "--seed", "one"), 2, "a seed is a whole number"),
        (("run", "Linear", "--seed", "-1"), 2, "a seed is a whole number"),
        (("run", "Linear", "--option", "bais=False"), 2, "did you mean bias"),
        (("run", "Linear", "--option", "bias"), 2, "NAME=VALUE"),
        (("run", "Linear", "--size", "batch=x"), 2, "NAME=VALUE"),
        (("run", "Linear", "--size", "bathc=3"), 2, "did you mean batch"),
        (("run", "Linear", "--size", "batch=0"), 2, "no sizes fit"),
        (("run", "Linear", "--dtype", "float16"), 2, "float16"),
        (("run", "Sigmoid", "--json", "no/such/folder/x.json"), 2, "no/such/folder"),
        (("replay", "absent.npz"), 2, "no such file"),
        (("replay",), 2, "Missing argument"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_bad_input_is_answered_in_one_line(arguments, code, says):
    assert says in crosscheck_cli(*arguments, code=code)


def test_a_truncated_case(saved):
    content = Path(saved).read_bytes()
    Path(saved).write_bytes(content[: len(content) // 2])
    assert "case.npz" in crosscheck_cli("replay", saved, code=2)


NO_FRAMEWORKS = """
import sys, importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n.split(".")[0] in ("torch", "jax") else find(n, *a)
sys.argv = ["crosscheck", *sys.argv[1:]]
from crosscheck.cli import main
main()
"""


def test_without_frameworks(tmp_path):
    script = tmp_path / "without.py"
    script.write_text(NO_FRAMEWORKS)

    def run(*arguments):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, text = run("run", "Linear")
    assert code == 0 and "not installed" in text and "numeric" in text
    code, text = run("run", "Linear", "--against", "jax")
    assert code == 3 and "pip install jax" in text
    code, text = run("doctor")
    assert code == 3 and "not installed" in text


def test_help_and_list_import_no_framework():
    for arguments in (["--help"], ["list"]):
        code = (
            "import sys; sys.argv = ['crosscheck', *sys.argv[1:]]\n"
            "from crosscheck.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            "print([m for m in ('torch', 'jax', 'rich') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_failing_cases_are_saved_and_named(monkeypatch, tmp_path, capsys):
    import reference_nn
    from crosscheck import implementations
    from crosscheck.cli import cli

    class Wrong(reference_nn.Sigmoid):
        def backward(self, x, grad_output):
            return 2 * super().backward(x, grad_output)

    implementations.reference.cache_clear()
    monkeypatch.setattr(reference_nn, "Sigmoid", Wrong)
    try:
        code = cli.main(["run", "Sigmoid"], standalone_mode=False)
    finally:
        implementations.reference.cache_clear()
    assert code == 1
    text = capsys.readouterr().out
    (path,) = (tmp_path / ".crosscheck").iterdir()
    assert f"crosscheck replay .crosscheck/{path.name}" in text
    assert np.load(path)["value/x"].size
