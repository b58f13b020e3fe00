"""Nobody can talk the grader into a better mark, stop it, or read what is not theirs."""

import json
from pathlib import Path

import hostile
import pytest
from conftest import SEED, impatient

from crosscheck.grading.marker import Marker, Settings
from crosscheck.isolation import Level, Zygote
from crosscheck.submissions.reading import from_bytes


def marked(marker, source):
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    return marker.mark(from_bytes("submission.py", source))


def told(data):
    """Every text in a result."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        yield from (text for value in data.values() for text in told(value))
    elif isinstance(data, list):
        yield from (text for value in data for text in told(value))


@pytest.fixture(scope="module")
def base(patient):
    """What the same wrong layers earn without any attack: the contract, and nothing else."""
    found = marked(patient, hostile.BASE)
    earning = {q["quantity"] for i in found["items"] for q in i["quantities"] if q["earned"]}
    assert earning == {"contract"}
    return found["earned"]


def test_there_are_enough_of_them():
    assert len(hostile.VARIANTS) >= 30 and len(hostile.flat()) >= 60


def test_a_right_submission_earns_everything(patient, solution):
    found = marked(patient, solution)
    assert found["earned"] == found["points"] > 3


@pytest.mark.parametrize("kind", hostile.VARIANTS)
def test_no_point_is_gained(kind, marker, base):
    for name, source in hostile.VARIANTS[kind].items():
        found = marked(marker, source)
        assert found["earned"] <= base, (name, found)
        assert found["format"] == "crosscheck-result" and len(found["items"]) == 3, name
        text = json.dumps(found)
        assert "leak:" not in text, (name, text)
        assert all(c.isprintable() or c in "\n\t" for t in told(found) for c in t), name
    assert not Path("/tmp/crosscheck-owned").exists()


def test_a_right_submission_after_all_of_them_still_earns_everything(patient, solution):
    found = marked(patient, solution + "\n# once more\n")
    assert found["earned"] == found["points"]


def test_what_leaks_is_noticed(exercise, kept):
    """Without the kernel's help the same submissions do read, so the tests above can fail."""
    without = ("namespaces", "Landlock", "seccomp", "no new privileges", "limits")
    open_to_all = Marker(
        impatient(exercise), Settings("backpropagation", SEED, kept.to_bytes(), without=without)
    )
    assert open_to_all.level is Level.PROCESS
    for kind, name in (
        ("reads what is not its own", "the exercise"),
        ("reads what is not its own", "/proc"),
    ):
        assert "leak:" in json.dumps(marked(open_to_all, hostile.VARIANTS[kind][name]))
    open_to_all.zygote.close()


def test_no_expected_value_is_told(marker, kept):
    """No number that the oracles gave is in what a student reads."""
    found = marked(marker, hostile.BASE)
    expected = {
        f"{abs(x):.4g}"
        for answers in kept.answers.values()
        for answer in answers.values()
        if not isinstance(answer, str)
        for array in (*answer.outputs.values(), *answer.gradients.values())
        for x in array.ravel()[:50].tolist()
        if abs(x) > 1e-3 and len(f"{abs(x):.4g}") > 5
    }
    assert len(expected) > 500
    text = " ".join(told(found))
    assert not any(number in text for number in expected)


def test_the_seed_is_not_told(marker):
    assert "seed" not in marked(marker, hostile.BASE)


def test_a_zygote_says_what_it_cannot_do():
    zygote = Zygote(without=("seccomp", "namespaces"))
    try:
        assert zygote.level <= Level.LIMITED
        assert any("start processes" in reason for reason in zygote.facts["missing"])
    finally:
        zygote.close()
