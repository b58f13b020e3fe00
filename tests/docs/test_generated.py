"""The pages that are made from the code: complete, and each mistake of the gallery is caught."""

import re
import sys
from pathlib import Path

import pytest

import crosscheck
from crosscheck.families import families
from crosscheck.training.initialization_causes import explain_initializer

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate():
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    sys.path.insert(0, str(DOCS))
    try:
        import generate
        import mistakes

        yield generate, mistakes
    finally:
        sys.path.remove(str(DOCS))


def test_the_catalogue_page_names_every_layer(generate):
    text = generate[0].catalogue()
    assert set(re.findall(r"^\| `(\w+)`", text, re.M)) == set(crosscheck.catalogue)


def test_the_ledger_page_has_every_difference(generate):
    text = generate[0].ledger()
    for entry in crosscheck.ledger().values():
        assert entry.what in text and entry.torch in text and entry.jax in text


def test_every_mistake_of_the_gallery_is_caught_and_named_with_reference_nn_itself_right(generate):
    for mistake in generate[1].MISTAKES:
        against = ("torch",) if mistake.family in generate[1].NO_GRADIENT else ("torch", "numeric")
        arguments = {**mistake.arguments, "against": against, "dtypes": ("float64",)}
        wrong = crosscheck.check(mistake.layer, mistake.wrong, **arguments)
        right = crosscheck.check(mistake.layer, **arguments)
        assert wrong.verdict is crosscheck.Verdict.DISAGREE, mistake
        assert next(f.cause for f in wrong.findings if f.cause) == mistake.cause, str(wrong)
        assert right.verdict is not crosscheck.Verdict.DISAGREE, mistake


def test_the_gallery_has_a_mistake_of_every_family(generate):
    names = {f.__name__.rpartition(".")[2] for f in families() if getattr(f, "LAYERS", ())}
    assert {mistake.family for mistake in generate[1].MISTAKES} == names
    for name, _, draw, says in generate[1].INITIALISERS:
        assert says in explain_initializer(name, draw)


def test_the_reference_has_every_layer_with_its_derivation(generate):
    text = generate[0].layers()
    for name in ("Linear", "LSTM", "CTCLoss", "Adam"):
        assert f"### {name}\n" in text
    assert text.count("∂L/∂") > 50
