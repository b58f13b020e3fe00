"""What is written is what the platforms read, and nothing in it is obeyed by anybody."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET

import hostile
import pytest

from crosscheck.errors import UsageError
from crosscheck.grading import formats
from crosscheck.grading.formats import Facts, Slugs, github, gradescope, prairielearn
from crosscheck.grading.formats.csv import cell
from crosscheck.grading.groups import Groups
from crosscheck.submissions.reading import from_bytes

EVIL = '=HYPERLINK("x")<script>alert(1)</script>\x1b[31m\u202e'


@pytest.fixture(scope="module")
def results(patient, solution):
    """A right one, a wrong one and hostile ones, under names that are hostile too."""
    sources = {
        "ada": solution,
        "bob_123": solution.replace("np.sum(grad_output, axis=0)", "grad_output.copy()"),
        EVIL: hostile.VARIANTS["text that is obeyed"]["HTML"],
        "../../etc/passwd": hostile.VARIANTS["text that is obeyed"]["formula"],
        "Bob_123": hostile.VARIANTS["text that is obeyed"]["escape sequences"],
        "zoe": hostile.VARIANTS["not a program"]["syntax error"],
    }
    return {s: patient.mark(from_bytes("a.py", text.encode())) for s, text in sources.items()}


@pytest.fixture(scope="module")
def written(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    groups = Groups()
    for student, result in results.items():
        groups.add(student, result)
    facts = Facts("Title & <co>", 11.0, len(results), 5.5, "sealed", groups.found())
    formats.write(formats.chosen(None), folder, facts, lambda: results.items())
    return folder


def test_gradescope(results, written):
    for result in results.values():
        found = gradescope.one(result)
        assert set(found) <= {"score", "output", "output_format", "visibility", "extra_data",
                              "stdout_visibility", "tests"}  # fmt: skip
        assert found["score"] == pytest.approx(sum(test["score"] for test in found["tests"]))
        for test in found["tests"]:
            assert 0 <= test["score"] <= test["max_score"]
            assert test["status"] in ("passed", "failed") and test["output_format"] == "text"
            assert isinstance(test["output"], str) and isinstance(test["number"], str)
    assert len([*written.glob("gradescope/*/results.json")]) == len(results)
    json.loads((written / "gradescope" / "ada" / "results.json").read_text())


def test_github_classroom(results, written):
    for student, result in results.items():
        found = github.one(result)
        assert found["version"] == 1 and found["max_score"] == result["points"]
        assert found["status"] == ("pass" if student == "ada" else "fail")
        assert sum(test["score"] for test in found["tests"]) == pytest.approx(result["earned"])
        assert {test["status"] for test in found["tests"]} <= {"pass", "fail", "error"}
    assert len([*written.glob("github/*.json")]) == len(results)


def test_prairielearn(results):
    for result in results.values():
        found = prairielearn.one(result)
        assert found["gradable"] is True and 0 <= found["score"] <= 1
        points = sum(test["points"] for test in found["tests"])
        most = sum(test["max_points"] for test in found["tests"])
        assert found["score"] == pytest.approx(points / most)


def rows(written, name):
    return [*csv.reader(io.StringIO((written / name).read_text()))]


def test_tables(results, written):
    for name in ("nbgrader.csv", "canvas.csv", "quantities.csv"):
        table = rows(written, name)
        assert len({len(row) for row in table}) == 1
        for row in table:
            for text in row:
                assert not text.startswith(("=", "+", "@", "\t")), text
                assert not re.match(r"-(?!\d)", text), text
                assert text.isprintable()
    head, *body = rows(written, "nbgrader.csv")
    assert head[3] == "student_id" and head[-2:] == ["score", "max_score"]
    assert {row[3]: float(row[-2]) for row in body}["ada"] == results["ada"]["earned"]
    head, points, *body = rows(written, "canvas.csv")
    assert head[:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert points[0].strip() == "Points Possible" and float(points[-1]) == 11
    assert next(row for row in body if row[0] == "bob_123")[1] == "123"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("=1+1", "'=1+1"), ("-2", "-2"), ("-2+3", "'-2+3"), ("@x", "'@x"), ("3.5", "3.5"),
     ("  =1", "'=1"), ("a=b", "a=b")],
)  # fmt: skip
def test_a_formula_is_text(text, shown):
    assert cell(text) == shown


def test_junit(results, written):
    tree = ET.parse(written / "junit.xml").getroot()
    assert tree.tag == "testsuites" and len(tree) == len(results)
    for suite in tree:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert all(case.get("name") and case.get("classname") for case in cases)
    junitparser = pytest.importorskip("junitparser")
    assert sum(1 for _ in junitparser.JUnitXml.fromfile(str(written / "junit.xml"))) == len(results)


def test_pages(results, written):
    pytest.importorskip("jinja2")
    pages = [written / "index.html", *written.glob("students/*.html")]
    assert len(pages) == 1 + len(results)
    for page in pages:
        text = page.read_text()
        assert "<script" not in text and "<img" not in text and "\x1b" not in text
        assert not re.search(r"(src|href)=\"(https?:|//|javascript:)", text)
        assert text.isascii() or "charset" in text[:200]
    index = (written / "index.html").read_text()
    for link in re.findall(r'href="([^"]+)"', index):
        assert (written / link).resolve().is_relative_to(written.resolve())
        assert (written / link).is_file()
    assert "not summed over batch" in index


def test_names_become_safe_files():
    slugs = Slugs()
    names = ["a/b", "a\\b", "A_B", "..", "", "ж", "con" * 100, "a b"]
    found = [slugs.of(name) for name in names]
    assert len({name.casefold() for name in found}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name) for name in found)
    assert max(map(len, found)) < 100


def test_the_same_results_give_the_same_bytes(results, written, tmp_path):
    groups = Groups()
    for student, result in results.items():
        groups.add(student, json.loads(json.dumps(result)))
    facts = Facts("Title & <co>", 11.0, len(results), 5.5, "sealed", groups.found())
    formats.write(formats.chosen(None), tmp_path, facts, lambda: results.items())
    for path in written.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes()


def test_an_unknown_format_is_told():
    with pytest.raises(UsageError, match="did you mean junit"):
        formats.chosen(["junitt"])
