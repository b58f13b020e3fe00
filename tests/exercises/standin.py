"""A worker that runs the code in this process: for the tests, whose submissions are their own."""

from contextlib import contextmanager

from crosscheck.evaluation import ImplementationError
from crosscheck.exercises import judge
from crosscheck.implementations import reference
from crosscheck.isolation import Missing
from crosscheck.submissions.submission import Submission


class InProcess:
    def __init__(self, sources):
        self.space, self.failure = {}, None
        try:
            for path, text in sources.items():
                exec(compile(text, path, "exec"), self.space)
        except Exception as error:
            self.failure = ImplementationError.during("importing it", error)
        self.names = [k for k, v in self.space.items() if callable(v) and not k.startswith("_")]

    def implementation(self, names, layer=None, *, convention=None, name=""):
        for wanted in names:
            if wanted not in self.names:
                return Absent(self.failure or Missing(f"the submission does not define {wanted}"))
        found = [self.space[wanted] for wanted in names]
        return convention.wrap(found[0] if len(found) == 1 else tuple(found))

    def output(self):
        return ""


class Absent:
    name, notes = "absent", ()

    def __init__(self, error):
        self.error = error

    def bind(self, problem):
        raise self.error


@contextmanager
def in_process(sources, *, limits=None):
    yield InProcess(sources)


def judged(exercise, text, **arguments):
    """A result in this process, against reference_nn and the numeric derivative: no framework."""
    oracles = {i.title: {"reference_nn": reference(i.layer)} for i in exercise.items}
    submission = Submission("submission.py", {"submission.py": text})
    return judge(exercise, submission, opener=in_process, oracles=oracles, **arguments)


def statuses(result):
    """Item → quantity → status, as plain words."""
    return {i.item.title: {m.quantity: m.status.value for m in i.marks} for i in result.items}
