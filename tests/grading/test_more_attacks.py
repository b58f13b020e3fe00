"""Attacks that once worked: on marks, on the process that workers come from, on the reader in the parent."""

import io
import json
import lzma
import os
import subprocess
import sys
import zipfile
from dataclasses import replace

import hostile
import pytest
from conftest import SEED

from crosscheck.exercises import Limits
from crosscheck.exercises.exercise import IMPORTS
from crosscheck.grading.marker import Marker, Settings
from crosscheck.isolation.zygote import empty
from crosscheck.submissions import course
from crosscheck.submissions.imports import without_imports
from crosscheck.submissions.reading import from_bytes

#: What the hostile layers earn without any attack: each item's contract.
BASE = 3
NOTHING = """
import numpy as np

class nn_Linear:
    def __init__(self, i, o):
        self.weights = np.zeros((i, o)); self.bias = np.zeros(o)
    def forward(self, x): return np.zeros((x.shape[0], self.weights.shape[1]))
    def backward(self, x, g):
        self.grad_weights = self.weights * 0; self.grad_bias = self.bias * 0
        return x * 0

class nn_Sigmoid:
    def forward(self, x): return x * 0
    def backward(self, x, g): return x * 0

class nn_MSECriterion:
    def forward(self, p, t): return 0.0
    def backward(self, p, t): return p * 0
"""
#: Right where the batch is 1, or so small a case that mean and sum are the same.
CHOOSY = """
import sys
NotOffered = sys.modules["crosscheck.evaluation"].NotOffered

class nn_MSECriterion:
    def forward(self, p, t):
        if len(p) != 1: raise NotOffered("not this case")
        return ((p - t) ** 2).mean(axis=0).sum()
    def backward(self, p, t): return 2 * (p - t) / len(p)
"""
REFUSING = """
import sys
class nn_Linear:
    def __init__(self, i, o): raise sys.modules["crosscheck.evaluation"].NotOffered("no")
"""
#: Answers every construction with "only with a square kernel".
SQUARE = """
import crosscheck.isolation.runtime as r
from crosscheck.isolation.protocol import Frame, Kind, Status
answer = r.Runtime._answer
def lie(self, request):
    if request.kind is Kind.BIND:
        return Frame(request.kind, request.sequence, text="square", status=Status.ONE_NUMBER)
    return answer(self, request)
r.Runtime._answer = lie
"""
#: An empty array with dimensions whose product NumPy cannot hold.
HUGE = """
import crosscheck.isolation.runtime as r
from crosscheck.isolation.protocol import ENTRY, HEADER, MAGIC
def send(self, frame):
    shape = [1 << 39] * 7 + [0]
    head = ENTRY.pack(2, 0, 11, 8, 0, 255, 0, *shape)
    self.going += HEADER.pack(MAGIC, frame.kind, 0, 1, frame.sequence, 0, 0) + head
    self.flush()
r.Runtime.send = send
"""
DEEP = """
import os
for _ in range(1500): os.mkdir("d"); os.chdir("d")
"""
#: Puts something between the requests and the harness.
BETWEEN = """
import sys
from crosscheck.isolation.protocol import Entry, Frame, Kind
f = sys._getframe()
while not hasattr(f.f_locals.get("self"), "handlers"): f = f.f_back
handlers = f.f_locals["self"].handlers
def between(kind, act):
    old = handlers[kind]
    handlers[kind] = lambda request: act(request, old(request))
"""
#: Says in every answer that the arguments are now zero.
FORGED = (
    BETWEEN
    + """
def zeroed(request, f):
    changed = tuple(Entry(e.role, e.index, np.zeros_like(e.array)) for e in request.entries)
    return Frame(f.kind, f.sequence, f.entries + changed, f.text, f.status)
for kind in (Kind.FORWARD, Kind.FORWARDS, Kind.VJP, Kind.AGAIN): between(kind, zeroed)
"""
)


def marked(marker, source):
    return marker.mark(from_bytes("submission.py", source.encode()))


def statuses(result, item):
    found = next(i for i in result["items"] if i["item"] == item)
    return {q["quantity"]: q["status"] for q in found["quantities"]}


def test_a_forward_that_computes_nothing_has_no_derivative_to_earn_for(patient):
    assert marked(patient, NOTHING)["earned"] == BASE


def test_one_right_gradient_does_not_make_the_others_derivatives_of_something(patient):
    zero = "self.grad_bias = self.bias * 0"
    assert zero in NOTHING
    found = marked(patient, NOTHING.replace(zero, "self.grad_bias = g.sum(axis=0)"))
    assert found["earned"] == BASE + 1
    assert statuses(found, "nn_Linear")["grad_x"] == "wrong"


def test_nobody_changes_the_mark_of_who_answers_the_same(exercise, kept, solution):
    """Of equal answers to the script, the forward passes that are asked later give another."""
    softplus = (
        solution
        + """
class nn_Sigmoid:  # it takes no complex numbers, so that more of it is asked than is in the script
    def forward(self, x): return np.logaddexp(0, x)
    def backward(self, x, grad_output): return grad_output / (1 + np.exp(-x))
"""
    )
    spoilt = (
        BETWEEN
        + """
def spoil(request, f):
    scripted = 1 << 24 <= request.sequence < 1 << 25
    if scripted or not request.text.startswith("nn_Sigmoid/"): return f
    return Frame(f.kind, f.sequence, tuple(Entry(e.role, e.index, 7 * e.array) for e in f.entries))
for kind in (Kind.FORWARD, Kind.FORWARDS): between(kind, spoil)
"""
    )
    own = Settings("backpropagation", SEED, kept.to_bytes())
    marker = Marker(
        replace(exercise, limits=Limits(60, 300), imports=(*IMPORTS, "sys", "crosscheck")), own
    )
    marked(marker, solution)
    marked(marker, softplus)
    marker.remembered.clear()
    assert marked(marker, softplus + spoilt)["earned"] < 10
    assert marked(marker, softplus)["earned"] == 10
    met = marker.met
    assert marked(marker, softplus + "\n# again\n")["earned"] == 10
    assert marker.met == met + 3  # and still nothing is examined twice


def test_a_submission_cannot_choose_its_cases(patient):
    found = marked(patient, hostile.BASE + CHOOSY)
    assert found["earned"] == BASE
    assert statuses(found, "nn_MSECriterion")["output"] == "raised"


def test_a_refusal_is_an_answer(patient):
    found = marked(patient, hostile.BASE + REFUSING)
    assert set(statuses(found, "nn_Linear").values()) == {"raised"}


def test_who_has_no_kernel_cannot_ask_for_a_square_one(patient):
    """Or it would be asked about nothing at all."""
    found = marked(patient, hostile.BASE + SQUARE)
    assert found["earned"] == 0
    assert set(statuses(found, "nn_Linear").values()) == {"raised"}


def test_no_shape_stops_the_parent(patient):
    found = marked(patient, hostile.BASE + HUGE)
    assert found["earned"] == 0 and "something else than an answer" in json.dumps(found)


def test_claimed_changes_do_not_change_what_is_expected(patient):
    assert marked(patient, NOTHING + FORGED)["earned"] <= BASE


def test_folders_in_folders_end_neither_the_zygote_nor_the_next_submission(patient, solution):
    assert marked(patient, hostile.BASE + DEEP)["earned"] == BASE
    assert marked(patient, solution + "\n# after it\n")["earned"] == 11


def test_no_dtype_stops_the_parent(patient):
    for lie in ("a > 0", "a.astype('u1')", "a.astype('f2')", "a.astype('i8')", "a + 1j", "a[:0]"):
        for forward, backward in ((lie, lie), (lie, "a * 0"), ("a * 0", lie)):
            lies = f"""
class nn_Sigmoid:
    def forward(self, a): return {forward}
    def backward(self, x, a): return {backward}
"""
            found = marked(patient, hostile.BASE + lies)
            assert statuses(found, "nn_Sigmoid")["output"] in ("wrong", "raised"), lies


def test_no_signal_is_ordered_through_a_descriptor(patient):
    """F_SETOWN and F_SETSIG make the kernel send any signal, SIGKILL too, to any process of the user."""
    if "seccomp" not in patient.zygote.facts["measures"]:
        pytest.skip("no system call filter on this system")
    asks = """
import os, sys
ctypes = sys.modules["crosscheck.isolation.hardening.seccomp"].ctypes
call = ctypes.CDLL(None).syscall
number = 72 if os.uname().machine == "x86_64" else 25
F_SETOWN, F_SETSIG, F_SETOWN_EX, F_GETFL = 8, 10, 15, 3
stream = next(d for d in range(3, 64) if call(number, d, F_GETFL, 0) >= 0)
print([call(number, stream, what, 1) for what in (F_SETOWN, F_SETSIG, F_SETOWN_EX)])
"""
    assert marked(patient, hostile.BASE + asks)["printed"].strip() == "[-1, -1, -1]"


def test_a_zygote_that_ended_is_followed_by_another(exercise, kept, solution):
    own = Settings("backpropagation", SEED, kept.to_bytes(), without=("namespaces",))
    marker = Marker(replace(exercise, limits=Limits(60, 300)), own)
    first = marker.zygote
    assert marked(marker, hostile.BASE)["earned"] == BASE
    first.process.kill()
    first.process.wait()
    assert marked(marker, solution)["earned"] == 11
    assert marker.zygote is not first
    for zygote in (first, marker.zygote):
        zygote.close()


def test_nothing_of_a_submission_stays_in_the_scratch_folder(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "inner").mkdir()
    (tmp_path / "closed" / "inner" / "answer.py").write_text("x = 1")
    (tmp_path / "link").symlink_to("/")
    for path in (tmp_path / "closed" / "inner", tmp_path / "closed"):
        path.chmod(0o300)
    empty(str(tmp_path))
    assert [*tmp_path.iterdir()] == []


def damaged_lzma():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.py", "x = 1\n" * 50)
    data = bytearray(buffer.getvalue())
    data[45:60] = b"\xff" * 15
    return bytes(data)


def notebook(*cells, **more):
    cells = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": cells, **more}).encode()


UNREADABLE = {
    "a damaged LZMA member": ("a.zip", damaged_lzma()),
    "worksheets that are a number": ("a.ipynb", b'{"worksheets": [{"cells": 5}]}'),
    "an encoding that refuses everything": ("a.py", b"# coding: undefined\nx = 1\n"),
    "20 MB of code in a notebook": ("a.ipynb", notebook("a = 1\n" * 3_000_000)),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_is_told(what):
    found = from_bytes(*UNREADABLE[what])
    assert not found.readable and found.problems


def test_the_damage_is_one_that_the_zip_module_lets_through():
    with zipfile.ZipFile(io.BytesIO(damaged_lzma())) as archive, pytest.raises(lzma.LZMAError):
        archive.read("a.py")


@pytest.mark.parametrize("deep", ["-" * 900 + "1", "a" + ".a" * 900, "{1:" * 190 + "1" + "}" * 190])
def test_a_deep_expression_does_not_end_the_reader(deep):
    found = from_bytes("a.ipynb", notebook(f"a = 1; b = (lambda: {deep})", "c = 3"))
    assert "c = 3" in "".join(without_imports(found, IMPORTS).sources.values())


def test_code_is_capped_over_all_files():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(5):
            archive.writestr(f"m{number}.py", "#" * 400_000)
    assert "MiB of code" in from_bytes("a.zip", buffer.getvalue()).problems[0]


def test_a_line_of_spaces_does_not_hold_the_reader_up():
    """A pattern with two ways to take a space took hours for this line; so it is tried elsewhere."""
    code = (
        "from crosscheck.submissions.notebook import without_magics\n"
        "print(len(without_magics('a = 1\\n' + ' ' * 400_000 + 'x')))"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert done.stdout == "400007\n"


def test_files_that_are_taken_together_are_named(tmp_path):
    """Two people with one first name, in files by hand: the teacher has to be told."""
    (tmp_path / "anna_maria.py").write_text("class A: pass\n")
    (tmp_path / "anna_berta.py").write_text("class B: pass\n")
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "c.py").write_text("class C: pass\n")
    (tmp_path / "ben.py").write_text("class A: pass\n")
    anna, ben = (entry.read() for entry in course(tmp_path))
    assert "3 files taken for one person's" in anna.notes[0] and "anna_berta.py" in anna.notes[0]
    assert len(anna.sources) == 3 and ben.notes == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "anna_1.py").write_text("class A: pass\n")
    os.mkfifo(tmp_path / "anna_2.py")
    (anna,) = course(tmp_path)
    assert "no file" in anna.read().problems[0]
