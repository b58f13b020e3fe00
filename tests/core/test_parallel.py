"""Checks over several processes: the same reports in the same order."""

import pickle

import numpy as np
import pytest

import crosscheck
from crosscheck import sampling
from crosscheck.errors import UsageError
from crosscheck.parallel import THRESHOLD, check_all

ARGUMENTS = {"against": ("numeric",), "dtypes": ("float64",), "seed": 3}


def test_two_processes_give_the_reports_of_one_in_the_order_asked_for():
    names = ["Tanh", "Linear", "Sequential"]
    seen = []
    apart = check_all(names, ARGUMENTS, jobs=2, done=seen.append)
    together = check_all(names, ARGUMENTS, jobs=1)
    assert [r.layer.name for r in apart] == names and sorted(seen) == sorted(names)
    for one, other in zip(apart, together, strict=True):
        a, b = one.to_json(), other.to_json()
        del a["seconds"], b["seconds"]
        assert a == b


def test_an_error_in_a_worker_arrives():
    with pytest.raises(UsageError, match="unknown axis"):
        check_all(["Tanh", "Sigmoid"], {**ARGUMENTS, "sizes": {"nowhere": 3}}, jobs=2)


def test_a_case_travels_whole_and_stays_read_only():
    case = next(iter(sampling.cases(crosscheck.catalogue["Linear"])))
    back = pickle.loads(pickle.dumps(case))
    assert back.problem.layer is crosscheck.catalogue["Linear"] and back.id == case.id
    for name, array in case.values.items():
        np.testing.assert_array_equal(back.values[name], array)
        assert not back.values[name].flags.writeable


def test_a_layer_of_ones_own_made_of_plain_data_travels_too():
    own = crosscheck.Layer("Own", inputs={"x": "batch features"}, outputs={"output": "batch"})
    assert pickle.loads(pickle.dumps(own)).name == "Own"


def test_the_garbage_collector_of_somebody_elses_process_is_as_before():
    import gc

    before = gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()
    during = []
    check_all(
        ["Identity"],
        {"against": ("numeric",)},
        jobs=1,
        done=lambda _: during.append((gc.get_threshold(), gc.isenabled())),
    )
    assert (gc.get_threshold(), gc.isenabled(), gc.get_freeze_count()) == before
    assert during == [(THRESHOLD, True)]
