"""Objects side by side: a core for each, instead of all cores for one after the other.

PyTorch's threads wait for each other at the end of every operation. Objects do not depend on
each other, so where there are as many of them as cores nothing needs to wait. With fewer, or
alone in a stream, an object is done sooner with all cores: lanes are for recorded video.

The encoders of the next frames pause meanwhile. What follows the lanes keeps one core busy only:
a frame that was encoded before leaves the other with nothing to do then. Two cores are busy for
99 % of a frame with 8 objects so, not for 95 %.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_here = threading.local()


class Lanes:
    """A core for each of `count` objects at a time, and what gives way to them.

    Args:
        pool: of at least `count` threads, which need no gradients.
    """

    def __init__(self, pool: ThreadPoolExecutor, count: int) -> None:
        self._pool, self.count = pool, count
        self._one_free = threading.Event()
        self._one_free.set()

    @contextmanager
    def used_here(self) -> Iterator[None]:
        """Inside, in this thread, `each` uses the lanes."""
        before, _here.lanes = getattr(_here, "lanes", None), self
        try:
            yield
        finally:
            _here.lanes = before

    def come_first(self) -> None:
        """From now on `give_way` makes this thread wait while no lane is free."""
        _here.before = self

    def wait(self) -> None:
        """Until a lane has nothing to do."""
        self._one_free.wait()

    def map(self, function: Callable[[T], R], items: list[T]) -> list[R]:
        """The function of every item, in order; raises what it raises."""
        left, lock = len(items), threading.Lock()

        def in_lane(item: T) -> R:
            nonlocal left
            try:
                return function(item)
            finally:
                with lock:
                    left -= 1
                    if left < self.count:
                        self._one_free.set()

        self._one_free.clear()
        try:
            return list(self._pool.map(in_lane, items))
        finally:
            self._one_free.set()


def each(function: Callable[[T], R], items: list[T]) -> list[R]:
    """The function of every item, side by side where there are lanes and enough items."""
    lanes: Lanes | None = getattr(_here, "lanes", None)
    if lanes is None or len(items) < lanes.count:
        return [function(item) for item in items]
    return lanes.map(function, items)


def give_way() -> None:
    """Where work can pause: wait for objects that come first, see `Lanes.come_first`."""
    lanes: Lanes | None = getattr(_here, "before", None)
    if lanes is not None:
        lanes.wait()
