"""Near-identical failures, counted: "37 did not sum the bias gradient over the batch"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Statuses that lose no points.
FINE = ("right", "follows", "unchecked")
#: What a slug says to somebody who does not know it; the others are read as they are.
WORDS = {
    "factor": "off by a constant factor",
    "scale": "off by one factor throughout: a sum for a mean, or the reverse",
    "non-finite": "NaN or infinite",
    "zero": "zero in every element",
    "one-minus": "1 minus the right value",
    "transposed": "transposed",
    "raised": "raises an exception",
}
#: So many names are kept per group; the count is exact anyway.
NAMES = 2000


class Groups:
    """Collects results one at a time."""

    def __init__(self) -> None:
        self._students: dict[tuple[str, str, str], list[str]] = {}
        self._counts: dict[tuple[str, str, str], int] = {}

    def add(self, student: str, result: Mapping[str, Any]) -> None:
        """One student's result; each thing that is wrong in it counts once."""
        for key in dict.fromkeys(_failures(result)):
            self._counts[key] = self._counts.get(key, 0) + 1
            names = self._students.setdefault(key, [])
            if len(names) < NAMES:
                names.append(student)

    def found(self) -> tuple[dict[str, Any], ...]:
        """The groups, largest first: count, item, quantity, what, students."""
        order = sorted(self._counts, key=lambda key: (-self._counts[key], key))
        return tuple(
            {
                "count": self._counts[key],
                "item": key[0],
                "quantity": key[1],
                "what": key[2],
                "students": self._students[key],
            }
            for key in order
        )


def _failures(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for item in result["items"]:
        if item["problem"]:
            found.append((item["item"], "", _normal(item["problem"])))
            continue
        for mark in item["quantities"]:
            if mark["status"] in FINE:
                continue
            what = mark["cause"] or mark["code"] or _normal(mark["hint"]) or mark["status"]
            found.append(
                (item["item"], mark["quantity"], WORDS.get(what, str(what).replace("-", " ")))
            )
    return found


def _normal(text: str) -> str:
    """The first line without what differs from one student to the next: numbers, quoted names."""
    line = text.partition("\n")[0]
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "…", line)
    return re.sub(r"\d+(\.\d+)?(e[-+]?\d+)?", "N", line)[:120]
