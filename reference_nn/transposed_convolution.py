"""Transposed convolutions in one to three dimensions."""

from __future__ import annotations

__all__: list[str] = []
