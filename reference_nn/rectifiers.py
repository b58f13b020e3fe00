"""Piecewise-linear activations and their smooth relatives."""

from __future__ import annotations

__all__: list[str] = []
