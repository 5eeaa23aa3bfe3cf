"""A video whose frames are in the application."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np

from surgsam2.engine.protocol.shared_memory import SharedBlock
from surgsam2.engine.server.job_queue import Cancelled, Jobs
from surgsam2.errors import VideoError
from surgsam2.video.base import Frames, Video, check_size
from surgsam2.video.prefetch import Cancelled as Closing

_AHEAD = 4
"""Frames asked for before they are needed, so that nothing waits for the application's timer."""
_PATIENCE = 0.05
"""Seconds between two looks at whether a frame is still wanted."""


class RemoteVideo(Video):
    """Asks the application for each frame, a few ahead in the order of reading.

    Args:
        source: name for messages.
        ask: sends a request for a frame: (index, slot).
        jobs: know whether the running request was cancelled.
    """

    def __init__(
        self,
        source: str,
        *,
        width: int,
        height: int,
        fps: float,
        frame_count: int,
        block: SharedBlock,
        ask: Callable[[int, int], None],
        jobs: Jobs,
    ) -> None:
        check_size(source, width, height)
        super().__init__(source, width=width, height=height, fps=fps, frame_count=frame_count)
        self._block = block
        self._ask = ask
        self._jobs = jobs
        self._free = list(range(block.slots))
        self._answers: dict[int, str | None] = {}  # slot -> None, or why there is no frame
        self._abandoned: set[int] = set()
        self._changed = threading.Condition()

    def answer(self, slot: int, problem: str | None) -> None:
        """The application has filled a slot, or says why it cannot. Called by the reader."""
        with self._changed:
            if slot in self._abandoned:
                self._abandoned.remove(slot)
                self._free.append(slot)
            elif 0 <= slot < self._block.slots and slot not in self._free:
                self._answers[slot] = problem
            self._changed.notify_all()

    def _read(self, index: int) -> np.ndarray:
        with closing(self._in_order([index], self._jobs.interrupted)) as frames:
            for _, frame in frames:
                return frame
        raise Cancelled

    def _forward(self, start: int, stop: int, cancelled: Closing) -> Frames:
        return self._in_order(range(start, stop), self._unwanted(cancelled))

    def _backward(self, start: int, stop: int, cancelled: Closing) -> Frames:
        return self._in_order(range(stop - 1, start - 1, -1), self._unwanted(cancelled))

    def _unwanted(self, closing: Closing) -> Closing:
        """For a thread that reads ahead: its iteration or the request behind it has ended."""
        return lambda: closing() or self._jobs.interrupted(outer=True)

    def _in_order(self, indices: Iterable[int], unwanted: Closing) -> Frames:
        asked: deque[tuple[int, int]] = deque()
        rest = iter(indices)
        index = next(rest, None)
        try:
            while asked or index is not None:
                while index is not None and len(asked) < _AHEAD:
                    slot = self._reserve(unwanted, wait=not asked)
                    if slot is None:
                        break
                    asked.append((index, slot))
                    self._ask(index, slot)
                    index = next(rest, None)
                if not asked:
                    return
                frame = self._take(*asked[0], unwanted)
                if frame is None:
                    return
                yield asked.popleft()[0], frame
        finally:
            self._abandon(slot for _, slot in asked)

    def _wait(self, ready: Callable[[], bool], unwanted: Closing) -> bool:
        """Wait, with the lock held; false when the reading is being closed."""
        while not ready():
            if unwanted() or self._closed:
                return False
            self._changed.wait(_PATIENCE)
        return True

    def _reserve(self, unwanted: Closing, *, wait: bool) -> int | None:
        with self._changed:
            if wait and not self._wait(lambda: bool(self._free), unwanted):
                return None
            return self._free.pop(0) if self._free else None

    def _take(self, index: int, slot: int, unwanted: Closing) -> np.ndarray | None:
        with self._changed:
            if not self._wait(lambda: slot in self._answers, unwanted):
                return None
            problem = self._answers[slot]
        if problem is not None:
            raise VideoError(f"{self._source}: frame {index} cannot be read: {problem}")
        frame = self._block.slot(slot).reshape(self._height, self._width, 3).copy()
        with self._changed:
            del self._answers[slot]
            self._free.append(slot)
            self._changed.notify_all()
        return frame

    def _abandon(self, slots: Iterable[int]) -> None:
        """A slot the application may still write to is free only after its answer."""
        with self._changed:
            for slot in slots:
                if slot in self._answers:
                    del self._answers[slot]
                    self._free.append(slot)
                else:
                    self._abandoned.add(slot)
