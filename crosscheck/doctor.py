"""What is installed, in which version, on which device. Nothing is imported unless it is there."""

from __future__ import annotations

import platform
from typing import NamedTuple

from crosscheck.versions import FRAMEWORKS, install_hint, installed, version


class Row(NamedTuple):
    """One line of the answer."""

    what: str
    ok: bool
    found: str


def examine() -> list[Row]:
    """Python, crosscheck, NumPy, then each framework with its devices or how to install it."""
    rows = [
        Row(
            "python",
            True,
            f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        )
    ]
    for package in ("crosscheck", "numpy"):
        found = version(package)
        rows.append(Row(package, True, found or "from source"))
    for framework in FRAMEWORKS:
        if not installed(framework):
            rows.append(Row(framework, False, f"not installed: {install_hint(framework)}"))
            continue
        try:
            rows.append(Row(framework, True, f"{version(framework)} on {_devices(framework)}"))
        except Exception as error:  # a broken installation is a finding, not a crash
            rows.append(Row(framework, False, f"installed, but does not import: {error}"))
    return rows


def _devices(framework: str) -> str:
    if framework == "torch":
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(["cpu", *names]) + f" ({torch.get_num_threads()} threads)"
    from crosscheck.implementations.jax_function import import_jax

    jax = import_jax()
    return ", ".join(f"{device.platform}:{device.id}" for device in jax.devices())
