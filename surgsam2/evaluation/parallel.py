"""A parallel map on threads with ordered results and bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows lack this function.
        return os.cpu_count() or 1


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed on `workers` threads.

    At most about twice as many items as threads are in progress, so memory does not grow
    with the number of items. Threads serve because reading images, array arithmetic and
    OpenCV release the interpreter lock.

    Args:
        function: Called from several threads.
        items: Read lazily.
        workers: Number of threads; None takes one per core.
    """
    workers = workers or cores()
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
