"""A video whose frames are in the application."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np

from surgsam2.engine.protocol.requests import FrameGiven, OpenFrames
from surgsam2.engine.server.request_queue import Cancelled, RequestQueue
from surgsam2.errors import VideoError
from surgsam2.video.base import Frames, Video, check_size
from surgsam2.video.prefetch import Cancelled as Closing

_PREFETCH = 4
"""Frames that are asked for before they are needed, so that tracking does not wait for them."""
_LOOK_SECONDS = 0.05
"""Seconds between two looks at whether a frame is still wanted."""
_SOURCE = "the application's video"


class ApplicationVideo(Video):
    """Asks the application for each frame, a few in advance in the order of reading.

    Args:
        request: describes the video.
        ask: sends a request for a frame: (ticket, index).
        requests: know whether the running request was cancelled.

    Raises:
        VideoError: frames of this size are not supported.
    """

    def __init__(
        self, request: OpenFrames, ask: Callable[[int, int], None], requests: RequestQueue
    ) -> None:
        check_size(_SOURCE, request.width, request.height)
        super().__init__(
            _SOURCE,
            width=request.width,
            height=request.height,
            fps=request.fps,
            frame_count=request.frame_count,
        )
        self._ask = ask
        self._requests = requests
        self._tickets = itertools.count()
        self._expected: set[int] = set()
        self._given: dict[int, FrameGiven] = {}
        self._changed = threading.Condition()

    def give(self, frame: FrameGiven) -> None:
        """Take a frame, or the reason why there is none; called by the reading thread.

        A frame that is not expected any more is dropped.
        """
        with self._changed:
            if frame.ticket in self._expected:
                self._expected.remove(frame.ticket)
                self._given[frame.ticket] = frame
                self._changed.notify_all()

    @property
    def outstanding(self) -> int:
        """Number of frames that are expected or wait to be read."""
        return len(self._expected) + len(self._given)

    def _read(self, index: int) -> np.ndarray:
        with closing(self._in_order([index], self._requests.interrupted)) as frames:
            for _, frame in frames:
                return frame
        raise Cancelled

    def _forward(self, start: int, stop: int, cancelled: Closing) -> Frames:
        return self._in_order(range(start, stop), self._unwanted(cancelled))

    def _backward(self, start: int, stop: int, cancelled: Closing) -> Frames:
        return self._in_order(range(stop - 1, start - 1, -1), self._unwanted(cancelled))

    def _unwanted(self, closing: Closing) -> Closing:
        """Return what tells a prefetching thread that its iteration or its request has ended."""
        return lambda: closing() or self._requests.interrupted(outer=True)

    def _in_order(self, indices: Iterable[int], unwanted: Closing) -> Frames:
        asked: deque[tuple[int, int]] = deque()
        rest = iter(indices)
        try:
            while True:
                for index in itertools.islice(rest, _PREFETCH - len(asked)):
                    asked.append((index, self._request_frame(index)))
                if not asked:
                    return
                frame = self._take(*asked[0], unwanted)
                if frame is None:
                    return
                yield asked.popleft()[0], frame
        finally:
            self._forget(ticket for _, ticket in asked)

    def _request_frame(self, index: int) -> int:
        with self._changed:
            ticket = next(self._tickets)
            self._expected.add(ticket)
        self._ask(ticket, index)
        return ticket

    def _take(self, index: int, ticket: int, unwanted: Closing) -> np.ndarray | None:
        """Wait for a frame; None when the reading is being closed."""
        with self._changed:
            while ticket not in self._given:
                if unwanted() or self._closed:
                    return None
                self._changed.wait(_LOOK_SECONDS)
            given = self._given.pop(ticket)
        image, problem = given.image, given.problem
        if image is not None and image.shape[:2] != (self._height, self._width):
            problem = f"it has {image.shape[1]}x{image.shape[0]} pixels"
        if image is None or problem is not None:
            raise VideoError(f"{self._source}: frame {index} cannot be read: {problem}")
        return image

    def _forget(self, tickets: Iterable[int]) -> None:
        with self._changed:
            for ticket in tickets:
                self._expected.discard(ticket)
                self._given.pop(ticket, None)
