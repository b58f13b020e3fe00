"""The page, Markdown, annotations and JSON: complete, escaped, valid; every check seen to fail."""

import re
from html.parser import HTMLParser

import jsonschema
import numpy as np
import pytest

import crosscheck
import reference_nn as nn
from crosscheck.report.heatmap import panels
from crosscheck.report.markdown import to_annotations, to_markdown
from crosscheck.report.page import to_page
from crosscheck.report.schema import SCHEMAS, schema

EVIL = '<script>alert("x")</script>|`@everyone`'


class Forgets(nn.Linear):
    def backward(self, x, grad_output):
        grad = super().backward(x, grad_output)
        self.grad_bias = grad_output.copy()
        return grad


class Scaled(nn.MSELoss):
    def backward(self, prediction, target, grad_output=1.0):
        return super().backward(prediction, target, grad_output) * len(prediction)


class Raises(nn.Tanh):
    def forward(self, x):
        raise ValueError(EVIL)


Hostile = type(EVIL, (nn.Tanh,), {"backward": lambda self, x, g: g * (x > 0)})


def check(layer, subject=None):
    return crosscheck.check(layer, subject, against=("torch", "numeric"), dtypes=("float64",))


@pytest.fixture(scope="module")
def reports():
    pytest.importorskip("torch")
    return [
        check("Linear", Forgets), check("MSELoss", Scaled), check("Tanh", Raises),
        check("Tanh", Hostile), check("Tanh"),
    ]  # fmt: skip


class Reader(HTMLParser):
    """Tags that are not closed, scripts, and what would be fetched."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.scripts, self.fetched = [], 0, []

    def handle_starttag(self, tag, attributes):
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attributes)
        for name, value in attributes:
            if name in ("src", "href", "srcset") and not value.startswith(("data:", "#")):
                self.fetched.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


def test_the_page_is_well_formed_and_fetches_nothing(reports):
    found = read(to_page(reports))
    assert (found.open, found.scripts, found.fetched) == ([], 0, [])


def test_the_reader_of_the_test_above_sees_what_it_looks_for():
    found = read('<p><script src="http://a"></script><img src="b.png" onerror="x"></p>')
    assert found.scripts == 2 and len(found.fetched) == 2
    with pytest.raises(AssertionError):
        read("<p></div>")


def test_the_page_says_what_is_wrong_and_comes_with_the_worst_first(reports):
    text = re.sub(r"<[^>]+>", " ", to_page(reports))
    assert "has the wrong shape" in text and "not summed over the batch" in text
    assert "4 disagree" in text and "1 agree" in text
    assert text.index("Forgets") < text.index("would have shown")


def test_a_notebook_gets_the_same_in_a_fragment(reports):
    fragment = reports[0]._repr_html_()
    assert "not summed over the batch" in fragment and "<html" not in fragment
    assert read(fragment).scripts == 0


def test_without_jinja2_a_notebook_still_gets_the_text(reports, monkeypatch):
    import sys

    from crosscheck.report import page

    page._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    fragment = reports[3]._repr_html_()
    assert "<pre" in fragment and "<script" not in fragment
    with pytest.raises(crosscheck.UsageError, match="pip install"):
        to_page(reports)


@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4, 5), (200, 150), (1, 1)])
def test_pictures_of_any_shape_show_the_worst_element(shape):
    rng = np.random.default_rng(0)
    expected = rng.standard_normal(shape)
    got = expected.copy()
    worst = tuple(n - 1 for n in shape)
    got[worst] += 1000
    first = panels(got, expected, "torch")[0]
    difference = first.pictures[2]
    if difference.rows:
        assert any(cell.text == "1000" for row in difference.rows for cell in row)
    else:
        assert difference.image.startswith("data:image/png;base64,")
        assert "largest magnitude 1e+03" in difference.alt


def test_pictures_of_nan_and_of_another_shape():
    bad = np.array([[np.nan, np.inf, 1.0]])
    assert panels(bad, np.ones((1, 3)), "torch")[0].pictures[1].rows[0][0].text == "nan"
    assert panels(np.ones((2, 3)), np.ones(3), "torch") == []
    assert panels(np.ones((0, 3)), np.ones((0, 3)), "torch") == []


def test_markdown_escapes_what_is_foreign(reports):
    text = to_markdown(reports)
    outside = re.sub(r"```python\n.*?\n```", "", text, flags=re.S)  # a block of code shows as it is
    assert "<script" not in outside and "`@everyone`" not in outside
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    columns = {line.replace("\\|", "").count("|") for line in rows[:6]}
    assert len(columns) == 1, "a table row has more cells than its head"


def test_annotations_are_one_line_each(reports):
    lines = to_annotations(reports).splitlines()
    assert len(lines) == sum(len(r.findings) for r in reports) and len(lines) >= 4
    assert all(line.startswith("::error title=") for line in lines)


def test_json_follows_the_schema_that_is_shipped(reports):
    for report in reports:
        jsonschema.validate(report.to_json(), schema())
    run = {
        "format": "crosscheck-run",
        "format_version": 1,
        "reports": [r.to_json() for r in reports],
    }
    jsonschema.validate(run, schema("crosscheck-run"))
    broken = reports[0].to_json() | {"verdict": "perhaps"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema())
    for name in SCHEMAS:
        jsonschema.Draft202012Validator.check_schema(schema(name))


def test_the_page_has_a_script_that_shows_the_mistake_without_crosscheck(reports, tmp_path):
    import html
    import subprocess
    import sys

    page = to_page(reports[:1])
    block = re.search(r"without crosscheck</summary><pre[^>]*>(.*?)</pre>", page, re.S)
    assert block
    path = tmp_path / "shows.py"
    path.write_text(html.unescape(block[1]))
    assert "import crosscheck" not in path.read_text()
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert done.returncode == 1 and "(2, 7)" in done.stdout, done.stdout + done.stderr
