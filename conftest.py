"""Every Python block of the README and of docs/ is run, a page in one namespace."""

import pytest

try:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
except ImportError:  # the extra `test` has it; without it the pages are not collected
    pass
else:

    @pytest.fixture(scope="module")
    def frameworks(tmp_path_factory):
        """The pages show both frameworks; they run away from the checkout."""
        pytest.importorskip("torch")
        pytest.importorskip("jax")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("page"))
            yield

    pytest_collect_file = Sybil(
        parsers=[PythonCodeBlockParser(), SkipParser()],
        patterns=["README.md", "docs/*.md"],
        fixtures=["frameworks"],
    ).pytest()
