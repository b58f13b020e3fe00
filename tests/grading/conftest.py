"""One exercise, one record and one zygote for all tests of grading."""

from dataclasses import replace

import pytest

from crosscheck.exercises import Limits, load
from crosscheck.exercises.exercise import IMPORTS
from crosscheck.grading.marker import Marker, Settings, record

#: What the hostile submissions import: left in, so that isolation has to answer, not the reader.
ATTACKERS = (
    "_socket", "atexit", "builtins", "crosscheck", "ctypes", "gc", "glob", "importlib", "jax",
    "json", "os", "pickle", "pytest", "re", "reference_nn", "signal", "socket", "struct",
    "subprocess", "sys", "threading", "time", "torch", "types", "unittest",
)  # fmt: skip
SEED = 7


def impatient(exercise):
    """Short limits, so that a hundred endless loops fit into a minute."""
    limits = Limits(seconds=0.4, total=1.2, memory_mib=256, output=2000)
    return replace(exercise, limits=limits, imports=(*IMPORTS, *ATTACKERS))


@pytest.fixture(scope="session")
def exercise():
    return replace(load("backpropagation"), against=("torch", "numeric"))


@pytest.fixture(scope="session")
def kept(exercise):
    """The answers of torch, or of reference_nn where there is no torch."""
    return record(exercise, SEED)


@pytest.fixture(scope="session")
def marker(exercise, kept):
    settings = Settings("backpropagation", SEED, kept.to_bytes())
    return Marker(impatient(exercise), settings)


@pytest.fixture(scope="session")
def patient(exercise, kept):
    """The same with time enough for a right submission on a busy machine."""
    own = replace(impatient(exercise), limits=Limits(seconds=60, total=300))
    return Marker(own, Settings("backpropagation", SEED, kept.to_bytes()))


@pytest.fixture(scope="session")
def oracle_file(kept, tmp_path_factory):
    return kept.save(tmp_path_factory.mktemp("oracle") / "oracle.npz")


@pytest.fixture(scope="session")
def solution():
    return (load("backpropagation").file.parent / "solution.py").read_text()
