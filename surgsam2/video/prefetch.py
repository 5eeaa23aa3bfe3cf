"""A generator that runs ahead of its consumer in a thread that always ends."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeVar
from weakref import WeakSet

from surgsam2.errors import DeviceError

T = TypeVar("T")

Cancelled = Callable[[], bool]
"""A producer calls this between two units of work; True means that it must stop."""


class Prefetcher(Generic[T]):
    """Runs a generator in a thread, at most `depth` items ahead of the consumer.

    An exception that the generator raises reaches the consumer after the items before it.
    `close` stops the thread and waits for it; it may be called from any thread, any number of
    times.

    Args:
        produce: makes the generator. It is called in the thread, where the generator is also
            advanced and closed, so that decoders and files live and end in one thread.
        depth: largest number of items that wait for the consumer.
    """

    def __init__(
        self, produce: Callable[[Cancelled], Generator[T, None, None]], depth: int
    ) -> None:
        self._produce = produce
        self._depth = depth
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._stop = False
        self._done = False
        self._error: BaseException | None = None
        self._process = os.getpid()
        # A daemon thread, so that an iterator that is never closed does not block the
        # interpreter's exit; `_close_all` ends it in order before that.
        self._thread = threading.Thread(target=self._run, name="surgsam2-prefetch", daemon=True)
        _live.add(self)
        self._thread.start()

    def _run(self) -> None:
        items = None
        try:
            items = self._produce(lambda: self._stop)
            for item in items:
                with self._changed:
                    self._items.append(item)
                    self._changed.notify_all()
                    while len(self._items) >= self._depth and not self._stop:
                        self._changed.wait()
                    if self._stop:
                        break
        except BaseException as error:
            self._error = error
        finally:
            if items is not None:
                items.close()
            with self._changed:
                self._done = True
                self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._stop

    def get(self) -> T | None:
        """Return the next item, waiting for it; None at the end or when closed.

        Raises:
            DeviceError: this process was forked after the thread had begun, and does not have it.
        """
        if self._process != os.getpid():
            raise DeviceError(
                "the video is read by a thread of the process that this one was forked from; begin "
                "to read or to track after the fork, or start processes by 'spawn'"
            )
        with self._changed:
            while not (self._items or self._done or self._stop):
                self._changed.wait()
            if self._stop:
                return None
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        """Stop the thread and wait until it has ended."""
        if self._process != os.getpid():
            return  # The thread, and perhaps its lock, stayed with the other process.
        with self._changed:
            self._stop = True
            self._items.clear()
            self._changed.notify_all()
        # The garbage collector may run this in the producer thread itself.
        if self._thread is not threading.current_thread():
            self._thread.join()


_live: WeakSet[Prefetcher] = WeakSet()


@atexit.register
def _close_all() -> None:
    for worker in list(_live):
        worker.close()
