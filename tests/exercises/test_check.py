"""`crosscheck check` and `crosscheck exercise` as their users call them: in a real worker."""

import inspect
import json
import re

import elsewhere
import pytest
from handwriting import LINEAR, LOSS, RIGHT, SIGMOID

from crosscheck.cli import cli
from crosscheck.errors import CrosscheckError
from crosscheck.exercises import judging


@pytest.fixture(autouse=True)
def _a_machine_with_numpy_only(monkeypatch):
    """reference_nn is the witness there: no framework to import, nothing to compile."""
    monkeypatch.setattr(judging, "installed", lambda name: False)


IMPORT = "import numpy as np\n"


def run(*arguments):
    return cli.main([str(a) for a in arguments], standalone_mode=False)


def checked(tmp_path, capsys, text, *arguments, name="hand_in.py"):
    (tmp_path / name).write_text(text)
    code = run("check", tmp_path / name, "--against", "numeric", "--seed", 1, *arguments)
    return code, capsys.readouterr().out


def test_a_right_submission(tmp_path, capsys):
    code, text = checked(tmp_path, capsys, RIGHT["lecture"])
    assert code == 0 and "11 of 11 points" in text and "✗" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_wrong_one_is_told_where_to_look_and_not_what_to_write(tmp_path, capsys):
    text = RIGHT["lecture"].replace("np.sum(grad_output, axis=0)", "np.copy(grad_output)")
    code, said = checked(
        tmp_path, capsys, text, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html"
    )
    assert code == 1 and "10 of 11 points" in said
    assert re.search(r"✗\s+grad_bias\s+wrong", said)
    data = json.loads((tmp_path / "r.json").read_text())
    page = (tmp_path / "r.html").read_text()
    assert data["format"] == "crosscheck-result" and data["earned"] == 10 and data["seed"] == 1
    marks = {q["quantity"]: q for q in data["items"][0]["quantities"]}
    assert marks["grad_bias"]["status"] == "wrong" and marks["output"]["status"] == "right"
    for told in (said, json.dumps(data), page):
        assert "per sample" in told  # the hint
        assert "axis=0" not in told and "np.sum" not in told and "expected" not in told
        assert not re.search(r"\d\.\d{4,}", told.replace(str(data["seconds"]), ""))
    assert "<script" not in page and "http" not in page


LOOP = IMPORT + LINEAR + LOSS + """
class nn_Sigmoid:
    def forward(self, x):
        return 1 / (1 + np.exp(-x))

    def backward(self, x, grad_output):
        while True:
            pass
"""  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says", "earned"),
    [
        ("__import__('os')._exit(3)\n", "ended its process with exit code 3", 0),
        ("raise SystemExit(0)\n", "exit(0)", 0),
        ("1 / 0\n", "ZeroDivisionError", 0),
        ("import torch\nclass nn_Linear(torch.nn.Module): pass\n", "left out: import of torch", 0),
        (IMPORT + SIGMOID + LOSS, "does not define nn_Linear", 6),
        (IMPORT + SIGMOID + LOSS + LINEAR.replace("nn_Linear", "nn_Liner"), "it defines nn_Liner", 6),
        (IMPORT + SIGMOID + LOSS + LINEAR.replace("input_size, output_size):", "size):", 1),
         "nn_Linear's constructor raised TypeError", 6),
        (IMPORT + SIGMOID + LOSS + "nn_Linear = 3\n", "does not define nn_Linear", 6),
        ("def (", "no valid Python", 0),
    ],
)  # fmt: skip
def test_whatever_it_does_there_is_a_result_that_says_so(tmp_path, capsys, text, says, earned):
    code, said = checked(tmp_path, capsys, text, "--json", tmp_path / "r.json")
    assert code == (2 if "def (" == text else 1)
    assert says in " ".join(said.split())
    assert json.loads((tmp_path / "r.json").read_text())["earned"] == earned


def test_an_endless_backward_costs_the_backward_alone(tmp_path, capsys):
    (tmp_path / "exercise.toml").write_text(
        "[limits]\nseconds = 0.5\n[[items]]\nlayer = 'Sigmoid'\nname = 'nn_Sigmoid'\n"
        "[[items]]\nlayer = 'Linear'\nname = 'nn_Linear'\n"
    )
    code, said = checked(tmp_path, capsys, LOOP, "--json", tmp_path / "r.json")
    assert code == 1 and "stopped after 0.5 s" in said
    items = json.loads((tmp_path / "r.json").read_text())["items"]
    status = [{q["quantity"]: q["status"] for q in i["quantities"]} for i in items]
    assert status[0] == {"output": "right", "grad_x": "raised", "contract": "right"}
    assert set(status[1].values()) == {"right"}


def test_a_notebook_and_another_convention(tmp_path, capsys):
    cells = [{"cell_type": "code", "source": part} for part in (IMPORT, "1 / 0", RIGHT["cached"])]
    text = json.dumps({"cells": cells, "nbformat": 4})
    code, said = checked(tmp_path, capsys, text, name="n.ipynb")
    assert code == 0 and "convention 'cached'" in said and "not run" in said
    code, said = checked(tmp_path, capsys, text, "--convention", "notebook", name="n.ipynb")
    assert code == 1 and "cannot take" in said
    code, said = checked(tmp_path, capsys, text, "--run-everything", name="n.ipynb")
    assert code == 1 and "ZeroDivisionError" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("check", "absent.py"), "no such file"),
        (("check", "absent.py", "--exercise", "backprop"), "did you mean backpropagation"),
        (("check", "a.py", "--convention", "notbook"), "did you mean notebook"),
        (("check", "a.py", "--against", "tensorflow"), "unknown witness"),
        (("check", "a.py", "--seed", "x"), "a whole number"),
        (("exercise", "show", "absent.toml"), "no such file"),
        (("exercise", "test", "absent.toml"), "no such file"),
        (("exercise", "new", "x", "Liner"), "did you mean Linear"),
    ],
)
def test_wrong_usage(tmp_path, arguments, says):
    (tmp_path / "a.py").write_text(RIGHT["lecture"])
    with pytest.raises(CrosscheckError, match=says) as error:
        run(*arguments)
    assert error.value.exit_code == 2


def test_new_and_show(tmp_path, capsys):
    assert run("exercise", "new", tmp_path / "e", "Linear", "--title", "Mine") == 0
    assert run("exercise", "show", tmp_path / "e") == 0
    said = capsys.readouterr().out
    assert "Mine" in said and "grad_weights 1" in said
    with pytest.raises(CrosscheckError, match="exists already"):
        run("exercise", "new", tmp_path / "e")
    assert run("exercise", "show", "backpropagation", "--json", tmp_path / "s.json") == 0
    assert json.loads((tmp_path / "s.json").read_text())["points"] == 11


def test_test_in_a_real_worker(tmp_path, capsys):
    (tmp_path / "exercise.toml").write_text(
        "[[items]]\nlayer = 'Sigmoid'\nname = 'nn_Sigmoid'\n"
        "points = { grad_x = 1 }\nsizes = { batch = 1, features = 1 }\n"
    )
    (tmp_path / "solution.py").write_text(IMPORT + SIGMOID)
    assert run("exercise", "test", tmp_path, "--json", tmp_path / "t.json") == 1
    data = json.loads((tmp_path / "t.json").read_text())
    said = capsys.readouterr().out
    assert data["unnoticed"] and data["noticed"] and "would not be noticed" in said
    assert "weak: nn_Sigmoid: output, contract earn no points" in said
    assert max(map(len, said.splitlines())) <= 100


def test_what_a_submission_says_is_harmless(tmp_path, capsys):
    text = (
        RIGHT["lecture"]
        + "print('\\x1b[31mred', '<script>')\nraise ValueError('\\x1b]0;title\\x07<b>[bold]')\n"
    )
    code, said = checked(tmp_path, capsys, text, "--html", tmp_path / "r.html")
    assert code == 0 and "\x1b" not in said and "[bold]" in said  # the classes are there
    page = (tmp_path / "r.html").read_text()
    assert "<b>" not in page and "\x1b" not in page


def test_with_a_framework_as_the_witness(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text(RIGHT["attributes"])
    assert run("check", "a.py", "--against", "torch,numeric", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["earned"] == 11 and set(data["witnesses"]) == {"torch", "numeric"}


def test_a_backward_that_raises_breaks_no_clause_of_the_contract(tmp_path, capsys):
    text = RIGHT["lecture"].replace("np.sum(grad_output, axis=0)", "np.sum(grad_ouput, axis=0)")
    code, said = checked(tmp_path, capsys, text)
    assert code == 1 and "8 of 11 points" in said and "name 'grad_ouput' is not defined" in said


def test_a_record_beside_the_exercise_is_asked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("crosscheck.grading.marker.installed", lambda name: False)
    text = "[[items]]\nlayer = 'Sigmoid'\nname = 'nn_Sigmoid'\n"
    (tmp_path / "exercise.toml").write_text(text)
    (tmp_path / "a.py").write_text(IMPORT + SIGMOID)
    (tmp_path / "b.py").write_text(IMPORT + SIGMOID.replace("np.exp(-x)", "np.exp(x)"))
    run("record", tmp_path, "-o", tmp_path / "oracle.npz", "--seed", 5)
    capsys.readouterr()
    assert run("check", tmp_path / "a.py", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["seed"] == 5 and data["earned"] == 3 and "given" in data["witnesses"].values()
    assert run("check", tmp_path / "b.py", "--oracle", tmp_path / "oracle.npz") == 1
    assert re.search(r"✗\s+output", capsys.readouterr().out)
    with pytest.raises(CrosscheckError, match="recorded with seed 5"):
        run("check", tmp_path / "a.py", "--oracle", tmp_path / "oracle.npz", "--seed", 1)
    (tmp_path / "exercise.toml").write_text(text.replace("Sigmoid'", "Tanh'", 1))
    with pytest.raises(CrosscheckError, match="another exercise"):
        run("check", tmp_path / "a.py")


def test_code_beside_a_submission_is_not_run_here(tmp_path, capsys):
    (tmp_path / "exercise.toml").write_text("[[items]]\nlayer = 'own.py:scale'\nname = 'A'\n")
    (tmp_path / "own.py").write_text("raise RuntimeError('this was run')\n")
    (tmp_path / "a.py").write_text(RIGHT["lecture"])
    with pytest.raises(CrosscheckError, match="name the exercise"):
        run("check", tmp_path / "a.py")
    with pytest.raises(CrosscheckError, match="this was run"):
        run("check", tmp_path / "a.py", "--exercise", tmp_path)
    # Nor is an exercise that lies inside of what was handed in taken for the exercise.
    assert run("check", tmp_path, "--against", "numeric") == 0
    assert "Backpropagation by hand" in capsys.readouterr().out


CONV = '[[items]]\nlayer = "Conv2d"\nname = "Conv"\n'


@pytest.fixture
def convolution(tmp_path):
    """An exercise, and a class that takes one number for the kernel."""
    (tmp_path / "exercise.toml").write_text('title = "A convolution"\n' + CONV)
    text = "import numpy as np\n\n\n" + inspect.getsource(elsewhere.ConvOfOneNumber)
    return text.replace("ConvOfOneNumber", "Conv")


@pytest.mark.parametrize("kept", [False, True], ids=["asked", "recorded"])
def test_a_class_that_takes_one_number_for_a_kernel_is_judged_by_square_ones(
    tmp_path, capsys, convolution, kept
):
    more = ()
    if kept:
        kept_at = tmp_path / "oracle.npz"
        pytest.importorskip("torch")
        pytest.importorskip("jax")
        run("record", tmp_path / "exercise.toml", "-o", kept_at, "--seed", 1)
        more = ("--oracle", kept_at)
        capsys.readouterr()
    (tmp_path / "hand_in.py").write_text(convolution)
    (tmp_path / "wrong.py").write_text(convolution.replace("sum((0, 2, 3))", "mean((0, 2, 3))"))
    assert run("check", tmp_path / "hand_in.py", "--seed", 1, *more) == 0
    said = capsys.readouterr().out
    assert "5 of 5 points" in said and "one number for all axes" in said
    assert run("check", tmp_path / "wrong.py", "--seed", 1, *more) == 1
    said = capsys.readouterr().out
    assert "4 of 5 points" in said and re.search(r"✗\s+grad_bias\s+wrong", said)


def test_whose_forward_is_wrong_is_told_so_not_that_it_cannot_be_built(
    tmp_path, capsys, convolution
):
    wrong = convolution.replace("return out\n", "return x\n")
    assert wrong != convolution
    (tmp_path / "hand_in.py").write_text(wrong)
    assert run("check", tmp_path / "hand_in.py", "--seed", 1) == 1
    said = capsys.readouterr().out
    assert re.search(r"✗\s+output\s+wrong\s+the shape is not", said) and "tuple" not in said
