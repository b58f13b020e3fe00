"""JUnit XML, as CI systems read it: a suite per student, a case per quantity."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from crosscheck.grading.formats import Facts, Results, marks, number
from crosscheck.isolation.text import one_line, printable


def _with(**attributes: str) -> AttributesImpl[str]:
    return AttributesImpl(attributes)


def write(folder: Path, facts: Facts, results: Callable[[], Results]) -> list[str]:
    """``junit.xml``."""
    fresh = folder / ".junit.xml.new"
    with fresh.open("w", encoding="utf-8", newline="\n") as handle:
        xml = XMLGenerator(handle, "utf-8", short_empty_elements=True)
        xml.startDocument()
        xml.startElement("testsuites", _with(name=one_line(facts.title)))
        for student, result in results():
            rows = [*marks(result)]
            wrong = sum(earned < points for _, _, earned, points, _, _ in rows)
            xml.characters("\n")
            xml.startElement(
                "testsuite",
                _with(
                    name=one_line(student), tests=str(len(rows)), failures=str(wrong),
                    errors="0", skipped="0", time="0",
                ),
            )  # fmt: skip
            for item, quantity, earned, points, status, told in rows:
                name = one_line(quantity or "whole item")
                xml.startElement("testcase", _with(classname=one_line(item), name=name, time="0"))
                if earned < points:
                    message = f"{status}: {number(earned)} of {number(points)} points"
                    xml.startElement("failure", _with(message=message, type=status))
                    xml.characters(printable(told))
                    xml.endElement("failure")
                xml.endElement("testcase")
            xml.endElement("testsuite")
        xml.characters("\n")
        xml.endElement("testsuites")
        xml.endDocument()
    os.replace(fresh, folder / "junit.xml")
    return ["junit.xml"]
