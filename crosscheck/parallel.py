"""Many layers over all cores: the same reports in the same order as one after the other.

Each worker process imports the frameworks for itself and checks whole layers, so nothing is shared
and nothing has to be locked. Reports come back by pickling: a layer of the catalogue travels as its name.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crosscheck.errors import CrosscheckError
from crosscheck.versions import FRAMEWORKS, installed

if TYPE_CHECKING:
    from crosscheck.report import Report
    from crosscheck.spec import Layer

#: With fewer layers a second process costs more, for importing the frameworks, than it saves.
WORTHWHILE = 8
#: How many objects are made before garbage is looked for: JAX makes many that live for a moment.
THRESHOLD = (50_000, 20, 20)


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def check_all(
    names: Sequence[str],
    arguments: Mapping[str, Any],
    *,
    jobs: int | None = None,
    done: Callable[[str], None] = lambda name: None,
) -> list[Report]:
    """`crosscheck.check` on each name of the catalogue.

    Args:
        names: layers of the catalogue.
        arguments: what `check` is given besides, plain data.
        jobs: processes to use; by default all cores, or one for a few layers.
        done: called with each name when it is checked, in the order in which that happens.

    Returns:
        The reports in the order of `names`, whatever the number of processes.

    Raises:
        CrosscheckError: what `check` raises, or a worker that was killed.
    """
    if jobs is None:
        jobs = cores() if len(names) > WORTHWHILE else 1
    distinct = list(dict.fromkeys(names))
    run = _pool(distinct, arguments, jobs) if jobs > 1 else _serial(distinct, arguments)
    found = {}
    for name, report in run:
        found[name] = report
        done(name)
    return [found[name] for name in names]


def _serial(names: Sequence[str], arguments: Mapping[str, Any]) -> Iterator[tuple[str, Report]]:
    threshold = gc.get_threshold()
    _settle(arguments)
    try:
        for name in names:
            yield name, _check(name, arguments)
    finally:
        gc.set_threshold(*threshold)


def _pool(
    names: Sequence[str], arguments: Mapping[str, Any], jobs: int
) -> Iterator[tuple[str, Report]]:
    from crosscheck.families import catalogue

    # The layers with the most to compile first, so that none of them is left alone at the end.
    ordered = sorted(names, key=lambda name: -_programs(catalogue[name]))
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(jobs, len(ordered)), spawn, _begin, (arguments,))
    others = set(multiprocessing.active_children())
    finished = False
    try:
        running: dict[Future[Report], str] = {
            executor.submit(_check, name, arguments): name for name in ordered
        }
        for future in as_completed(running):
            yield running[future], future.result()
        finished = True
    except BrokenProcessPool:
        raise CrosscheckError(
            "a worker process was killed, perhaps for want of memory; --jobs 1 needs the least"
        ) from None
    finally:
        if not finished:  # stopped half-way: nobody waits for what is still running
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _programs(layer: Layer) -> int:
    """About how many programs a full run compiles: for each combination of options, and each axis."""
    return 2 + 2 * len(layer.variants) + len(layer.axes())


#: Read when NumPy and PyTorch are loaded; threads of one worker would wait for those of another.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _begin(arguments: Mapping[str, Any]) -> None:
    """A worker leaves an interrupt from the keyboard to its parent, and other cores to other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREADS:
        os.environ.setdefault(name, "1")
    _settle(arguments)
    gc.freeze()


def _settle(arguments: Mapping[str, Any]) -> None:
    """Import the frameworks that will be asked, and collect less garbage from then on.

    Their modules are never garbage: looking for it while they are imported is a sixth of that time,
    and looking through them again and again a tenth of a run's.
    """
    asked = arguments.get("against") or FRAMEWORKS
    collects = gc.isenabled()
    gc.disable()
    try:
        for name in FRAMEWORKS:  # torch before jax: the other order has aborted processes
            if name in asked and installed(name):
                with suppress(Exception):  # one that is broken is reported by the check
                    importlib.import_module(name)
    finally:
        gc.set_threshold(*THRESHOLD)
        if collects:
            gc.enable()


def _check(name: str, arguments: Mapping[str, Any]) -> Report:
    from crosscheck.checking import check
    from crosscheck.implementations import forget

    report = check(name, **arguments)
    forget()  # a layer's compiled programs serve no other, and all of them together are gigabytes
    return report
