"""Compiled programs kept in a folder: the same answers without tracing, and never wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

import crosscheck
from crosscheck import sampling
from crosscheck.implementations import forget, kept_programs, oracle
from crosscheck.tolerance import quantities

jax = pytest.importorskip("jax")
if jax.__version_info__ < (0, 9):
    pytest.skip("JAX 0.8 cannot load a program that it handed out", allow_module_level=True)
NAME = "Softplus"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(kept_programs.VARIABLE, str(tmp_path))
    forget()
    kept_programs._circumstances.cache_clear()
    yield tmp_path
    forget()
    kept_programs._circumstances.cache_clear()


class Asked(Exception):
    """The twin was traced."""


def answers(layer=None, traced=True):
    """What JAX's twin says of a case, by a newly bound twin; `traced=False` forbids its function."""
    forget()
    layer = layer or crosscheck.catalogue[NAME]
    twin = oracle("jax", layer)
    if not traced:

        def refuse(*_, **__):
            raise Asked

        twin.function = refuse
    case = next(iter(sampling.cases(layer)))
    bound = twin.bind(case.problem)
    low, high = bound.both_precisions(case.arrays("float32"), case.upstream("float32"))
    return {**quantities(low), **{f"{k}64": a for k, a in quantities(high).items()}}


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert np.array_equal(array, other[name]), name


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_kept_program_answers_to_the_last_bit_without_a_trace(folder):
    first = answers()
    (kept,) = files(folder)
    assert kept.name.startswith(NAME) and b"pickle" not in kept.read_bytes()
    same(first, answers(traced=False))


def test_nothing_is_kept_unless_a_folder_was_chosen(folder, monkeypatch):
    monkeypatch.delenv(kept_programs.VARIABLE)
    answers()
    assert files(folder) == []


def test_a_layer_that_is_not_the_catalogues_is_not_kept(folder):
    """Its source is anybody's: nothing says whether it changed."""
    answers()
    own = replace(crosscheck.catalogue[NAME])
    with pytest.raises(Exception, match="Asked"):
        answers(own, traced=False)
    assert len(files(folder)) == 1


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[: len(data) // 2],
    lambda data: data[:-40] + bytes(b ^ 255 for b in data[-40:]),
    lambda data: b"something else\n" + data,
    lambda data: data + b"more",
])  # fmt: skip
def test_a_damaged_file_is_compiled_anew(folder, damage):
    first = answers()
    (kept,) = files(folder)
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    same(first, answers())
    same(first, answers(traced=False))  # it has been mended


def test_what_else_a_program_depends_on_has_files_of_its_own(folder, monkeypatch):
    answers()
    for change in (
        lambda m: m.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_min_max=false"),
        lambda m: m.setattr(kept_programs, "version", lambda package: "0.0"),
        lambda m: m.setattr(kept_programs, "_instructions", lambda: "flags: another processor"),
    ):
        with monkeypatch.context() as patch:
            change(patch)
            kept_programs._circumstances.cache_clear()
            with pytest.raises(Exception, match="Asked"):
                answers(traced=False)


def test_a_program_that_calls_out_is_not_kept(folder):
    import jax

    problem = next(iter(sampling.cases(crosscheck.catalogue[NAME]))).problem

    def answer(function):
        make = kept_programs.KeptProgram(lambda: jax.jit(function), folder, problem, "one")
        return make({"x": np.eye(3, dtype=np.float32)})

    answer(lambda d: {"output": jax.numpy.linalg.cholesky(d["x"])})
    assert files(folder) == []
    answer(lambda d: {"output": d["x"] + 1})
    assert len(files(folder)) == 1


def test_a_folder_that_cannot_be_written_is_none(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv(kept_programs.VARIABLE, str(folder / "file"))
    answers()
    assert len(files(folder)) == 1


def twice(dump, compiled):
    """The program as jax's own cache gives it back: loaded, and then written again."""
    import jax

    first = kept_programs.zlib.decompress(dump(compiled)[len(kept_programs.MAGIC) :])
    head, _, program = first.partition(b"\n")
    device = jax.devices("cpu")[0]
    again = device.client.deserialize_executable(program, [device]).serialize()
    return kept_programs.MAGIC + kept_programs.zlib.compress(head + b"\n" + again)


def test_a_program_that_does_not_run_when_it_is_loaded_is_not_kept(folder, monkeypatch):
    first = answers()
    (kept,) = files(folder)
    kept.unlink()
    dump, broken = kept_programs._dump, []
    monkeypatch.setattr(
        kept_programs, "_dump", lambda program: broken.append(twice(dump, program)) or broken[0]
    )
    same(first, answers())
    assert files(folder) == []
    monkeypatch.undo()
    monkeypatch.setenv(kept_programs.VARIABLE, str(folder))
    kept.write_bytes(broken[0])  # one that was kept nevertheless
    same(first, answers())
    assert kept.read_bytes() != broken[0]
    same(first, answers(traced=False))
