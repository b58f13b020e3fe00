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

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

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
    #: Several forward passes of one slot, in order. Every array has one axis more, in front, that
    #: counts them; where shape or dtype change, the arrays come once more. Answered likewise, every
    #: output for every such group; or not at all: UNFIT where one is missing or does not stack.
    FORWARDS = 10
    #: The questions that the zygote has learnt under a name; one answer to each, none to this.
    LEARNT = 11


class Status(IntEnum):
    """How a request went."""

    DONE = 0
    RAISED = 1
    NOT_OFFERED = 2
    MISSING = 3
    UNFIT = 4
    ONE_NUMBER = 5


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


@dataclass(slots=True)
class Entry:
    """One array of a frame."""

    role: Role
    index: int
    array: Array
    layout: Layout = Layout.PLAIN
    alias: int = NONE


class Frame(NamedTuple):
    """A request or a reply."""

    kind: Kind
    sequence: int
    entries: tuple[Entry, ...] = ()
    text: str = ""
    status: Status = Status.DONE


#: By number, to look up: many times as fast as asking the enumeration.
_KINDS = {int(kind): kind for kind in Kind}
_STATUSES, _ROLES, _LAYOUTS = tuple(Status), tuple(Role), tuple(Layout)
#: By an array's number of dimensions: what its shape is filled up with.
_ZEROS = tuple((0,) * (8 - ndim) for ndim in range(9))


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
        ndim, code = array.ndim, _CODES.get(array.dtype)
        if code is None:  # of another byte order, or none that crosses
            code = _CODES.get(array.dtype.newbyteorder("<"))
            array = array if code is None else array.astype(DTYPES[code])
        if code is None or ndim > 8:
            raise BadFrame(f"an array of dtype {array.dtype} and {ndim} dimensions")
        heads.append(
            ENTRY.pack(
                entry.role,
                entry.index,
                code,
                ndim,
                entry.layout,
                entry.alias,
                0,
                *array.shape,
                *_ZEROS[ndim],
            )
        )
        raw = array.tobytes()
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
        size = self.size(header, self.most if most is None else most, self.most_text)
        return _parsed(header, self.read(size - HEADER.size))


def decode(raw: bytes) -> Frame:
    """A frame that was received whole.

    Raises:
        BadFrame: it is none.
    """
    if len(raw) < HEADER.size or Reader.size(raw, len(raw)) > len(raw):
        raise BadFrame("no frame")
    return _parsed(raw[: HEADER.size], raw[HEADER.size :])


def _parsed(header: bytes, body: bytes) -> Frame:
    """A frame out of a header, which `Reader.size` has seen, and what comes after it."""
    _, kind, status, arrays, sequence, text_length, total = HEADER.unpack(header)
    start = ENTRY.size * arrays
    shapes = [_shape(*head) for head in ENTRY.iter_unpack(body[:start])]
    if sum(shape[0] for shape in shapes) != total:
        raise BadFrame("the arrays' lengths do not add up")
    if kind not in _KINDS or status >= len(_STATUSES):
        raise BadFrame("an unknown kind or status")
    place = start + text_length
    text = body[start:place].decode("utf-8", "replace")
    entries = []
    for size, dtype, shape, role, index, layout, alias in shapes:
        # A buffer of its own each: aligned, writable, and gone when the array is.
        array = np.frombuffer(bytearray(body[place : place + size]), dtype).reshape(shape)
        if dtype.kind == "b":
            array = array.view(np.uint8) != 0  # a bool of any other byte breaks NumPy
        entries.append(Entry(role, index, array, layout, alias))
        place += size
    return Frame(_KINDS[kind], sequence, tuple(entries), text, _STATUSES[status])


def _shape(
    role: int, index: int, code: int, ndim: int, layout: int, alias: int, zero: int, *sizes: int
) -> tuple[int, np.dtype[np.generic], tuple[int, ...], Role, int, Layout, int]:
    """An array's head, checked: its bytes, dtype, shape, role, index, layout and alias."""
    if code >= len(DTYPES) or ndim > 8 or zero or any(sizes[ndim:]):
        raise BadFrame("an array's header makes no sense")
    shape, longest = sizes[:ndim], 1
    for length in shape:
        longest *= length or 1  # an empty array has a size too
    if longest >= LONGEST:
        raise BadFrame("an array too long")
    if role >= len(_ROLES) or layout >= len(_LAYOUTS):
        raise BadFrame("an unknown role or layout")
    dtype = DTYPES[code]
    size = 0 if 0 in shape else longest * dtype.itemsize
    return size, dtype, shape, _ROLES[role], index, _LAYOUTS[layout], alias


def native(array: Array) -> Array:
    """In this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)
