"""Cases: immutable, whole, saved without pickle, and drawn so that mistakes cannot hide."""

import json
import zipfile

import numpy as np
import pytest

import crosscheck
from crosscheck import CaseError, Verdict, sampling
from crosscheck.case import Case
from crosscheck.checking import check_cases


@pytest.fixture
def case():
    return next(sampling.cases(crosscheck.catalogue["Linear"]))


def test_sizes_are_pairwise_distinct_then_one_at_a_time_1():
    cases = list(sampling.cases(crosscheck.catalogue["Linear"], dtypes=("float64",)))
    kinds = {c.kind: c for c in cases if c.memory == "plain" and not c.problem.changed_options()}
    sizes = list(kinds["distinct"].problem.sizes.values())
    assert len(set(sizes)) == len(sizes) and 1 not in sizes
    for axis in kinds["distinct"].problem.sizes:
        others = [n for a, n in kinds[f"{axis}=1"].problem.sizes.items() if a != axis]
        assert kinds[f"{axis}=1"].problem.sizes[axis] == 1
        assert len(set(others)) == len(others) and 1 not in others
    assert len(set(kinds["square"].problem.sizes.values())) == 1
    assert {c.memory for c in cases} == {"plain", "strided", "readonly"}


def test_cotangents_are_random_and_never_ones(case):
    cotangent = case.cotangents["output"]
    assert len(np.unique(cotangent)) == cotangent.size
    assert not np.any(cotangent == 1) and (cotangent < 0).any() and (cotangent > 0).any()


def test_a_seed_names_a_case():
    layer = crosscheck.catalogue["Linear"]
    sizes = {"batch": 2, "in_features": 3, "out_features": 4}
    one, two, other = (next(sampling.cases(layer, sizes=sizes, seed=s)) for s in (1, 1, 2))
    for name in one.values:
        assert np.array_equal(one.values[name], two.values[name])
        assert not np.array_equal(one.values[name], other.values[name])


def test_immutable(case):
    with pytest.raises(ValueError, match="read-only"):
        case.values["x"][0, 0] = 1
    with pytest.raises(AttributeError):
        case.dtype = "float32"
    mine = {k: a.copy() for k, a in case.values.items()}
    built = Case(case.problem, mine, case.cotangents)
    mine["x"][...] = 0
    assert np.any(built.values["x"])


def test_memory_layouts(case):
    strided = case.with_values(memory="strided").arrays()
    assert not strided["x"].flags.c_contiguous and not strided["bias"].flags.c_contiguous
    assert np.array_equal(strided["x"], case.values["x"])
    readonly = case.with_values(memory="readonly").arrays()
    assert not readonly["x"].flags.writeable
    plain = case.arrays()
    assert plain["x"].flags.writeable and plain["x"] is not case.values["x"]
    assert case.arrays("float32")["x"].dtype == np.float32


def test_saved_and_loaded_whole(case, tmp_path):
    path = case.with_values(dtype="float32", memory="strided").save(tmp_path / "deep" / "case.npz")
    back = Case.load(path)
    assert (back.id, back.seed, back.memory) == (
        case.with_values(dtype="float32", memory="strided").id, case.seed, "strided",
    )  # fmt: skip
    assert back.problem.sizes == case.problem.sizes
    assert back.versions["numpy"] == np.__version__
    for name, array in case.values.items():
        assert np.array_equal(back.values[name], array)
    assert np.array_equal(back.cotangents["output"], case.cotangents["output"])
    with zipfile.ZipFile(path) as archive:
        assert not any(b"pickle" in archive.read(n) for n in archive.namelist())
    assert [p.name for p in path.parent.iterdir()] == ["case.npz"]


def test_a_loaded_case_gives_the_same_comparisons(case, tmp_path):
    back = Case.load(case.save(tmp_path / "case.npz"))
    one = check_cases(case.problem.layer, [case])
    two = check_cases(case.problem.layer, [back])
    assert [(c.quantity, c.error) for c in one.comparisons if c.right == "torch"] == [
        (c.quantity, c.error) for c in two.comparisons if c.right == "torch"
    ]
    assert two.verdict is Verdict.AGREE


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "foreign.npz"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"foreign\.npz"):
        Case.load(path)


def test_truncated_file(case, tmp_path):
    path = case.save(tmp_path / "case.npz")
    whole = path.read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(CaseError):
            Case.load(path)


def test_damaged_content(case, tmp_path):
    path = case.save(tmp_path / "case.npz")
    whole = bytearray(path.read_bytes())
    for position in range(60, len(whole) - 60, 37):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(bytes(damaged))
        try:
            Case.load(path)
        except crosscheck.CrosscheckError:
            pass


def test_another_npz_is_no_case(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(CaseError, match="no header"):
        Case.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", header=np.array(json.dumps({"format": "else"})))
    with pytest.raises(CaseError, match="no crosscheck case"):
        Case.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", header=np.array(json.dumps(["list"])))
    with pytest.raises(CaseError):
        Case.load(tmp_path / "c.npz")
    header = {"format": "crosscheck-case", "format_version": 99}
    np.savez(tmp_path / "d.npz", header=np.array(json.dumps(header)))
    with pytest.raises(CaseError, match="99"):
        Case.load(tmp_path / "d.npz")
    with pytest.raises(CaseError, match="no such file"):
        Case.load(tmp_path / "absent.npz")


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CaseError):
        Case.load(tmp_path / "p.npz")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_in_weights_are_refused(case, bad):
    weights = case.values["weights"].copy()
    weights[0, 0] = bad
    with pytest.raises(CaseError, match="weights contains"):
        case.with_values(values={**case.values, "weights": weights})


def test_wrong_shapes_and_names_are_refused(case):
    with pytest.raises(CaseError, match="weights has shape"):
        case.with_values(values={**case.values, "weights": case.values["weights"].T})
    with pytest.raises(CaseError, match="no array for 'bias'"):
        case.with_values(values={k: a for k, a in case.values.items() if k != "bias"})
    with pytest.raises(CaseError, match="float16"):
        case.with_values(dtype="float16")
