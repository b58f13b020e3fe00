"""Softmax and its relatives: activations of one slice."""

from __future__ import annotations

__all__: list[str] = []
