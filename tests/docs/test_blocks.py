"""Every Python block of the README and of docs/ is run, a page in one namespace."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page):
    sybil = pytest.importorskip("sybil")
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

    blocks = sybil.Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], patterns=["*.md"])
    for block in blocks.parse(ROOT / page).examples():
        block.evaluate()


def test_a_wrong_block_fails(tmp_path):
    """So that the test above can fail."""
    sybil = pytest.importorskip("sybil")
    from sybil.parsers.markdown import PythonCodeBlockParser

    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    first, second = sybil.Sybil(parsers=[PythonCodeBlockParser()]).parse(page).examples()
    first.evaluate()
    with pytest.raises(AssertionError):
        second.evaluate()
