"""Unfold, Fold and PixelShuffle."""

from __future__ import annotations

__all__: list[str] = []
