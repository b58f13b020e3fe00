"""Text of somebody else's, made harmless: no control characters, no bidirectional tricks, capped."""

from __future__ import annotations

import unicodedata

#: Kept although they are control characters.
LAYOUT = "\n\t"


def printable(text: str, limit: int = 4000, lines: int = 40) -> str:
    """The text with every character that a terminal or a page might obey replaced by its escape.

    Escape sequences, carriage returns, zero-width and bidirectional format characters, surrogates
    and private-use characters all become ``\\x1b``-like words. What is left out is said.

    Args:
        text: anything.
        limit: characters at most.
        lines: lines at most.
    """
    shown = text[: 2 * limit]
    kept = shown
    if not shown.replace("\n", "").replace("\t", "").isprintable():  # nearly all texts are
        kept = "".join(c if c in LAYOUT or not _obeyed(c) else _escape(c) for c in shown)
    split = kept.split("\n")
    if len(split) > lines:
        kept = "\n".join([*split[: lines // 2], f"[{len(split) - lines} lines left out]",
                          *split[-(lines - lines // 2) :]])  # fmt: skip
    if len(kept) > limit or len(text) > 2 * limit:
        half = limit // 2
        kept = f"{kept[:half]}\n[text left out]\n{kept[-half:]}"
    return kept


def one_line(text: str, limit: int = 200) -> str:
    """The same on one line: for names, cells and table rows."""
    flat = " ".join(printable(text, limit=4 * limit, lines=100).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def _obeyed(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _escape(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )
