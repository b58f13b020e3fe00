"""Where the frameworks compute: on the CPU, unless somebody asks for a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from crosscheck.errors import MissingFramework, UsageError
from crosscheck.versions import FRAMEWORKS, installed, version

_DEVICE: ContextVar[str] = ContextVar("crosscheck_device", default="cpu")


def current() -> str:
    """``cpu`` or ``cuda``."""
    return _DEVICE.get()


@contextmanager
def use(device: str) -> Iterator[None]:
    """Let PyTorch and JAX compute there while the context lasts.

    Raises:
        UsageError: an unknown device.
        MissingFramework: an installed framework cannot compute there; it says what it has.
    """
    if device not in ("cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}: there is cpu and cuda")
    if device == "cuda":
        _require_cuda()
    token = _DEVICE.set(device)
    try:
        yield
    finally:
        _DEVICE.reset(token)


def _require_cuda() -> None:
    lacking = []
    if installed("torch"):
        import torch

        if not torch.cuda.is_available():
            lacking.append(f"torch {version('torch')} sees no CUDA device")
    if installed("jax"):
        try:
            jax_device("cuda")
        except RuntimeError:
            lacking.append(f"jax {version('jax')} sees no CUDA device")
    if not any(map(installed, FRAMEWORKS)):
        lacking.append("neither torch nor jax is installed")
    if lacking:
        raise MissingFramework(
            f"device cuda: {'; '.join(lacking)}. Install the CUDA builds, or check on the CPU "
            "with device cpu"
        )


def jax_device(device: str) -> Any:
    """JAX's device of that kind.

    Raises:
        RuntimeError: JAX has none.
    """
    from crosscheck.implementations.jax_function import import_jax

    return import_jax().devices(device)[0]
