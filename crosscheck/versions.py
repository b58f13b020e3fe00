"""Which packages are there, and in which versions, without importing them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from functools import cache

#: Frameworks that can be an oracle, and what to install for them.
FRAMEWORKS = {"torch": "torch", "jax": "jax jaxlib"}
_PACKAGES = ("numpy", "torch", "jax", "jaxlib", "crosscheck")


def installed(framework: str) -> bool:
    """Whether a framework can be imported; does not import it."""
    return importlib.util.find_spec(framework) is not None


@cache
def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Python's and each relevant installed package's version."""
    found = {"python": platform.python_version()}
    found |= {package: v for package in _PACKAGES if (v := version(package)) is not None}
    return found


def install_hint(framework: str) -> str:
    """What to type to get a framework; PyTorch's CPU build where the plain one brings CUDA."""
    if framework == "torch":
        return (
            "pip install torch (on Linux without a GPU take the CPU build, "
            "see https://pytorch.org/get-started/locally: the plain one brings gigabytes of CUDA)"
        )
    return f"pip install {FRAMEWORKS[framework]}"
