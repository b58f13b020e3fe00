"""Measurements of the harness, next to its peers. Each module with a ``main`` is a command."""
