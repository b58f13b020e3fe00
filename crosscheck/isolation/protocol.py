"""What crosses the boundary: a header of fixed layout, a text of known length, raw arrays.

Little-endian throughout. Nothing is unpickled or parsed on the parent's side: every number of a
reply is checked against what was asked before a byte of it is used. A frame is

    magic 4s, kind u8, status u8, arrays u16, sequence u32, text length u32, body length u64
    per array: role u8, index u8, dtype u8, dimensions u8, layout u8, alias u8, 2 bytes 0, shape 8 × u64
    text, UTF-8
    the arrays' bytes, one after the other

`role` and `index` say which array it is by position in lists that both sides know, so that no name
crosses either.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crosscheck.spec import Array

MAGIC = b"xck1"
HEADER = struct.Struct("<4sBBHIIQ")
ENTRY = struct.Struct("<BBBBBBH8Q")
MAX_ARRAYS = 512
MAX_TEXT = 64 * 1024
#: The product of an array's dimensions, those of length 0 left out, is less: NumPy refuses more.
LONGEST = 1 << 40
#: No alias, in an entry's `alias`.
NONE = 255

DTYPES: tuple[np.dtype[np.generic], ...] = tuple(
    np.dtype(code).newbyteorder("<")
    for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
)
_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}


class Kind(IntEnum):
    """What a request asks for."""

    LOAD = 1
    DEFINE = 2
    BIND = 3
    FORWARD = 4
    VJP = 5
    AGAIN = 6
    REREAD = 7
    OUTPUT = 8
    READY = 9


class Status(IntEnum):
    """How a request went."""

    DONE = 0
    RAISED = 1
    NOT_OFFERED = 2
    MISSING = 3
    UNFIT = 4


class Role(IntEnum):
    """Which of the lists that both sides know an array belongs to."""

    VALUE = 0
    COTANGENT = 1
    OUTPUT = 2
    GRADIENT = 3


class Layout(IntEnum):
    """How the receiver lays the array out in memory."""

    PLAIN = 0
    STRIDED = 1
    READONLY = 2


class BadFrame(Exception):
    """The bytes are no frame, or not the one that may come now."""


@dataclass(frozen=True)
class Entry:
    """One array of a frame."""

    role: Role
    index: int
    array: Array
    layout: Layout = Layout.PLAIN
    alias: int = NONE


@dataclass(frozen=True)
class Frame:
    """A request or a reply."""

    kind: Kind
    sequence: int
    entries: tuple[Entry, ...] = ()
    text: str = ""
    status: Status = Status.DONE


@dataclass(frozen=True)
class _Shape:
    role: Role
    index: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    layout: Layout
    alias: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def encode(frame: Frame) -> bytes:
    """The frame as bytes.

    Raises:
        BadFrame: an array's dtype or number of dimensions cannot cross.
    """
    text = frame.text.encode("utf-8", "backslashreplace")
    if frame.kind is not Kind.LOAD:
        text = text[:MAX_TEXT]
    heads, bodies, total = [], [], 0
    for entry in frame.entries:
        array = entry.array
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None or array.ndim > 8:
            raise BadFrame(f"an array of dtype {array.dtype} and {array.ndim} dimensions")
        shape = (*array.shape, *(0,) * (8 - array.ndim))
        heads.append(
            ENTRY.pack(
                entry.role, entry.index, code, array.ndim, entry.layout, entry.alias, 0, *shape
            )
        )
        raw = array.astype(DTYPES[code], copy=False).tobytes()
        bodies.append(raw)
        total += len(raw)
    header = HEADER.pack(
        MAGIC, frame.kind, frame.status, len(heads), frame.sequence, len(text), total
    )
    return b"".join((header, *heads, text, *bodies))


class Reader:
    """Takes frames out of a stream; `read(n)` gives exactly n bytes or raises."""

    def __init__(self, read: Callable[[int], bytes], most: int, most_text: int = MAX_TEXT) -> None:
        self.read = read
        self.most = most
        self.most_text = most_text

    @staticmethod
    def size(
        buffer: bytes | bytearray, most: int, most_text: int = MAX_TEXT, start: int = 0
    ) -> int:
        """The whole length of the frame whose header is at a place in the buffer.

        Raises:
            BadFrame: it is none, or larger than it may be.
        """
        magic, _, _, arrays, _, text_length, total = HEADER.unpack_from(buffer, start)
        if magic != MAGIC or arrays > MAX_ARRAYS or text_length > most_text:
            raise BadFrame("no frame")
        if total > most:
            raise BadFrame(f"{total} bytes of arrays, more than could be an answer")
        return int(HEADER.size + ENTRY.size * arrays + text_length + total)

    def frame(self, most: int | None = None) -> Frame:
        """The next frame.

        Args:
            most: bytes of arrays at most; nothing larger is even received.

        Raises:
            BadFrame: wrong magic, kind, dtype, length: every field is checked before use.
        """
        header = self.read(HEADER.size)
        self.size(header, self.most if most is None else most, self.most_text)
        _, kind, status, arrays, sequence, text_length, total = HEADER.unpack(header)
        heads = self.read(ENTRY.size * arrays)
        shapes = [_shape(heads[i : i + ENTRY.size]) for i in range(0, len(heads), ENTRY.size)]
        if sum(shape.bytes for shape in shapes) != total:
            raise BadFrame("the arrays' lengths do not add up")
        text = self.read(text_length).decode("utf-8", "replace")
        try:
            known, outcome = Kind(kind), Status(status)
        except ValueError:
            raise BadFrame("an unknown kind or status") from None
        return Frame(known, sequence, tuple(self._entries(shapes)), text, outcome)

    def _entries(self, shapes: Iterable[_Shape]) -> Iterable[Entry]:
        for shape in shapes:
            raw = bytearray(self.read(shape.bytes))
            array = np.frombuffer(raw, shape.dtype).reshape(shape.shape)
            if shape.dtype.kind == "b":
                array = array.view(np.uint8) != 0  # a bool of any other byte breaks NumPy
            yield Entry(shape.role, shape.index, array, shape.layout, shape.alias)


def _shape(head: bytes) -> _Shape:
    role, index, code, ndim, layout, alias, zero, *shape = ENTRY.unpack(head)
    if code >= len(DTYPES) or ndim > 8 or zero or any(shape[ndim:]):
        raise BadFrame("an array's header makes no sense")
    if math.prod(max(n, 1) for n in shape[:ndim]) >= LONGEST:  # an empty one has a size too
        raise BadFrame("an array too long")
    try:
        return _Shape(Role(role), index, DTYPES[code], tuple(shape[:ndim]), Layout(layout), alias)
    except ValueError:
        raise BadFrame("an unknown role or layout") from None


def decode(raw: bytes) -> Frame:
    """A frame that was received whole.

    Raises:
        BadFrame: it is none.
    """
    position = 0

    def read(count: int) -> bytes:
        nonlocal position
        position += count
        return raw[position - count : position]

    return Reader(read, len(raw)).frame()


def native(array: Array) -> Array:
    """In this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
