"""The example runs as it stands, says what it should, and its two forms are one."""

import contextlib
import io
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "backpropagation"

#: What the lecture printed.
ANALYTIC = """
 -3.18346091  -2.34519463  -3.43486793
 -5.16972285  -3.80843573  -5.57799065
-46.85401443 -34.51645431 -50.55421004
 -7.25121652  -5.34183221  -7.82386584
"""
NUMERIC = """
 -3.18347075  -2.34538141  -3.43461622
 -5.16974876  -3.8089283   -5.57732685
-46.85610065 -34.55692648 -50.4996925
 -7.25126744  -5.34280131  -7.8225599
"""


@pytest.fixture(scope="module")
def run():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        names = runpy.run_path(str(EXAMPLE / "backpropagation.py"))
    return names, printed.getvalue()


def table(text):
    return np.array([[float(word) for word in line.split()] for line in text.strip().splitlines()])


def test_both_tables_of_the_lecture_come_out_to_the_last_digit_printed(run):
    names, _ = run
    for name, expected in (("analytic", ANALYTIC), ("numeric", NUMERIC)):
        np.testing.assert_allclose(names[name], table(expected), rtol=0, atol=1e-8)


def test_the_tables_are_not_one_another():
    """So that the test above cannot pass with the two exchanged."""
    assert np.abs(table(ANALYTIC) - table(NUMERIC)).max() > 1e-2


def test_the_right_layers_agree_and_the_forgetful_one_is_named(run):
    _, printed = run
    network = re.findall(r"^(?:Linear→.*|TwoLayers.*|\S+ as TwoLayers): (\w+)", printed, re.M)
    assert network == ["agree", "agree"], printed
    assert printed.count("ForgetfulLinear as Linear: disagree") == 2
    assert printed.count("not summed over the batch") == 2


def test_the_notebook_is_the_script():
    script = (EXAMPLE / "backpropagation.py").read_text()
    parts = re.split(r"^# %%(.*)\n", script, flags=re.M)[1:]
    expected = []
    for header, body in zip(parts[::2], parts[1::2], strict=True):
        body = body.strip("\n")
        if "[markdown]" in header:
            lines = (line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
            expected.append(("markdown", "\n".join(lines)))
        else:
            expected.append(("code", body))
    notebook = json.loads((EXAMPLE / "backpropagation.ipynb").read_text())
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert cells == expected, (
        "make it anew: jupytext --to ipynb --execute examples/backpropagation/backpropagation.py"
    )
