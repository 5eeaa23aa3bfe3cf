"""Thread pools that keep all cores busy while recorded video is tracked on the CPU.

With all of PyTorch's threads in one operation after the other, they wait for each other at the
end of each. In recorded video the next frames are known, so the image encoder runs on them
beside the tracker, and every thread has work of its own. Objects do not depend on each other:
where there are as many of them as cores, each core takes one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
_local = threading.local()

ENCODERS = 2
"""Number of frames that are encoded at a time."""


class ObjectPool:
    """Runs up to `count` objects of a frame at a time, each on a core of its own.

    With fewer objects than cores, or in a live stream, an object is done sooner with all cores.

    Args:
        executor: has at least `count` threads, which need no gradients.
        count: number of objects at a time.
    """

    def __init__(self, executor: ThreadPoolExecutor, count: int) -> None:
        self.count = count
        self._executor = executor
        self._has_idle_thread = threading.Event()
        self._has_idle_thread.set()

    @contextmanager
    def activated(self) -> Iterator[None]:
        """Have `map_objects` use the pool in this thread, inside the context."""
        before, _local.objects = getattr(_local, "objects", None), self
        try:
            yield
        finally:
            _local.objects = before

    def wait_for_idle_thread(self) -> None:
        """Wait until a thread of the pool has nothing to do."""
        self._has_idle_thread.wait()

    def map(self, function: Callable[[T], R], items: list[T]) -> list[R]:
        """Return the function's result for every item, in order; its exceptions are raised."""
        left, lock = len(items), threading.Lock()

        def run(item: T) -> R:
            nonlocal left
            try:
                return function(item)
            finally:
                with lock:
                    left -= 1
                    if left < self.count:
                        self._has_idle_thread.set()

        self._has_idle_thread.clear()
        try:
            return list(self._executor.map(run, items))
        finally:
            self._has_idle_thread.set()


def map_objects(function: Callable[[T], R], objects: list[T]) -> list[R]:
    """Return the function's result for every object, in order.

    Objects run side by side where this thread has an active `ObjectPool` and there are enough
    of them.
    """
    pool: ObjectPool | None = getattr(_local, "objects", None)
    if pool is None or len(objects) < pool.count:
        return [function(item) for item in objects]
    return pool.map(function, objects)


def pause_for_objects() -> None:
    """Wait, in a thread of an `EncoderPool`, while every core has an object.

    What follows the objects keeps one core busy only; a frame whose encoding was paused fills
    the other. That keeps two cores 99 % busy with 8 objects (95 % without).
    """
    pool: ObjectPool | None = getattr(_local, "pauses_for", None)
    if pool is not None:
        pool.wait_for_idle_thread()


class EncoderPool:
    """Encodes the next frames beside the tracker, and gives the tracker an `ObjectPool`.

    With one core, or where the pool is not useful, it has no threads: `submit` does nothing and
    `sharing_cores` changes nothing. How the threads share the cores was measured with two.
    `close` must be called in the end.

    Args:
        autocast: makes the context in which work runs, which belongs to a thread.
        useful: whether the network runs on the CPU backend. Elsewhere threads beside the tracker
            do not help; on a CUDA device `StreamEncoder` takes this place.
    """

    def __init__(
        self, autocast: Callable[[], AbstractContextManager[object]], *, useful: bool
    ) -> None:
        self._autocast = autocast
        self._threads = torch.get_num_threads()
        self._encoders: ThreadPoolExecutor | None = None
        if self._threads > 1 and useful:
            self._share = max(self._threads // ENCODERS, 1)
            self._executor = _start_threads("surgsam2-object", self._threads, 1)
            self._objects = ObjectPool(self._executor, self._threads)
            try:
                self._encoders = _start_threads(
                    "surgsam2-encode", ENCODERS, self._share, pauses_for=self._objects
                )
            except RuntimeError:
                self._executor.shutdown()
                raise

    def submit(self, work: Callable[[], object]) -> Future[Any] | None:
        """Run something beside the tracker; None where the pool has no threads."""
        return None if self._encoders is None else self._encoders.submit(self._run, work)

    def finish(self, encoding: Future[Any]) -> None:
        """Wait for what `submit` returned; an error of the work is not raised."""
        wait([encoding])

    @contextmanager
    def sharing_cores(self) -> Iterator[None]:
        """Have this thread leave cores to the encoders, and run objects side by side."""
        if self._encoders is None:
            yield
            return
        torch.set_num_threads(self._share)
        try:
            with self._objects.activated():
                yield
        finally:
            torch.set_num_threads(self._threads)

    def _run(self, work: Callable[[], object]) -> object:
        with self._autocast():
            return work()

    def close(self) -> None:
        """Drop the work that has not begun and wait for the rest."""
        if self._encoders is not None:
            self._encoders.shutdown(cancel_futures=True)
            self._executor.shutdown(cancel_futures=True)


def _start_threads(
    name: str, workers: int, threads: int, pauses_for: ObjectPool | None = None
) -> ThreadPoolExecutor:
    """Start threads without gradients, each of which gives an operation `threads` threads.

    Args:
        name: prefix of the threads' names.
        workers: number of threads.
        threads: number of PyTorch's threads for an operation.
        pauses_for: pool that `pause_for_objects` waits for in these threads.

    Raises:
        RuntimeError: the system refuses a thread; none is left then.
    """
    total = torch.get_num_threads()
    started = threading.Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first call takes over the number set last
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)  # this setting belongs to the thread
        _local.pauses_for = pauses_for
        with contextlib.suppress(threading.BrokenBarrierError):
            started.wait()

    executor = ThreadPoolExecutor(workers, name, start)
    try:
        for _ in range(workers):
            executor.submit(lambda: None)
    except RuntimeError:  # the system refuses another thread; those that began wait for it
        started.abort()
        executor.shutdown()
        raise
    started.wait()
    torch.set_num_threads(total)  # other threads begin with the number set last
    return executor
