"""Decides which task a free worker gets. It does no input or output and knows no clock."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["track", "merge"]
KINDS: tuple[Kind, ...] = ("merge", "track")
"""All kinds of tasks; a worker that does both writes files first, which frees disk space."""
State = Literal["waiting", "running", "complete", "failed", "quarantined"]


@dataclass
class VideoProgress:
    """The progress of one video."""

    size: float
    """Expected length, in any unit that all videos share."""
    state: State = "waiting"
    kind: Kind = "track"
    """The kind of the task that runs or comes next."""
    begun: bool = False
    """Whether a chunk of it is complete."""
    left: float = 1.0
    """Part of the tracking that is left, 0 to 1."""
    attempts: int = 0
    """Number of tasks that were begun for it."""
    lost: int = 0
    """Number of workers in a row that were lost with it."""
    error: str = ""
    """Why it failed."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ("complete", "failed", "quarantined")


@dataclass(frozen=True)
class FreeWorker:
    """A worker without a task."""

    kinds: tuple[str, ...]
    """The kinds of tasks that it does."""
    rate: float = float("inf")
    """Frames per second that it has tracked; infinite for one that has not been measured."""


class Scheduler:
    """Orders the tasks of many videos.

    The chunks of a video follow each other, so a video runs on one worker at a time. Videos that
    are begun come before others, so that few are under way; among them, and among those that are
    not begun, the one with the most left comes first, so that no long video remains alone at the
    end.

    Args:
        sizes: expected length of each video, in any unit that all share.
        retries: how many workers in a row a video may lose before it is quarantined, less one.
    """

    def __init__(self, sizes: Sequence[float], retries: int = 3) -> None:
        self.videos = [VideoProgress(size=size) for size in sizes]
        self._retries = retries
        self._queues: dict[Kind, list[tuple[bool, float, int]]] = {kind: [] for kind in KINDS}
        self._open = len(self.videos)
        for index in range(len(self.videos)):
            self._queue(index)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for any video."""
        return self._open == 0

    def assign(self, free: Mapping[str, FreeWorker]) -> list[tuple[str, int]]:
        """Give tasks to workers that are free, the fastest first.

        So a video on a slow worker moves to a faster one, after its chunk, once there is one
        without a task.

        Args:
            free: the workers by name.

        Returns:
            The name of each worker that got a task, with the index of the video.
        """
        given = []
        for name in sorted(free, key=lambda name: -free[name].rate) if self._waits() else ():
            index = self.next_for(free[name].kinds)
            if index is not None:
                given.append((name, index))
        return given

    def next_for(self, kinds: Collection[str]) -> int | None:
        """Take the next task for a worker that is free.

        Args:
            kinds: the kinds of tasks that the worker does.

        Returns:
            The index of the video, whose `kind` says what is to be done; None if nothing waits.
        """
        for kind in KINDS:
            queue = self._queues[kind]
            while kind in kinds and queue:
                index = heapq.heappop(queue)[-1]
                video = self.videos[index]
                if video.state == "waiting" and video.kind == kind:
                    video.state = "running"
                    video.attempts += 1
                    return index
        return None

    def restore(self, index: int, left: float) -> None:
        """Note what an earlier run has done of a video that waits: `left` is left of it."""
        video = self.videos[index]
        video.begun, video.left = True, left
        video.kind = "track" if left > 0 else "merge"
        self._queue(index)

    def tracked(self, index: int, left: float) -> None:
        """Note that a chunk is complete, after which `left`, 0 to 1, of the tracking is left."""
        video = self.videos[index]
        video.lost = 0
        video.state = "waiting"
        self.restore(index, left)

    def complete(self, index: int) -> None:
        """Note that all files of a video are written."""
        self._end(index, "complete")

    def failed(self, index: int, error: str) -> None:
        """Note that a video cannot be segmented, and that trying again would not help."""
        self._end(index, "failed", error)

    def released(self, index: int) -> None:
        """Note that a task was given up through no fault of the video; it waits again."""
        self.videos[index].state = "waiting"
        self._queue(index)

    def lost(self, index: int, reason: str) -> None:
        """Note that a worker was lost with a video; it waits again, or is quarantined."""
        video = self.videos[index]
        video.lost += 1
        if video.lost > self._retries:
            self._end(index, "quarantined", reason)
        else:
            self.released(index)

    def _waits(self) -> bool:
        return any(self._queues.values())

    def _end(self, index: int, state: State, error: str = "") -> None:
        video = self.videos[index]
        if not video.is_over:
            self._open -= 1
        video.state, video.error = state, error

    def _queue(self, index: int) -> None:
        video = self.videos[index]
        key = (not video.begun, -video.size * video.left, index)
        heapq.heappush(self._queues[video.kind], key)


def parts_of(sizes: Sequence[float], count: int) -> list[list[int]]:
    """Divide videos into parts of about the same length, always in the same way.

    Args:
        sizes: expected length of each video.
        count: number of parts.

    Returns:
        The indices of the videos of each part, ascending.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    loads = [(0.0, part) for part in range(count)]
    for index in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        load, part = heapq.heappop(loads)
        parts[part].append(index)
        heapq.heappush(loads, (load + max(sizes[index], 1), part))
    return [sorted(part) for part in parts]
