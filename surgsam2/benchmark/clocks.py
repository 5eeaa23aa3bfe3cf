"""Clocks for the time per frame of a run and for the time per stage of a frame."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class FrameClock:
    """Wall time and CPU time of each frame of a run.

    All time of a run belongs to one frame or is shared by all frames equally. A baseline
    may process a frame more than once; the times are added. CPU time, that of all threads
    of the process, varies less than wall time on a machine with other work.
    """

    def __init__(self) -> None:
        self._wall: dict[int, float] = defaultdict(float)
        self._cpu: dict[int, float] = defaultdict(float)
        self._shared = (0.0, 0.0)
        self._last = _now()

    def share(self) -> None:
        """Share the time since the last call equally among all frames (for loading them)."""
        wall, cpu = self._lap()
        self._shared = (self._shared[0] + wall, self._shared[1] + cpu)

    def frame(self, index: int) -> None:
        """Add the time since the last call to frame `index`."""
        wall, cpu = self._lap()
        self._wall[index] += wall
        self._cpu[index] += cpu

    def milliseconds(self, first: int, last: int) -> tuple[list[float], list[float]]:
        """Return the times of each frame in order.

        Args:
            first: Number of frames to leave out at the start.
            last: Number of frames to leave out at the end.

        Returns:
            Wall time and CPU time per frame, in milliseconds.
        """
        count = max(1, len(self._wall))
        wall, cpu = (1000 * shared / count for shared in self._shared)
        frames = sorted(self._wall)[first : len(self._wall) - last]
        return (
            [1000 * self._wall[i] + wall for i in frames],
            [1000 * self._cpu[i] + cpu for i in frames],
        )

    def _lap(self) -> tuple[float, float]:
        wall, cpu = _now()
        passed = (wall - self._last[0], cpu - self._last[1])
        self._last = (wall, cpu)
        return passed


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


class StageClock:
    """Time of each stage of a frame: CPU time of the process, or wall time on a GPU.

    Args:
        synchronise: Waits until the GPU has finished its work; None on the CPU.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self._synchronise = synchronise
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage `name`."""
        start = self._now()
        yield
        self._seconds[name] += self._now() - start

    def _now(self) -> float:
        if self._synchronise is None:
            return time.process_time()
        self._synchronise()
        return time.perf_counter()

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Replace ``owner.method`` so that its calls are timed as the stage `name`."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def reset(self) -> None:
        """Forget all times, after a warm-up."""
        self._seconds.clear()

    def milliseconds(self, frames: int) -> dict[str, float]:
        """Return stage -> milliseconds per frame, over `frames` frames."""
        return {name: 1000 * seconds / frames for name, seconds in self._seconds.items()}
