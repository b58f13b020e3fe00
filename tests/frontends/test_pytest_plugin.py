"""The plugin's promises, one test each. That right layers pass and wrong ones fail: test_pytest_meta."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np  # noqa: F401 - before pytester takes its snapshot of the imported modules
import plugin_layers as layers
import pytest

import crosscheck.strategies
import crosscheck.testing.cases
import crosscheck.testing.failure
import crosscheck.testing.summary  # noqa: F401
from crosscheck.testing.summary import rows

NUMERIC = "--crosscheck-against=numeric"

SUITE = """
    import pytest
    from layers import Linear, WrongLinear

    def test_right(crosscheck):
        assert crosscheck("Linear", Linear).layer.name == "Linear"

    def test_wrong(crosscheck):
        crosscheck("Linear", WrongLinear)

    @pytest.mark.crosscheck("Linear")
    def test_cases():
        return Linear
"""


@pytest.fixture(autouse=True)
def _frameworks_first():
    """Imported before pytester takes its snapshot: they do not survive being imported twice."""
    for name in ("torch", "jax"):
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


@pytest.fixture
def suite(pytester):
    pytester.makepyfile(layers=layers.NUMPY, test_layers=SUITE)
    return pytester


def run(pytester, *arguments):
    return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", *arguments)


def text_of(result):
    """Standard output with the line breaks of the terminal's width taken out."""
    return " ".join(result.stdout.str().split())


def table(result):
    """The summary's table, as words."""
    lines = result.stdout.lines
    start = next(i for i, line in enumerate(lines) if line.startswith("implementation"))
    return [line.split() for line in lines[start : start + 3]]


def ids(result):
    return [line for line in result.stdout.lines if "::" in line and " " not in line]


# --- loading ------------------------------------------------------------------------------------


def test_loading_imports_neither_numpy_nor_a_framework(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others import what they like
    pytester.makepyfile(
        """
        import sys
        def test_nothing_loaded(crosscheck):
            assert not {"numpy", "torch", "jax", "rich"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess("-p", "crosscheck.pytest_plugin")
    result.assert_outcomes(passed=1)


def test_can_be_switched_off(pytester):
    pytester.makepyfile("def test_it(crosscheck): pass")
    result = pytester.runpytest_subprocess("-p", "no:crosscheck")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'crosscheck' not found*"])


def test_a_suite_without_checks_sees_nothing_of_it(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert "crosscheck:" not in result.stdout.str() and "=== crosscheck" not in result.stdout.str()


def test_marker_and_options_are_announced(pytester):
    assert "crosscheck(layer, *" in run(pytester, "--markers").stdout.str()
    text = run(pytester, "--help").stdout.str()
    for name in ("against", "dtypes", "seed", "cases", "device", "save"):
        assert f"--crosscheck-{name}" in text and f"crosscheck_{name}" in text


# --- using --------------------------------------------------------------------------------------


def test_one_line_per_layer(suite):
    result = run(suite, NUMERIC, "-k", "right or wrong")
    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    assert 'crosscheck("Linear", WrongLinear)' in text
    assert "checking.py" not in text and "running.py" not in text  # no frames of ours


def test_ids_are_the_cases(suite):
    found = ids(run(suite, "--collect-only", "-q", "-k", "cases"))
    assert "test_layers.py::test_cases[Linear[batch=1,float32]]" in found
    assert "test_layers.py::test_cases[Linear[distinct,float64,strided]]" in found
    assert "test_layers.py::test_cases[Linear[bias=False,distinct,float64]]" in found
    assert len(set(found)) == len(found) == 16
    one = "test_layers.py::test_cases[Linear[batch=1,float32]]"
    run(suite, NUMERIC, one).assert_outcomes(passed=1)


def test_options_of_the_mark(pytester):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it="""
        import pytest
        from layers import Linear
        @pytest.mark.crosscheck("Linear", options={"bias": False}, sizes={"batch": 9}, seed=3,
                                dtypes=("float32",), extra=2, against=("numeric",))
        def test_cases(case):
            assert case.problem.sizes["batch"] == 9 and case.seed == 3
            return Linear
        """,
    )
    result = run(pytester, "-v")
    result.assert_outcomes(passed=8)
    assert "bias=False,random1,float32" in result.stdout.str()


def test_an_option_that_the_class_lacks_is_skipped_with_the_reason(pytester):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it="""
        import pytest
        from layers import Linear
        class Plain(Linear):
            def __init__(self, in_features, out_features):
                super().__init__(in_features, out_features)
        @pytest.mark.crosscheck("Linear", dtypes=("float64",))
        def test_cases():
            return Plain
        """,
    )
    result = run(pytester, NUMERIC, "-rs")
    result.assert_outcomes(passed=7, skipped=1)
    assert "Plain has no option 'bias'" in text_of(result)


@pytest.mark.parametrize(
    ("mark", "body", "said"),
    [
        ('"Linera"', "return Linear", "did you mean Linear"),
        ('"Linear", dtype="float64"', "return Linear", "did you mean dtypes"),
        ('"Linear", Linear', "pass", "the function returns the implementation"),
        ('"Linear", options={"bais": False}', "return Linear", "did you mean bias"),
        ('"Linear", dtypes=("float64",), options={}', "pass", "returned nothing"),
        ('"Linear", dtypes=("float64",), options={}', "return 3", "is no implementation"),
    ],
)
def test_a_wrong_mark_is_answered_without_a_traceback(pytester, mark, body, said):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it=f"""
        import pytest
        from layers import Linear
        @pytest.mark.crosscheck({mark})
        def test_cases():
            {body}
        """,
    )
    result = run(pytester, NUMERIC)
    assert result.ret in (1, 2)
    assert said in text_of(result)
    assert "site-packages" not in result.stdout.str() and 'File "' not in result.stdout.str()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('"Linera", Linear', "did you mean Linear"),
        ('"Linear", Linear, dtypes=("float16",)', "float16"),
        ('"Linear", Linear, seed=-1', "a seed is a whole number"),
        ('"Linear", Linear, sizes={"bach": 3}', "did you mean batch"),
    ],
)
def test_a_wrong_call_is_answered_without_a_traceback(pytester, call, said):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it=f"""
        from layers import Linear
        def test_it(crosscheck):
            crosscheck({call})
        """,
    )
    result = run(pytester, NUMERIC)
    result.assert_outcomes(failed=1)
    assert said in text_of(result)
    assert "checking.py" not in result.stdout.str()


def test_a_convention_of_ones_own_in_the_mark(pytester):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it="""
        import pytest
        from layers import Sigmoid
        class Called:
            def run(self, x): return Sigmoid().forward(x)
            def back(self, x, g): return Sigmoid().backward(x, g)
        def convention(subject, call):
            layer = call.construct(subject)
            upstream = yield call.outputs(layer.run(*call.inputs), layer)
            yield call.gradients(layer.back(*call.inputs, *upstream), layer)
        @pytest.mark.crosscheck("Sigmoid", convention=convention, dtypes=("float64",))
        def test_cases():
            return Called
        """,
    )
    outcome = run(pytester, NUMERIC).parseoutcomes()
    assert outcome.get("passed", 0) >= 6 and "failed" not in outcome, outcome


def test_hypothesis_sets_no_deadline_where_the_fixture_is_used(pytester):
    pytest.importorskip("hypothesis", reason="hypothesis is not installed")
    pytester.makepyfile(
        """
        import time
        from hypothesis import given, strategies as st
        calls = []
        class TestIt:
            @given(x=st.integers())
            def test_method(self, crosscheck, x):
                calls.append(x)
                time.sleep(0.3 if len(calls) == 1 else 0)  # as a first compilation
        @given(x=st.integers())
        def test_function(crosscheck, x):
            calls.append(x)
            time.sleep(0.3 if len(calls) == 1 else 0)
        """
    )
    run(pytester).assert_outcomes(passed=2)


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["ini", "command line"])
def test_options_come_from_the_ini_file_and_the_command_line(suite, place):
    given = {"against": "numeric", "dtypes": "float32", "seed": "7", "cases": "2", "save": "none"}
    arguments = [f"--crosscheck-{k}={v}" for k, v in given.items()]
    if place == "ini":
        suite.makeini("[pytest]\n" + "\n".join(f"crosscheck_{k} = {v}" for k, v in given.items()))
        arguments = []
    result = run(suite, *arguments)
    text = text_of(result)
    assert "crosscheck: numeric differentiation;" in text
    assert "float32; seed 7, 2 random cases; device cpu" in text
    assert "Linear[random1,float32]" in " ".join(ids(run(suite, "--co", "-q", *arguments)))
    assert "float64]" not in " ".join(ids(run(suite, "--co", "-q", *arguments)))
    assert not Path(suite.path, ".crosscheck").exists()


def test_the_command_line_beats_the_ini_file_and_the_test_beats_both(pytester):
    pytester.makeini("[pytest]\ncrosscheck_seed = 7\ncrosscheck_dtypes = float32")
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it="""
        from layers import Linear
        def test_seed(crosscheck):
            report = crosscheck("Linear", Linear, options={})
            assert {c.case.seed for c in report.comparisons} == {8}
            assert {c.case.dtype for c in report.comparisons} == {"float32"}
        def test_own(crosscheck):
            report = crosscheck("Linear", Linear, options={}, seed=9)
            assert {c.case.seed for c in report.comparisons} == {9}
        """,
    )
    run(pytester, NUMERIC, "--crosscheck-seed=8").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--crosscheck-against=numerc", "did you mean numeric"),
        ("--crosscheck-dtypes=float16", "unknown dtype 'float16'"),
        ("--crosscheck-seed=-1", "expected a whole number, 0 or larger"),
        ("--crosscheck-cases=many", "expected a whole number, 0 or larger"),
        ("--crosscheck-device=tpu", "unknown device 'tpu'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_before_anything_runs(suite, option, said):
    result = run(suite, option)
    assert result.ret == 4
    assert said in result.stderr.str() and "Traceback" not in result.stderr.str()


def test_a_framework_that_is_asked_for_and_missing_is_said_so(suite, monkeypatch):
    monkeypatch.setattr("crosscheck.testing.settings.installed", lambda name: False)
    result = run(suite, "--crosscheck-against=jax,numeric")
    assert result.ret == 4
    assert "jax is not installed: pip install jax" in result.stderr.str()


def test_without_a_framework_a_check_is_skipped_with_what_is_missing(suite, monkeypatch):
    for place in ("checking", "testing.settings"):
        monkeypatch.setattr(f"crosscheck.{place}.installed", lambda name: False)
    result = run(suite, "-rs", "-k", "right")
    result.assert_outcomes(skipped=1)
    assert "nobody to compare the forward with (torch: not installed" in text_of(result)
    # Who chooses the numeric witness knows what it cannot see; the summary says it all the same.
    result = run(suite, NUMERIC, "-k", "right")
    result.assert_outcomes(passed=1)
    assert "the forward of Linear was compared with nobody" in text_of(result)


def test_a_device_that_is_not_there_is_said_so(suite, a_framework):
    if a_framework.__name__ == "torch" and a_framework.cuda.is_available():
        pytest.skip("there is a CUDA device")
    result = run(suite, "--crosscheck-device=cuda", "-k", "right")
    result.assert_outcomes(failed=1)
    text = text_of(result)
    assert "sees no CUDA device" in text and "check on the CPU with device cpu" in text


# --- what is shown ------------------------------------------------------------------------------


def test_the_summary_says_what_was_checked_against_what(suite, both):
    text = text_of(run(suite, "--crosscheck-dtypes=float64", "-k", "right"))
    assert "crosscheck: torch" in text  # the header line
    assert "against torch" in text and "numeric differentiation" in text
    assert "implementation runs checks torch jax numeric contract" in text
    assert "agree agree agree agree" in text
    assert "smallest detection limit:" in text and "closest call: 0.0" in text


def test_verbose_shows_every_quantity(suite):
    text = text_of(run(suite, NUMERIC, "-v", "-k", "right"))
    for quantity in ("grad_x", "grad_weights", "grad_bias"):
        assert quantity in text
    assert "implementation quantity" in text
    assert "implementation quantity" not in text_of(run(suite, NUMERIC, "-k", "right"))


def test_what_could_not_be_checked_is_counted_with_the_reason(pytester, torch):
    pytester.makepyfile(
        layers=layers.NUMPY,
        test_it="""
        import crosscheck as cc
        from layers import Scale
        def twin(p):
            def refuses(x, scale):
                raise ValueError("not today")
            return refuses
        spec = cc.Layer("Scale", inputs={"x": "n features"}, parameters={"scale": "features"},
                        outputs={"output": "n features"}, constructor=("features",), torch=twin)
        def test_scale(crosscheck):
            crosscheck(spec, Scale, dtypes=("float64",))
        """,
    )
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    text = text_of(result)
    assert (
        "could not be checked: output: torch refuses: torch's forward and backward raised" in text
    )
    # Three quantities of six cases; what the numeric witness confirms is confirmed.
    assert "unchecked 18×: Scale: torch refuses" in text
    assert re.search("18 unchecked (no twin|not installed) agree agree", text)


def test_a_failure_tells_in_order_what_where_who_why_and_how_to_repeat(suite, both):
    text = text_of(run(suite, "-k", "wrong"))
    order = [
        "The backward of WrongLinear is wrong: grad_weights differs",
        "where", "elements, the worst at [in_features=",
        "expected (torch)", "got",
        "grad_weights against", "torch: disagree, jax: disagree, numeric: disagree",
        "Proved:",
        "case:", "crosscheck replay .crosscheck/WrongLinear-Linear_distinct,float64.npz",
        "layers.py:WrongLinear",
        "repeat: crosscheck.check('Linear', WrongLinear",
        "script: python .crosscheck/WrongLinear-Linear_distinct,float64.py",
        "crosscheck script call", "import numpy as np", "class WrongLinear(Linear):",
    ]  # fmt: skip
    at = 0
    for part in order:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is missing or out of order"
        at = found


def test_the_saved_case_replays_and_the_script_shows_it_without_crosscheck(suite, both):
    run(suite, "-k", "wrong", "--crosscheck-save=kept").assert_outcomes(failed=1)
    name = Path("kept", "WrongLinear-Linear_distinct,float64")
    replayed = subprocess.run(
        [sys.executable, "-m", "crosscheck", "replay", f"{name}.npz", "layers.py:WrongLinear"],
        capture_output=True, text=True, cwd=suite.path,
    )  # fmt: skip
    assert replayed.returncode == 1 and "grad_weights differs" in replayed.stdout
    text = Path(suite.path, f"{name}.py").read_text()
    Path(suite.path, "alone").mkdir()
    Path(suite.path, "alone", "script.py").write_text(text)
    assert "import crosscheck" not in text
    blocked = (
        "import sys; sys.modules['crosscheck'] = None; import runpy; runpy.run_path('script.py')"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, cwd=suite.path / "alone"
    )
    assert done.returncode == 1 and "they differ by up to" in done.stderr
    assert "grad_weights got (3, 7) float64" in done.stdout


# --- with others --------------------------------------------------------------------------------


def test_results_survive_xdist(suite):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    alone = run(suite, NUMERIC, "--crosscheck-dtypes=float64", "-p", "no:xdist")
    split = suite.runpytest_subprocess(
        "-n", "2", NUMERIC, "--crosscheck-dtypes=float64", "-p", "no:randomly"
    )
    for result in (alone, split):
        result.assert_outcomes(passed=9, failed=1)
    assert table(alone) == table(split)  # the same summary, whoever ran what


def test_results_are_plain_data(suite):
    collected = []

    class Collector:
        def pytest_runtest_logreport(self, report):
            collected.extend(getattr(report, "crosscheck", ()))

    suite.inline_run(NUMERIC, "-k", "right", "-p", "no:randomly", plugins=[Collector()])
    (result,) = json.loads(json.dumps(collected))
    assert result["layer"] == result["subject"] == "Linear" and result["verdict"] == "agree"
    (row,) = rows([result, result])
    assert row.runs == 2 and row.checks == 2 * result["checks"]


def test_junit_xml_has_properties(suite):
    run(suite, NUMERIC, "--junitxml=out.xml", "-k", "right or wrong")
    found = {}
    for case in ElementTree.parse(suite.path / "out.xml").iter("testcase"):
        found[case.get("name")] = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert found["test_right"]["crosscheck"] == "Linear as Linear: agree"
    assert found["test_right"]["crosscheck.against"].endswith("numeric")
    assert float(found["test_right"]["crosscheck.limit"]) < 1e-6
    assert found["test_wrong"]["crosscheck"] == "WrongLinear as Linear: disagree"
    assert Path(found["test_wrong"]["crosscheck.case"]).exists()


def test_last_failed(suite):
    arguments = (NUMERIC, "-p", "no:randomly")
    suite.runpytest_inprocess(*arguments).assert_outcomes(passed=17, failed=1)
    again = suite.runpytest_inprocess("--lf", *arguments)
    again.assert_outcomes(failed=1, deselected=0)
    assert "WrongLinear" in again.stdout.str()


def test_warnings_as_errors(suite):
    run(suite, "-W", "error", "-k", "right or cases").assert_outcomes(
        **({"passed": 17} if _any_framework() else {"skipped": 17})
    )


def _any_framework():
    return any(importlib.util.find_spec(name) is not None for name in ("torch", "jax"))


def test_coverage_sees_the_layer(suite):
    pytest.importorskip("pytest_cov", reason="pytest-cov is not installed")
    result = suite.runpytest_subprocess(
        NUMERIC, "--cov=layers", "--cov-report=term", "-k", "right", "-p", "no:randomly"
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["layers.py*"])


def test_random_order_changes_nothing(suite):
    pytest.importorskip("pytest_randomly", reason="pytest-randomly is not installed")
    tables = []
    for seed in ("1", "2"):
        result = suite.runpytest_subprocess(NUMERIC, "-p", "no:xdist", f"--randomly-seed={seed}")
        result.assert_outcomes(passed=17, failed=1)
        tables.append(table(result))
    assert tables[0] == tables[1]
