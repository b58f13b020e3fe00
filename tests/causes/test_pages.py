"""The pages on causes and conventions say what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import ports

from crosscheck.causes import RULES

DOCS = Path(__file__).parents[2] / "docs"


def test_the_list_of_causes_is_that_of_the_rules(tmp_path):
    """Written anew by its script it is the same page."""
    code = f"import sys; sys.path.insert(0, {str(DOCS)!r}); import causes; print(causes.page(), end='')"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == (DOCS / "causes.md").read_text(encoding="utf-8"), "python docs/causes.py"
    for rule in RULES:
        assert f"`{rule.slug}`" in made.stdout


def test_the_example_of_the_porting_page_runs(capsys):
    code = re.findall(r"```python\n(.*?)```", (DOCS / "porting.md").read_text("utf-8"), re.S)[0]
    exec(compile(code, "porting.md", "exec"), {})
    out = capsys.readouterr().out
    assert "gate-order · the gates in the order z, r, n" in out and "gru-reset-before" in out


def test_every_alternative_of_the_porting_page_is_planted():
    text = (DOCS / "porting.md").read_text("utf-8")
    assert all(word in text for word in ("ONNX", "SAME", "count_include_pad", "align_corners"))
    assert len({port.slug for port in ports.every()}) >= 25
