"""Objects side by side: a core for each, instead of all cores for one after the other.

PyTorch's threads wait for each other at the end of every operation. Objects do not depend on
each other, so where there are as many of them as cores nothing needs to wait. With fewer, or
alone in a stream, an object is done sooner with all cores: lanes are for recorded video.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")
_here = threading.local()


@contextmanager
def lanes(pool: ThreadPoolExecutor, count: int) -> Iterator[None]:
    """Inside, in this thread, `each` uses `count` threads of `pool`, which need no gradients."""
    before, _here.lanes = getattr(_here, "lanes", None), (pool, count)
    try:
        yield
    finally:
        _here.lanes = before


def each(function: Callable[[T], Tensor], items: list[T]) -> list[Tensor]:
    """The function of every item, side by side where there are lanes and enough items."""
    pool, count = getattr(_here, "lanes", None) or (None, 0)
    if pool is None or len(items) < count:
        return [function(item) for item in items]
    return list(pool.map(function, items))
