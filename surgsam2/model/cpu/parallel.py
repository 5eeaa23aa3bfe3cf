"""Threads that keep all cores busy while recorded video is tracked on the CPU.

With all of PyTorch's threads in one operation after the other, they wait for each other at the
end of each. In recorded video the next frames are known, so that the image encoder can
run on them beside the tracker, and every thread has work of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import torch

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.cpu.parallel_objects import Lanes

ENCODERS = 2
"""Frames that are encoded at a time."""


class Crew:
    """Threads beside the tracker; none where they would not help.

    That is on a GPU, with one core, and where the network's modules run themselves
    (lower precision, compiled): there `ahead` does nothing and `tracking` changes nothing.
    How the threads share the cores was measured with two. To be closed.
    """

    def __init__(self, model: SurgSAM2Model) -> None:
        self._threads = torch.get_num_threads()
        self._encoders: ThreadPoolExecutor | None = None
        with torch.no_grad(), model.autocast():
            runs_fast = model.network.runs_fast(torch.empty(0, device=model.device))
        if self._threads > 1 and runs_fast:
            self._share = max(self._threads // ENCODERS, 1)
            self._objects = _pool("surgsam2-object", self._threads, 1)
            self._lanes = Lanes(self._objects, self._threads)
            self._encoders = _pool("surgsam2-encode", ENCODERS, self._share, self._lanes.come_first)

    def ahead(self, work: Callable[[], object]) -> Future[object] | None:
        """Have something of the network run beside the tracker."""
        return None if self._encoders is None else self._encoders.submit(work)

    @contextmanager
    def tracking(self) -> Iterator[None]:
        """Inside, this thread leaves cores to the others."""
        if self._encoders is None:
            yield
            return
        torch.set_num_threads(self._share)
        try:
            with self._lanes.used_here():
                yield
        finally:
            torch.set_num_threads(self._threads)

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        if self._encoders is not None:
            self._encoders.shutdown(cancel_futures=True)
            self._objects.shutdown(cancel_futures=True)


def _pool(
    name: str, workers: int, threads: int, begin: Callable[[], None] = lambda: None
) -> ThreadPoolExecutor:
    """Workers without gradients that give each operation `threads` of PyTorch's threads.

    begin: called in each of them first.
    """
    total = torch.get_num_threads()
    started = Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first call takes over the number set last
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)  # a thread's own setting
        begin()
        started.wait()

    pool = ThreadPoolExecutor(workers, name, start)
    for _ in range(workers):
        pool.submit(lambda: None)
    started.wait()
    torch.set_num_threads(total)  # the number set last is what threads of others begin with
    return pool
