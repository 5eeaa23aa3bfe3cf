"""Clocks: time per frame of a run, and time per stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class FrameClock:
    """Gives every moment of a run to a frame, or to all of them alike.

    A baseline may come to a frame more than once; its times add up. CPU time (that of
    all threads of the process) is kept beside wall time: on a machine that others use
    too it is the steadier of the two.
    """

    def __init__(self) -> None:
        self._wall: dict[int, float] = defaultdict(float)
        self._cpu: dict[int, float] = defaultdict(float)
        self._shared = (0.0, 0.0)
        self._last = _now()

    def share(self) -> None:
        """The time since the last call was spent on all frames alike (loading them)."""
        wall, cpu = self._lap()
        self._shared = (self._shared[0] + wall, self._shared[1] + cpu)

    def frame(self, index: int) -> None:
        """The time since the last call was spent on frame `index`."""
        wall, cpu = self._lap()
        self._wall[index] += wall
        self._cpu[index] += cpu

    def milliseconds(self, first: int, last: int) -> tuple[list[float], list[float]]:
        """(wall, CPU) milliseconds of each frame in order, without `first` and `last` of them."""
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
    """Time of each stage of a frame: CPU time of the whole process, or wall time on a device.

    Args:
        synchronise: waits until the device has done what it was given; None on the CPU.
    """

    def __init__(self, synchronise: Callable[[], None] | None = None) -> None:
        self._synchronise = synchronise
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block's time is added to the stage."""
        began = self._now()
        yield
        self._seconds[name] += self._now() - began

    def _now(self) -> float:
        if self._synchronise is None:
            return time.process_time()
        self._synchronise()
        return time.perf_counter()

    def watch(self, owner: Any, method: str, name: str) -> None:
        """From now on, calls of ``owner.method`` are timed as the stage `name`."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def reset(self) -> None:
        """Start from nothing, after a warm-up."""
        self._seconds.clear()

    def milliseconds(self, frames: int) -> dict[str, float]:
        """Milliseconds per frame by stage, over `frames` frames."""
        return {name: 1000 * seconds / frames for name, seconds in self._seconds.items()}
