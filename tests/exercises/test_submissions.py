"""Reading what people hand in: everything gives a submission, or says why not; nothing is run."""

import io
import json
import os
import zipfile

import pytest

from crosscheck.errors import UsageError
from crosscheck.submissions import course, read
from crosscheck.submissions.archive import MOST_MEMBERS
from crosscheck.submissions.course import student_of
from crosscheck.submissions.imports import without_imports
from crosscheck.submissions.notebook import definitions, without_magics
from crosscheck.submissions.submission import Submission

CLASS = "class A:\n    def forward(self, x):\n        return x\n"
NOT_RUN = "raise SystemExit('this was run')\n"


def notebook(*cells, **more):
    made = [
        {"cell_type": "code", "source": c.splitlines(True), "outputs": [], "metadata": {}}
        for c in cells
    ]
    return json.dumps({"cells": made, "nbformat": 4, "nbformat_minor": 5, "metadata": {}, **more})


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


# --- files ----------------------------------------------------------------------------------


def test_a_python_file_is_taken_whole_and_not_run(tmp_path):
    (tmp_path / "a.py").write_text(CLASS + NOT_RUN)
    found = read(tmp_path / "a.py")
    assert found.sources == {"a.py": CLASS + NOT_RUN} and not found.problems


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.py", b"", "empty"),
        ("a.py", b"def f(:\n", "no valid Python: invalid syntax, line 1"),
        ("a.py", b"x = '\xff'\n", "no text in UTF-8"),
        ("a.py", b"# coding: klingon\n", "encoding"),
        ("a.py", b"a\0b", "null characters"),
        ("a.py", b"(" * 5000, "no valid Python"),
        ("a.py", b"x" * (1 << 20) + b"yz", "larger than 1 MiB"),
        ("a.pdf", b"%PDF", "no .py, .ipynb or .zip"),
        ("a.ipynb", b"{", "no JSON"),
        ("a.ipynb", b"[]", "no cells"),
        ("a.ipynb", b'{"cells": 3}', "no cells"),
        ("a.ipynb", b'{"cells": []}', "no code cells"),
        ("a.ipynb", b'{"cells": [3, null, {"cell_type": "code", "source": 5}]}', "no code cells"),
        ("a.ipynb", b"[" * 100_000, "no notebook"),
        ("a.ipynb", b"\xff\xfe", "not UTF-8"),
        ("a.zip", b"PK\x03\x04", "no readable zip"),
        ("a.zip", zipped({}), "no .py or .ipynb file"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    found = read(tmp_path / name)
    assert not found.readable and says in found.problems[0]


def test_encodings(tmp_path):
    for number, content in enumerate(
        (
            "# ü\n".encode("utf-8-sig"),
            "# coding: latin-1\n# ü\n".encode("latin-1"),
            "# ü\n".encode("utf-16"),
        )
    ):
        (tmp_path / f"a{number}.py").write_bytes(content)
        ((_, text),) = read(tmp_path / f"a{number}.py").sources.items()
        assert "ü" in text


def test_absent_files_links_and_devices(tmp_path):
    assert "no such file" in read(tmp_path / "absent.py").problems[0]
    (tmp_path / "real.py").write_text(CLASS)
    os.symlink(tmp_path / "real.py", tmp_path / "link.py")
    assert "is a link" in read(tmp_path / "link.py").problems[0]
    os.mkfifo(tmp_path / "pipe.py")
    assert "no file" in read(tmp_path / "pipe.py").problems[0]


def test_a_name_that_an_import_would_answer_otherwise_is_changed(tmp_path):
    (tmp_path / "numpy.py").write_text(CLASS)
    assert [*read(tmp_path / "numpy.py").sources] == ["numpy_.py"]
    (tmp_path / "1. My solution (final).py").write_text(CLASS)
    assert [*read(tmp_path / "1. My solution (final).py").sources] == ["_1__My_solution__final_.py"]


# --- notebooks ------------------------------------------------------------------------------


def test_a_notebook_keeps_definitions_and_runs_no_demonstration(tmp_path):
    text = notebook(
        "%matplotlib inline\n!pip install x\nimport numpy as np\nEPS = 1e-4; print(EPS)",
        CLASS + "a = A()\nprint(a.forward(1))",
        "loss = undefined\nfor i in range(3):\n    train()",
        "def broken(:",
        "%%bash\nrm -rf /",
        "@decorated\ndef f():\n    return EPS\n",
    )
    (tmp_path / "n.ipynb").write_text(text)
    found = read(tmp_path / "n.ipynb")
    ((path, source),) = found.sources.items()
    assert path == "n.py" and not found.problems
    assert "import numpy as np" in source and "EPS = 0.0001" in source and CLASS in source
    assert "@decorated\ndef f()" in source
    for absent in ("print", "A()", "train", "undefined", "rm", "pip", "matplotlib"):
        assert absent not in source
    assert "code cell 4 of 6 left out" in found.notes[0]
    assert "not run" in found.notes[1]
    whole = read(tmp_path / "n.ipynb", everything=True)
    assert "invalid syntax" in whole.problems[0]  # asked for everything: the broken cell too


def test_old_notebooks_and_sources_as_one_text(tmp_path):
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": CLASS}]}], "nbformat": 3}
    (tmp_path / "old.ipynb").write_text(json.dumps(old))
    assert CLASS.strip() in read(tmp_path / "old.ipynb").sources["old.py"]
    new = {"cells": [{"cell_type": "code", "source": CLASS}]}
    (tmp_path / "new.ipynb").write_text(json.dumps(new))
    assert CLASS.strip() in read(tmp_path / "new.ipynb").sources["new.py"]


def test_magics():
    assert without_magics("%time x = 1\ny = 2").strip() == "y = 2"
    assert without_magics("if a:\n    !ls\nb = 1") == "if a:\n    pass\nb = 1"
    assert without_magics("files = !ls\nb = 1").strip() == "b = 1"
    assert without_magics("x?\nb = 1").strip() == "b = 1"
    assert without_magics("a = (5\n% 3)") == "a = (5\n% 3)"
    assert without_magics("%%time\nb = 1").strip() == "b = 1"
    assert without_magics("%%javascript\nalert(1)") == ""


def test_definitions_of_one_line_do_not_bring_the_other_statement():
    assert definitions("a = 1; run()") == ("a = 1", 1)
    assert definitions("import os; os.remove('x')") == ("import os", 1)
    assert definitions("x = f()") == ("", 1)
    assert definitions("x = y") == ("", 1)
    assert definitions("f = lambda: y") == ("f = lambda: y", 0)
    assert definitions("try:\n    import a\nexcept ImportError:\n    a = None")[1] == 0
    assert definitions("def f(:") is None


# --- folders and archives -------------------------------------------------------------------


def test_a_folder_in_the_order_of_its_imports(tmp_path):
    (tmp_path / "a.py").write_text("from z import f\n")
    (tmp_path / "z.py").write_text("import m.n\n")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "n.py").write_text("import a\n")  # a circle
    (tmp_path / "test_a.py").write_text(NOT_RUN)
    (tmp_path / ".hidden.py").write_text(NOT_RUN)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "b.py").write_text(NOT_RUN)
    os.symlink("/etc", tmp_path / "etc")
    os.symlink("/etc/passwd", tmp_path / "passwd.py")
    found = read(tmp_path)
    assert [*found.sources] == ["m/n.py", "z.py", "a.py"] and not found.problems


def test_a_zip_is_read_and_a_broken_file_in_it_is_named(tmp_path):
    (tmp_path / "s.zip").write_bytes(
        zipped({"s/a.py": CLASS, "s/b.py": "def", "__MACOSX/._a.py": "x"})
    )
    found = read(tmp_path / "s.zip")
    assert [*found.sources] == ["s/a.py"] and "b.py is no valid Python" in found.problems[0]


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../a.py", "leaves it"),
        ("/a.py", "leaves it"),
        ("a/../../b.py", "leaves it"),
        ("..\\a.py", "leaves it"),
        ("C:\\a.py", "leaves it"),
        (link("a.py"), "a link"),
    ],
)
def test_no_path_escapes_and_no_link_is_taken(tmp_path, name, says):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("ok.py", CLASS)
        archive.writestr(name, CLASS)
    (tmp_path / "s.zip").write_bytes(stream.getvalue())
    found = read(tmp_path / "s.zip")
    assert not found.readable and says in found.problems[0]


def test_bombs_go_off_in_small(tmp_path):
    (tmp_path / "s.zip").write_bytes(zipped({"a.py": b"#" * (8 << 20)}))
    assert "times its size" in read(tmp_path / "s.zip").problems[0]
    (tmp_path / "s.zip").write_bytes(zipped({f"{n}.py": b"" for n in range(MOST_MEMBERS + 1)}))
    assert "members" in read(tmp_path / "s.zip").problems[0]
    honest = bytearray(zipped({"a.py": b"#" * (8 << 20)}))
    at = honest.index(b"PK\x01\x02")
    honest[at + 24 : at + 28] = (5).to_bytes(4, "little")  # it claims to be small
    (tmp_path / "s.zip").write_bytes(honest)
    assert not read(tmp_path / "s.zip").readable


def test_encrypted_and_twice(tmp_path):
    content = bytearray(zipped({"a.py": CLASS}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "s.zip").write_bytes(content)
    assert "encrypted" in read(tmp_path / "s.zip").problems[0]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.py", CLASS)
        archive.writestr("a.py", CLASS)
    (tmp_path / "s.zip").write_bytes(stream.getvalue())
    assert "twice" in read(tmp_path / "s.zip").problems[0]


@pytest.mark.parametrize(
    ("name", "folder", "student"),
    [
        ("Ada Lovelace_12345_assignsubmission_file_", True, "Ada Lovelace_12345"),
        ("lovelaceada_12345_67890_hw1.ipynb", False, "lovelaceada_12345"),
        ("lovelaceada_LATE_12345_67890_hw1-2.ipynb", False, "lovelaceada_12345"),
        ("hw1_ada_attempt_2026-01-31-12-00-00_a.py", False, "ada"),
        ("ada_hw1.py", False, "ada"),
        ("ada.py", False, "ada"),
        ("submission_17", True, "submission_17"),
    ],
)
def test_whose_it_is(name, folder, student):
    assert student_of(name, folder) == student


def test_exports(tmp_path):
    one = tmp_path / "moodle"
    for name in ("Ada_1_assignsubmission_file_", "Bob_2_assignsubmission_file_"):
        (one / name).mkdir(parents=True)
        (one / name / "a.ipynb").write_text(notebook(CLASS))
    assert [e.student for e in course(one)] == ["Ada_1", "Bob_2"]
    assert all(e.read().readable for e in course(one))
    two = tmp_path / "canvas"
    two.mkdir()
    (two / "ada_1_2_hw.py").write_text("old = 1\n")
    (two / "ada_1_3_hw-1.py").write_text("new = 1\n")
    (two / "bob_2_4_hw.zip").write_bytes(zipped({"x/hw.py": CLASS}))
    (two / "cy_3_5_hw.pdf").write_bytes(b"%PDF")
    found = {e.student: e.read() for e in course(two)}
    assert [*found] == ["ada_1", "bob_2", "cy_3"]
    assert found["bob_2"].readable and "no .py, .ipynb or .zip" in found["cy_3"].problems[0]
    flat = zipped({"all/ada_hw.py": CLASS, "all/bob_hw.py": "def"})
    (tmp_path / "export.zip").write_bytes(flat)
    both = {e.student: e.read() for e in course(tmp_path / "export.zip")}
    assert both["ada"].readable and "no valid Python" in both["bob"].problems[0]
    with pytest.raises(UsageError, match="no such folder"):
        [*course(tmp_path / "absent")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no submissions"):
        [*course(tmp_path / "empty")]


def test_imports_that_are_not_allowed_are_left_out_and_lines_stay():
    text = "import numpy as np, torch\nfrom jax import (\n    numpy,\n)\nx = 1; import os.path\nimport b\n"
    given = Submission("s", {"a.py": text, "b.py": ""})
    found = without_imports(given, ("numpy",))
    assert found.sources["a.py"] == "import numpy as np\npass\n\n\nx = 1; pass\nimport b\n"
    assert found.notes == ("not allowed here, and left out: import of torch, jax, os.path",)
    assert without_imports(Submission("s", {"a.py": "import numpy\n"}), ("numpy",)).notes == ()
