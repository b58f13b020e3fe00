"""Many questions as one message say what each of them would say by itself."""

import sys
import warnings

import numpy as np
import pytest

from crosscheck.evaluation import ImplementationError
from crosscheck.families import catalogue
from crosscheck.grading.rehearsal import FIRST, Rehearsed
from crosscheck.grading.script import Script
from crosscheck.isolation import ProtocolViolation, Zygote, open_worker, warming
from crosscheck.isolation.protocol import Frame, Kind, Role, Status, encode
from crosscheck.isolation.runtime import Capped, Runtime, module_name
from crosscheck.isolation.worker import Request

LINEAR = """
import numpy as np
class Linear:
    def __init__(self, i, o):
        self.weights = np.zeros((i, o)); self.bias = np.zeros(o)
        self.calls = 0
    def forward(self, x):
        self.calls += 1
        return x @ self.weights + self.bias + self.calls
    def backward(self, x, g):
        self.grad_weights = x.T @ g; self.grad_bias = g.sum(0)
        return g @ self.weights.T
"""
#: The output gets longer where the first number is large.
RAGGED = LINEAR.replace("+ self.calls", "+ np.zeros((1 + (abs(x[0, 0]) > 1), 1, 1))")
REAL = LINEAR.replace("self.calls += 1", "x.dtype.kind == 'f' or 1 / 0")
SHORT = """
import sys
runtime = sys._getframe()
while not hasattr(runtime.f_locals.get("self"), "handlers"): runtime = runtime.f_back
handlers = runtime.f_locals["self"].handlers
from crosscheck.isolation.protocol import Entry, Frame, Kind
def short(request, old=handlers[Kind.FORWARDS]):
    found = old(request)
    return found._replace(entries=tuple(Entry(e.role, e.index, e.array[:-1]) for e in found.entries))
handlers[Kind.FORWARDS] = short
"""


def problem():
    return catalogue["Linear"].problem({}, {"batch": 2, "in_features": 3, "out_features": 4})


def points():
    """Seven in a row: of two dtypes, one of them twice."""
    rng = np.random.default_rng(3)
    for number in range(7):
        values = {name: rng.normal(size=t.shape(problem())) for name, t in problem().given.items()}
        values["x"][0, 0] = 2.0 * (number == 5)
        if number in (2, 3):
            values["x"] = values["x"] + 1j
        yield values


def asked(worker):
    """The answers one by one, and what was asked; what raises is its message."""
    subject = Rehearsed.around(worker.implementation("Linear", catalogue["Linear"]), None)
    bound = subject.bind(problem())
    found = []
    for values in points():
        try:
            found.append(bound.forward(values)["output"])
        except ImplementationError as error:
            found.append(str(error))
    return found, subject.heard


def scripted(worker, script):
    return script.answers(worker, *worker.converse_raw(script.requests, script.name))


def test_a_run_of_forward_passes_is_one_request_and_gives_what_each_gives():
    with open_worker(LINEAR) as worker:
        found, heard = asked(worker)
        script = Script.of(heard, FIRST)
        assert [r.kind for r in script.requests] == [Kind.DEFINE, Kind.BIND, Kind.FORWARDS]
        assert script.counts[-1] == (2, 2, 3)
        _, _, *answers = scripted(worker, script)  # on an object of its own: it counts from 1 again
    for one, other in zip(answers, found, strict=True):
        assert np.array_equal(one.entries[0].array, other) and one.kind is Kind.FORWARD
        assert one.entries[0].array.dtype == other.dtype


@pytest.mark.parametrize("text", [RAGGED, REAL], ids=["ragged", "raises"])
def test_what_does_not_stack_is_left_to_be_asked_alone(text):
    with open_worker(text) as worker:
        found, heard = asked(worker)
        assert len({getattr(one, "shape", one) for one in found}) > 1
        assert scripted(worker, Script.of(heard, FIRST))[2:] == [None] * 7
        alone = Script.of(heard, FIRST, range(2, 9))
        for one, other in zip(scripted(worker, alone)[2:], found, strict=True):
            if isinstance(other, str):
                assert str(one) in other
            else:
                assert np.array_equal(one.entries[0].array, other)


def test_an_answer_to_fewer_questions_is_none():
    with open_worker(LINEAR) as worker:
        _, heard = asked(worker)
    with open_worker(LINEAR + SHORT) as worker, pytest.raises(ProtocolViolation, match="fewer"):
        scripted(worker, Script.of(heard, FIRST))


def test_what_the_zygote_has_learnt_is_answered_like_what_is_sent():
    zygote = Zygote()
    try:
        zygote.warm()
        with open_worker(LINEAR, zygote=zygote) as worker:
            _, heard = asked(worker)
            script = Script.of(heard, FIRST)
            zygote.learn(script.name, script.data)
            assert script.name not in worker.learnt  # it was there before
            sent = worker.converse_raw(script.requests, script.name)
        with open_worker(LINEAR, zygote=zygote) as worker:
            assert script.name in worker.learnt
            assert worker.converse_raw(script.requests, script.name) == sent
    finally:
        zygote.close()


def test_a_zygote_is_warmed_up_with_questions_that_are_answered():
    runtime, finders = Runtime(-1, Capped(0)), [*sys.meta_path]
    with np.errstate(), warnings.catch_warnings():
        replies = [runtime._answer(question) for question in warming._questions()]
    sys.meta_path[:] = finders
    del sys.modules[module_name(warming.FILE)]
    assert {reply.status for reply in replies} == {Status.DONE}
    assert {reply.kind for reply in replies} == {*Kind} - {Kind.READY, Kind.LEARNT}
    entries = [entry for reply in replies if reply.kind is Kind.VJP for entry in reply.entries]
    gradients = [entry.array for entry in entries if entry.role is Role.GRADIENT]
    assert len(gradients) > 9 and not any(array.any() for array in gradients)  # nobody's answer


def test_nothing_of_the_warming_up_is_left():
    finders, filters, errors = [*sys.meta_path], [*warnings.filters], np.geterr()
    warming.warm()
    assert sys.meta_path == finders and warnings.filters == filters and np.geterr() == errors
    assert module_name(warming.FILE) not in sys.modules


def test_a_frame_keeps_its_number():
    question = Request(encode(Frame(Kind.OUTPUT, 5)), Kind.OUTPUT, 5, 0)
    (script,) = Script.of([question], 77).requests
    assert script.sequence == 77 and encode(Frame(Kind.OUTPUT, 77)) == script.data
