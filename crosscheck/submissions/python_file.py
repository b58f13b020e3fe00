"""A Python text out of bytes: its encoding, its size, and whether it parses."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from functools import lru_cache

from crosscheck.submissions.submission import MOST_TEXT, Unreadable


def decode(content: bytes, name: str) -> str:
    """The text of a Python file, by its byte order mark or coding line, else UTF-8.

    Raises:
        Unreadable: too long, not text, or in another encoding than it says.
    """
    if len(content) > MOST_TEXT:
        raise Unreadable(f"{name} is larger than {MOST_TEXT >> 20} MiB")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = _decoded(content, "utf-16", name)
    else:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        except (SyntaxError, UnicodeDecodeError, LookupError):
            raise Unreadable(
                f"{name} is no text in UTF-8, nor in the encoding that it names"
            ) from None
        text = _decoded(content, encoding, name)
    if "\0" in text:
        raise Unreadable(f"{name} contains null characters: it is no Python text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except (ValueError, LookupError):  # a UnicodeError is not always one of decoding
        raise Unreadable(f"{name} is no text in {encoding}") from None


def syntax_error(text: str, name: str) -> str | None:
    """Why a text is no Python, in one sentence, or None. The text is parsed, not run."""
    try:
        parsed(text)
    except SyntaxError as error:
        where = f"line {error.lineno}" if error.lineno else "somewhere"
        return f"{name} is no valid Python: {error.msg}, {where}"
    except (ValueError, RecursionError, MemoryError):
        return f"{name} is no valid Python: it is nested too deeply or has characters that Python refuses"
    return None


@lru_cache(maxsize=1)  # a text is looked at several times in a row
def parsed(text: str) -> ast.Module:
    """The text's syntax tree; not to be changed.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: see `syntax_error`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Its imports, in no order. Only statements are looked through: no expression imports."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):  # a lambda's body is an expression
                waiting += inner
