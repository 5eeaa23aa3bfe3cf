"""Decides which task a free worker gets. It does no input or output and knows no clock."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["track", "merge"]
KINDS: tuple[Kind, ...] = ("merge", "track")
"""All kinds of tasks; a worker that does both writes files first, which frees disk space."""
State = Literal["waiting", "running", "complete", "failed", "quarantined"]


@dataclass
class PartProgress:
    """The progress of the tracking of one part of a video; most videos have one part."""

    waits: bool = True
    """Whether its next task waits for a worker."""
    begun: bool = False
    """Whether a chunk of it is complete."""
    done: bool = False
    """Whether all of its chunks are complete."""
    left: float = 1.0
    """Share of its tracking that is left, 0 to 1. It falls while a chunk is being tracked, so it
    may be 0 before the last chunk is complete."""


@dataclass
class VideoProgress:
    """The progress of one video."""

    size: float
    """Expected length, in any unit that all videos share."""
    state: State = "waiting"
    kind: Kind = "track"
    """The kind of the tasks that run or come next."""
    parts: list[PartProgress] = field(default_factory=lambda: [PartProgress()])
    """Its parts, which are tracked independently of each other."""
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

    @property
    def begun(self) -> bool:
        """Whether a chunk of it is complete."""
        return any(part.begun for part in self.parts)

    @property
    def left(self) -> float:
        """Share of the tracking that is left, 0 to 1."""
        return sum(part.left for part in self.parts) / len(self.parts)


class Piece(NamedTuple):
    """What a task works on."""

    video: int
    """Index of the video."""
    part: int = 0
    """Number of the part of the video; 0 in a task that writes files."""


@dataclass(frozen=True)
class FreeWorker:
    """A worker without a task."""

    kinds: tuple[str, ...]
    """The kinds of tasks that it does."""
    rate: float = float("inf")
    """Frames per second that it has tracked; infinite for one that has not been measured."""


class Scheduler:
    """Orders the tasks of many videos.

    The chunks of a part of a video follow each other, so each part runs on one worker at a time.
    Videos that are begun come before others, so that few are under way; among them, and among
    those that are not begun, the one with the most left comes first, so that no long video remains
    alone at the end.

    Args:
        sizes: expected length of each video, in any unit that all share.
        retries: how many workers in a row a video may lose before it is quarantined, less one.
    """

    def __init__(self, sizes: Sequence[float], retries: int = 3) -> None:
        self.videos = [VideoProgress(size=size) for size in sizes]
        self._retries = retries
        self._queues: dict[Kind, list[tuple[bool, float, Piece]]] = {kind: [] for kind in KINDS}
        self._open = len(self.videos)
        for index in range(len(self.videos)):
            self._queue(Piece(index))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for any video."""
        return self._open == 0

    def divide(self, index: int, parts: int) -> None:
        """Note that a video of which no task has begun is tracked in several parts."""
        self.videos[index].parts = [PartProgress() for _ in range(parts)]
        for part in range(parts):
            self._queue(Piece(index, part))

    def assign(self, free: Mapping[str, FreeWorker]) -> list[tuple[str, Piece]]:
        """Give tasks to workers that are free, the fastest first.

        So a video on a slow worker moves to a faster one, after its chunk, once there is one
        without a task.

        Args:
            free: the workers by name.

        Returns:
            The name of each worker that got a task, with what the task works on.
        """
        given = []
        for name in sorted(free, key=lambda name: -free[name].rate) if self._waits() else ():
            piece = self.next_for(free[name].kinds)
            if piece is not None:
                given.append((name, piece))
        return given

    def next_for(self, kinds: Collection[str]) -> Piece | None:
        """Take the next task for a worker that is free.

        Args:
            kinds: the kinds of tasks that the worker does.

        Returns:
            What the task works on; the video's `kind` says what is to be done. None if nothing
            waits.
        """
        for kind in KINDS:
            queue = self._queues[kind]
            while kind in kinds and queue:
                piece = heapq.heappop(queue)[-1]
                video = self.videos[piece.video]
                part = video.parts[piece.part]
                if not video.is_over and part.waits and video.kind == kind:
                    part.waits = False
                    video.state = "running"
                    video.attempts += 1
                    return piece
        return None

    def restore(self, piece: Piece, left: float) -> None:
        """Note what an earlier run has done of a part that waits: `left` is left of it."""
        video = self.videos[piece.video]
        part = video.parts[piece.part]
        part.begun, part.left, part.done = True, left, left <= 0
        part.waits = not part.done
        if part.waits:
            self._queue(piece)
        elif all(each.done for each in video.parts):
            video.kind = "merge"
            video.parts[0].waits = True
            self._queue(Piece(piece.video))

    def tracked(self, piece: Piece, left: float) -> None:
        """Note that a chunk is complete, after which `left`, 0 to 1, of its part is left."""
        video = self.videos[piece.video]
        if video.is_over:
            return
        video.lost = 0
        video.parts[piece.part].waits = True
        self._note_waiting(video)
        self.restore(piece, left)

    def complete(self, index: int) -> None:
        """Note that all files of a video are written."""
        self._end(index, "complete")

    def failed(self, index: int, error: str) -> None:
        """Note that a video cannot be segmented, and that trying again would not help."""
        self._end(index, "failed", error)

    def released(self, piece: Piece) -> None:
        """Note that a task was given up through no fault of the video; it waits again."""
        video = self.videos[piece.video]
        if video.is_over:
            return
        video.parts[piece.part].waits = True
        self._note_waiting(video)
        self._queue(piece)

    def lost(self, piece: Piece, reason: str) -> None:
        """Note that a worker was lost with a video; it waits again, or is quarantined."""
        video = self.videos[piece.video]
        if video.is_over:
            return
        video.lost += 1
        if video.lost > self._retries:
            self._end(piece.video, "quarantined", reason)
        else:
            self.released(piece)

    def _waits(self) -> bool:
        return any(self._queues.values())

    def _note_waiting(self, video: VideoProgress) -> None:
        """Note that a task of a video ended; the video waits unless another part runs."""
        if all(part.waits or part.done for part in video.parts):
            video.state = "waiting"

    def _end(self, index: int, state: State, error: str = "") -> None:
        video = self.videos[index]
        if not video.is_over:
            self._open -= 1
        video.state, video.error = state, error

    def _queue(self, piece: Piece) -> None:
        video = self.videos[piece.video]
        part = video.parts[piece.part]
        key = (not video.begun, -video.size * part.left / len(video.parts), piece)
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
