"""JSON Schemas of what crosscheck writes, shipped with it; JSON Schema draft 2020-12."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

#: Format of a file → the schema's file.
SCHEMAS = {"crosscheck-report": "report.json", "crosscheck-run": "run.json"}


def schema(name: str = "crosscheck-report") -> dict[str, Any]:
    """The schema of a format, self-contained.

    Args:
        name: what the file says under ``format``.

    Raises:
        KeyError: there is no such format.
    """
    found: dict[str, Any] = json.loads(files(__name__).joinpath(SCHEMAS[name]).read_text("utf-8"))
    return found
