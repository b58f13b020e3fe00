"""Arrays as pictures: expected, got and their difference, whatever the number of axes.

A few numbers are shown as a table with coloured cells, more of them as an image of one pixel an
element. Colours are blue for negative and orange for positive numbers, which the colour-blind can tell
apart, over the same range in expected and got.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from crosscheck.spec import Array

#: A panel with at most this many columns, and elements, is shown in numbers.
COLUMNS, ELEMENTS = 8, 64
#: Panels shown of an array with more than two axes: the worst first.
PANELS = 4
#: Elements of an axis in an image at most, around the worst one.
LARGEST = 96
NEGATIVE, MIDDLE, POSITIVE = (33, 102, 172), (247, 247, 247), (217, 95, 14)


@dataclass(frozen=True)
class Cell:
    """One element in numbers."""

    text: str
    background: str
    dark: bool


@dataclass(frozen=True)
class Picture:
    """One array of a panel: cells, or an image as a data URI."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    image: str
    alt: str


@dataclass(frozen=True)
class Panel:
    """The last two axes of an array at one place of the others."""

    place: str
    pictures: tuple[Picture, ...]


def panels(got: Array, expected: Array, witness: str) -> list[Panel]:
    """Expected, got and difference, side by side.

    Args:
        got, expected: real arrays of one shape; NaN and Inf are shown as such.
        witness: who expected it.

    Returns:
        At most `PANELS`, those with the largest differences first; none for arrays of different
        shapes or without elements.
    """
    if got.shape != expected.shape or not got.size:
        return []
    got, expected = (np.asarray(a, dtype=np.float64) for a in (got, expected))
    with np.errstate(all="ignore"):
        difference = got - expected
    lead = got.shape[:-2] if got.ndim > 2 else ()
    flat = [_two_dimensional(a) for a in (expected, got, difference)]
    size = np.nan_to_num(np.abs(flat[2]), nan=np.inf).max(axis=(1, 2))
    scales = [_largest(flat[0], flat[1])] * 2 + [_largest(flat[2])]
    found = []
    for index in np.argsort(-size, kind="stable")[:PANELS]:
        place = ", ".join(map(str, np.unravel_index(int(index), lead))) if lead else ""
        window = _window(flat[2][index])
        titles = (f"expected ({witness})", "got", "got − expected")
        pictures = tuple(
            _picture(title, array[index][window], scale)
            for title, array, scale in zip(titles, flat, scales, strict=True)
        )
        found.append(Panel(f"[{place}, :, :]" if place else _said(window, flat[0]), pictures))
    return found


def _two_dimensional(array: Array) -> Array:
    """(panels, rows, columns)."""
    if array.ndim < 2:
        return array.reshape(1, 1, -1)
    return array.reshape(-1, *array.shape[-2:])


def _largest(*arrays: Array) -> float:
    finite = [np.abs(a[np.isfinite(a)]) for a in arrays]
    return max((float(f.max()) for f in finite if f.size), default=0.0)


def _window(difference: Array) -> tuple[slice, slice]:
    """The part of a large panel around its worst element."""
    worst = np.unravel_index(int(np.argmax(np.nan_to_num(np.abs(difference), nan=np.inf))),
                             difference.shape)  # fmt: skip
    spans = []
    for at, size in zip(worst, difference.shape, strict=True):
        start = min(max(int(at) - LARGEST // 2, 0), max(size - LARGEST, 0))
        spans.append(slice(start, min(start + LARGEST, size)))
    return spans[0], spans[1]


def _said(window: tuple[slice, slice], array: Array) -> str:
    if all(s.stop - s.start == n for s, n in zip(window, array.shape[1:], strict=True)):
        return ""
    return "[" + ", ".join(f"{s.start}:{s.stop}" for s in window) + "]"


def _picture(title: str, array: Array, scale: float) -> Picture:
    rows, columns = array.shape
    alt = f"{title}: {rows} by {columns} elements, largest magnitude {_largest(array):.3g}"
    if columns <= COLUMNS and array.size <= ELEMENTS:
        cells = tuple(tuple(_cell(float(v), scale) for v in row) for row in array)
        return Picture(title, cells, "", alt)
    return Picture(title, (), _png(_colours(array, scale)), alt)


def _cell(value: float, scale: float) -> Cell:
    red, green, blue = (int(x) for x in _colours(np.array([[value]]), scale)[0, 0])
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    return Cell(f"{value:.4g}", f"rgb({red},{green},{blue})", dark)


def _colours(array: Array, scale: float) -> Array:
    """RGB bytes; NaN and Inf are black."""
    share = np.clip(np.nan_to_num(array / scale if scale else np.zeros_like(array)), -1, 1)
    share = np.sign(share) * np.sqrt(np.abs(share))  # small numbers are to be seen too
    ends = np.where(share[..., None] < 0, np.array(NEGATIVE), np.array(POSITIVE))
    mixed = np.array(MIDDLE) + np.abs(share)[..., None] * (ends - np.array(MIDDLE))
    return np.where(np.isfinite(array)[..., None], mixed, 0).astype(np.uint8)


def _png(pixels: Array) -> str:
    """A data URI of an RGB image. Format: W3C, Portable Network Graphics, third edition."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    data += chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()
