"""The boundary: what crosses it, what is given up, and what is said about it."""

import os
import struct
import sys

import numpy as np
import pytest

from crosscheck.errors import UsageError
from crosscheck.evaluation import ImplementationError
from crosscheck.families import catalogue
from crosscheck.isolation import (
    IsolationError,
    Level,
    Limits,
    Missing,
    ProtocolViolation,
    TimedOut,
    WorkerDied,
    Zygote,
    open_worker,
    shared,
)
from crosscheck.isolation.protocol import (
    HEADER,
    BadFrame,
    Entry,
    Frame,
    Kind,
    Layout,
    Role,
    decode,
    encode,
)
from crosscheck.isolation.text import one_line, printable

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux's measures")
LINEAR = """
import numpy as np
class Linear:
    def __init__(self, i, o):
        self.weights = np.zeros((i, o)); self.bias = np.zeros(o)
    def forward(self, x):
        return x @ self.weights + self.bias
    def backward(self, x, g):
        self.grad_weights = x.T @ g; self.grad_bias = g.sum(0)
        return g @ self.weights.T
"""


def problem():
    return catalogue["Linear"].problem({}, {"batch": 2, "in_features": 3, "out_features": 4})


def arrays(rng):
    values = {name: rng.normal(size=t.shape(problem())) for name, t in problem().given.items()}
    return values, {"output": rng.normal(size=(2, 4))}


# --- frames -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 1, 3)])
def test_arrays_cross_unchanged(dtype, shape):
    array = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(dtype)
    entry = Entry(Role.OUTPUT, 3, array, Layout.READONLY, 7)
    found = decode(encode(Frame(Kind.VJP, 9, (entry,), "naïve")))
    (back,) = found.entries
    assert (found.kind, found.sequence, found.text) == (Kind.VJP, 9, "naïve")
    assert (back.role, back.index, back.layout, back.alias) == (Role.OUTPUT, 3, Layout.READONLY, 7)
    assert back.array.dtype == array.dtype and back.array.shape == shape
    assert np.array_equal(back.array, array)


@pytest.mark.parametrize("array", [np.zeros((1,) * 9), np.zeros(2, object), np.array(["a"])])
def test_other_arrays_do_not_cross(array):
    with pytest.raises(BadFrame):
        encode(Frame(Kind.VJP, 1, (Entry(Role.OUTPUT, 0, array),)))


def damaged():
    whole = encode(Frame(Kind.VJP, 1, (Entry(Role.OUTPUT, 0, np.zeros((2, 3))),), "text"))
    entry = HEADER.size
    yield "magic", b"PICK" + whole[4:]
    yield "kind", whole[:4] + b"\xee" + whole[5:]
    yield "status", whole[:5] + b"\xee" + whole[6:]
    yield "number of arrays", whole[:6] + b"\xff\xff" + whole[8:]
    yield "text length", whole[:12] + b"\xff\xff\xff\x7f" + whole[16:]
    yield "total", whole[:16] + struct.pack("<Q", 1 << 62) + whole[24:]
    yield "total too small", whole[:16] + struct.pack("<Q", 8) + whole[24:]
    yield "role", whole[:entry] + b"\x09" + whole[entry + 1 :]
    yield "dtype", whole[: entry + 2] + b"\x63" + whole[entry + 3 :]
    yield "dimensions", whole[: entry + 3] + b"\x09" + whole[entry + 4 :]
    yield "layout", whole[: entry + 4] + b"\x09" + whole[entry + 5 :]
    yield "padding", whole[: entry + 6] + b"\x01\x00" + whole[entry + 8 :]
    yield "shape", whole[: entry + 8] + struct.pack("<Q", 1 << 50) + whole[entry + 16 :]
    yield "unused shape", whole[: entry + 24] + struct.pack("<Q", 1) + whole[entry + 32 :]


@pytest.mark.parametrize(("what", "raw"), [*damaged()], ids=[what for what, _ in damaged()])
def test_a_damaged_frame_is_refused(what, raw):
    with pytest.raises(BadFrame):
        decode(raw)


def test_a_bool_of_another_byte_is_still_a_bool():
    raw = bytearray(encode(Frame(Kind.VJP, 1, (Entry(Role.OUTPUT, 0, np.zeros(4, bool)),))))
    raw[-4:] = b"\x00\x01\x02\xff"
    assert decode(bytes(raw)).entries[0].array.tolist() == [False, True, True, True]


# --- workers ----------------------------------------------------------------------------------


def test_a_worker_gives_what_the_code_gives():
    values, cotangents = arrays(np.random.default_rng(0))
    with open_worker(LINEAR) as worker:
        found = worker.implementation("Linear").bind(problem()).vjp(values, cotangents)
    assert np.array_equal(found.outputs["output"], values["x"] @ values["weights"] + values["bias"])
    assert np.array_equal(found.gradients["bias"], cotangents["output"].sum(0))


def test_several_files_import_each_other():
    files = {"parts/base.py": "X = 2", "main.py": "from parts.base import X\ndef f(): return X"}
    with open_worker(files) as worker:
        assert worker.failure is None and "f" in worker.names


def test_what_is_defined_before_a_failure_can_be_used():
    with open_worker(LINEAR + "\n1 / 0\n") as worker:
        assert "ZeroDivisionError" in str(worker.failure)
        assert "line 12" in str(worker.failure) and "/isolation/" not in str(worker.failure)
        worker.implementation("Linear").bind(problem())


def test_a_missing_name_is_told_with_the_nearest():
    with open_worker(LINEAR.replace("class Linear", "class Liner")) as worker:
        with pytest.raises(Missing, match="defines Liner") as caught:
            worker.implementation("Linear").bind(problem())
    assert caught.value.near == ("Liner",)


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("import os; os._exit(3)", WorkerDied, "exit code 3"),
        ("while True: pass", TimedOut, "stopped after"),
        ("import os\n        for d in range(3, 32):\n            try: os.close(d)\n"
         "            except OSError: pass", WorkerDied, "closed|exit code 0"),
        ("import os\n        for d in range(3, 32):\n            try: os.write(d, b'x' * 400)\n"
         "            except OSError: pass", ProtocolViolation, "something else"),
        ("raise ValueError('no')", ImplementationError, "ValueError: no"),
    ],
)  # fmt: skip
def test_the_end_of_a_worker_is_told(body, error, says):
    source = LINEAR.replace("return x @", f"{body}\n        return x @")
    values, cotangents = arrays(np.random.default_rng(0))
    with open_worker(source, limits=Limits(seconds=0.4)) as worker:
        subject = worker.implementation("Linear")
        with pytest.raises(error, match=says):
            subject.bind(problem()).vjp(values, cotangents)
        if error is not ImplementationError:
            with pytest.raises(error):  # it stays failed, at no cost
                subject.bind(problem())
        other = worker.implementation("Linear")  # another item gets another process
        other.bind(problem())


def test_the_total_time_is_limited():
    with open_worker("while True: pass", limits=Limits(seconds=0.2, total=0.3)) as worker:
        assert isinstance(worker.failure, TimedOut)
        assert worker.spent < 5


def test_output_is_capped():
    with open_worker("print('a' * 10**6)", limits=Limits(output=100)) as worker:
        text = worker.output()
    assert text.startswith("aaa") and len(text) < 300 and "more characters" in text


def test_random_numbers_are_the_same_in_every_worker():
    source = (
        "import numpy as np, random\nraise ValueError(repr((np.random.rand(), random.random())))"
    )
    said = []
    for _ in range(2):
        with open_worker(source) as worker:
            said.append(str(worker.failure))
    assert said[0] == said[1]


@LINUX
def test_a_worker_leaves_nothing_to_the_next():
    with open_worker("open('left', 'w').write('secret')") as worker:
        assert worker.failure is None
    with open_worker("import os\nraise ValueError(os.listdir('.'))") as worker:
        assert "ValueError: []" in str(worker.failure)


@LINUX
def test_a_worker_is_nobody():
    with open_worker("import os\nraise ValueError((os.getuid(), os.geteuid()))") as worker:
        own = os.getuid() or 65534
        assert f"ValueError: ({own}, {own})" in str(worker.failure)


# --- levels -----------------------------------------------------------------------------------


@LINUX
@pytest.mark.parametrize(
    ("without", "able"),
    [
        (("namespaces", "Landlock"), "read files"),
        (("namespaces", "seccomp"), "open sockets"),
        (("seccomp", "Landlock", "namespaces"), "start processes"),
    ],
)
def test_what_is_left_out_is_noticed(without, able):
    if shared().level < Level.CONFINED:
        pytest.skip(f"this system reaches {shared().level.name} only")
    zygote = Zygote(without=without)
    try:
        assert zygote.level <= Level.LIMITED
        assert f"a worker can {able}" in zygote.facts["missing"]
        with pytest.raises(IsolationError, match=f"a worker can {able}"):
            zygote.require("confined")
        with pytest.raises(IsolationError):
            with open_worker("raise SystemExit", zygote=zygote, require=Level.CONFINED):
                raise AssertionError("it was run")
    finally:
        zygote.close()


def test_an_unknown_level_is_told():
    with pytest.raises(UsageError, match="there is process, limited, confined, sealed"):
        Level.named("total")


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["\x1b[2J", "\x00", "\r", "\u202e", "\u200b", "\ud800", "\ue000"])
def test_what_a_terminal_would_obey_is_shown_instead(bad):
    text = printable(f"a{bad}b")
    assert bad not in text and text.startswith("a\\") and text.endswith("b")


def test_long_texts_are_cut_and_it_is_said():
    assert len(printable("x" * 10**6)) < 5000 and "left out" in printable("x" * 10**6)
    assert "lines left out" in printable("\n" * 1000)
    assert one_line("a\nb\tc" * 100, 20) == "a b ca b ca b ca b …"
