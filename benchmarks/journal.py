"""A journal of a long run: one line per finished part, so that a run that was stopped goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Parts of a run, kept in a file of JSON lines.

    Args:
        path: the file; created on the first part.
        settings: what the run is about; a journal of other settings is refused.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.parts: dict[str, Any] = {}
        if not path.exists():
            return
        first, *lines = path.read_text().splitlines() or ["{}"]
        if json.loads(first) != settings:
            raise SystemExit(f"{path} is the journal of another run: {first}; delete or move it")
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line that was being written when the run was stopped
            self.parts[entry["part"]] = entry["result"]

    def add(self, part: str, result: Any) -> None:
        """Note a finished part; it is on disk when this returns."""
        self.parts[part] = result
        fresh = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as handle:
            if fresh:
                handle.write(json.dumps(self.settings) + "\n")
            handle.write(json.dumps({"part": part, "result": result}) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
