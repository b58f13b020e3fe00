"""Shared by all tests."""

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _away_from_the_checkout(tmp_path, monkeypatch):
    """Failing cases are saved in the working directory: keep them out of the checkout."""
    monkeypatch.chdir(tmp_path)
