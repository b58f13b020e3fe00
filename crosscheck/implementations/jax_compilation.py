"""How XLA compiles: quickly for small programs, and kept for the next run where the user allows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from crosscheck.implementations.kept_programs import VARIABLE, KeptProgram, folder_for
from crosscheck.spec import Problem
from crosscheck.versions import installed

#: Compiling without optimisation takes two thirds of the time, without XLA's fusion emitters (each
#: fusion is an LLVM module of its own) half of that, and as one module, not 32 to be compiled in
#: parallel, six tenths again.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


def import_jax() -> Any:
    """jax, imported after torch where torch is installed: the other order has aborted processes."""
    if "jax" not in sys.modules and installed("torch"):
        import torch  # noqa: F401
    import jax

    return jax


@cache
def quick_options(jax: Any) -> dict[str, Any] | None:
    """The options of `QUICK` that this version of jaxlib has."""

    def known(options: dict[str, Any]) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options=options)()
        except Exception:  # an option that is not there; each version says it in its own way
            return False
        return True

    if known(QUICK):
        return QUICK
    return {name: value for name, value in QUICK.items() if known({name: value})} or None


def compiled(
    jax: Any, function: Callable[..., Any], problem: Problem, what: str, small: bool
) -> Callable[..., Any]:
    """A function of dictionaries of arrays under ``jax.jit``; loaded where its programs are kept.

    Args:
        jax: the package.
        function: what to compile.
        problem: what it was made for.
        what: tells it from the problem's other functions.
        small: whether the time to compile it is what counts.
    """

    def jitted(**more: Any) -> Any:
        return jax.jit(function, compiler_options=quick_options(jax) if small else None, **more)

    folder = folder_for(problem.layer)
    if folder is None:
        return jitted()  # type: ignore[no-any-return]
    # A program that is loaded is given all arguments.
    return KeptProgram(lambda: jitted(keep_unused=True), folder, problem, what)


def use_compilation_cache(folder: str) -> None:
    """Keep compiled programs in a folder, for this process and those it starts.

    To be called before jax is imported. jax's own variables, where they are set, win.
    """
    settings = {
        VARIABLE: os.path.join(os.path.abspath(folder), "crosscheck"),
        "JAX_COMPILATION_CACHE_DIR": os.path.abspath(folder),
        # Ours are small and many: by default jax keeps only what took a second to compile.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    if "jax" in sys.modules:
        raise RuntimeError("the compilation cache has to be chosen before jax is imported")
