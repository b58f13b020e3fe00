"""Work handed out in batches to any `concurrent.futures.Executor`, nothing lost and nothing twice."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from crosscheck.errors import CrosscheckError, MissingFramework, UsageError
from crosscheck.grading.marker import Marker, Settings
from crosscheck.submissions import Entry

#: Submissions that are handed out together.
BATCH = 8
#: Batches that wait per worker: enough to keep it busy, few enough for memory to stay flat.
AHEAD = 3
#: A submission whose batch was lost so often is not tried again.
ATTEMPTS = 3

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One submission to be marked, and how often that was tried."""

    entry: Entry
    fingerprint: str
    attempt: int = 1


def fingerprint(entry: Entry) -> str:
    """Changes when the submission does: names, sizes and times of its files, or its bytes."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(entry.paths):
        files = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
        for file in files[:1000]:
            try:
                facts = file.lstat()
            except OSError:
                continue
            digest.update(f"{file} {facts.st_size} {facts.st_mtime_ns}\n".encode(errors="replace"))
    for name, content in sorted(entry.content.items()):
        digest.update(name.encode(errors="replace") + b"\0" + content)
    return digest.hexdigest()


_own = threading.local()


def marker(settings: Settings) -> Marker:
    """This thread's marker for these settings."""
    from crosscheck.exercises import load

    key = hashlib.blake2b(repr(settings).encode()).digest()
    if getattr(_own, "key", None) != key:
        _own.marker = Marker(load(settings.exercise), settings)
        _own.key = key
    found: Marker = _own.marker
    return found


def mark_batch(settings: Settings, tasks: Sequence[Task]) -> list[Outcome]:
    """Mark some submissions in this process. The function that executors run."""
    own = marker(settings)
    return [
        {
            "student": task.entry.student,
            "fingerprint": task.fingerprint,
            "result": own.mark(task.entry.read(settings.everything)),
        }
        for task in tasks
    ]


def run(
    settings: Settings,
    tasks: Iterable[Task],
    make: Callable[[], Executor],
    width: int,
    failed: Callable[[Task, BaseException], Outcome],
    own: bool = True,
) -> Iterator[list[Outcome]]:
    """Outcomes in batches, as they are ready.

    Args:
        settings: how submissions are marked.
        tasks: taken as they are needed, never all at once.
        make: makes the executor, anew if it breaks.
        width: how many batches it works on at once.
        failed: the outcome of a submission that cannot be marked by any process.
        own: whether the executor is ours to shut down.

    Raises:
        CrosscheckError: marking itself is impossible: no isolation, an unreadable exercise.
    """
    source = iter(tasks)
    again: deque[Task] = deque()
    waiting: dict[Future[list[Outcome]], list[Task]] = {}
    executor = make()
    try:
        while True:
            while len(waiting) < width * AHEAD:
                batch = [again.popleft()] if again else _take(source, BATCH)
                if not batch:
                    break
                waiting[executor.submit(mark_batch, settings, batch)] = batch
            if not waiting:
                return
            ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
            broken = False
            for future in ready:
                batch = waiting.pop(future)
                try:
                    yield future.result()
                except (CrosscheckError, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    broken |= isinstance(error, BrokenProcessPool)
                    for task in batch:
                        if task.attempt >= ATTEMPTS:
                            yield [failed(task, error)]
                        else:
                            again.append(Task(task.entry, task.fingerprint, task.attempt + 1))
            if broken and own:
                # Every batch that was under way is lost with the pool; which one broke it is found
                # by trying them one submission at a time.
                again.extend(task for batch in waiting.values() for task in batch)
                waiting.clear()
                executor.shutdown(wait=False)
                executor = make()
    finally:
        for future in waiting:
            future.cancel()
        if own:
            executor.shutdown(wait=False)


def _take(source: Iterator[Task], count: int) -> list[Task]:
    return [task for _, task in zip(range(count), source, strict=False)]


def processes(count: int | None = None) -> tuple[Callable[[], Executor], int]:
    """Processes on this machine, one per core by default.

    They are started anew, not forked, so that none inherits a framework or a thread.
    """
    width = count or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    width = width or os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    return lambda: ProcessPoolExecutor(width, context, initializer=_calm), width


def _calm() -> None:
    """A process that marks keeps nearly all that it makes or frees it at once: few cycles to find."""
    gc.set_threshold(50_000, 20, 100)


def cluster(address: str) -> tuple[Callable[[], Executor], int]:
    """A Dask cluster behind the same interface.

    Raises:
        MissingFramework: distributed is not installed.
        UsageError: no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingFramework("--scheduler needs Dask: pip install 'crosscheck[dask]'") from None
    try:
        client = Client(address, timeout=10)
        width = max(1, sum(client.nthreads().values()))
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler at {address}: {error}") from None
    return lambda: client.get_executor(pure=False, retries=2), width
