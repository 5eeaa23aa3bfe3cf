"""Requests that wait for their turn, and which of them a newer one replaces."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from surgsam2.engine.protocol.messages import Request
from surgsam2.engine.protocol.requests import (
    LivePrompts,
    LiveRemove,
    LoadModel,
    OpenFrames,
    OpenUpload,
    OpenVideo,
    Preview,
    ReadFrames,
    Refine,
    StartLive,
    Track,
)

QUICK = (Preview, Refine, LivePrompts, LiveRemove)
"""Requests that need not wait for a running track or live session to end."""
_ABOUT_MODEL = (Preview, Refine, Track, StartLive)
_ABOUT_VIDEO = (ReadFrames, *_ABOUT_MODEL)
_OPENS_VIDEO = (OpenVideo, OpenFrames, OpenUpload)
_REPLACES: dict[type[Request], tuple[type[Request], ...]] = {
    LoadModel: (LoadModel, *_ABOUT_MODEL),
    **dict.fromkeys(_OPENS_VIDEO, (*_OPENS_VIDEO, *_ABOUT_VIDEO)),
    ReadFrames: (ReadFrames,),
    Track: (Track, StartLive),
    StartLive: (Track, StartLive),
    Preview: (Preview,),
}
"""The earlier requests that a new one of a class makes pointless."""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The request that is being carried out was cancelled or replaced."""


@dataclass(eq=False)
class QueuedRequest:
    """A request and whether it is still wanted."""

    request: Request
    cancelled: bool = False

    @property
    def number(self) -> int:
        """Number that the events of the request carry."""
        return self.request.request

    def check(self) -> None:
        """Raise `Cancelled` when the request is not wanted any more."""
        if self.cancelled:
            raise Cancelled


class RequestQueue:
    """A queue for two threads: the reading thread puts requests in, the engine takes them."""

    def __init__(self) -> None:
        self._waiting: deque[QueuedRequest] = deque()
        self._running: list[QueuedRequest] = []  # a preview runs inside a track
        self._changed = threading.Condition()

    @property
    def empty(self) -> bool:
        """Whether no request waits."""
        return not self._waiting

    def put(self, request: Request) -> QueuedRequest:
        """Append a request, and cancel those that it replaces."""
        queued = QueuedRequest(request)
        with self._changed:
            for earlier in (*self._running, *self._waiting):
                if isinstance(earlier.request, _REPLACES.get(type(request), ())):
                    earlier.cancelled = True
            self._waiting.append(queued)
            self._changed.notify_all()
        return queued

    def cancel_all(self) -> None:
        """Cancel all requests, running and waiting."""
        with self._changed:
            for queued in (*self._running, *self._waiting):
                queued.cancelled = True
            self._changed.notify_all()

    def take(self) -> QueuedRequest:
        """Wait for the next request and return it; it counts as running until `done`."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._begin()

    def take_quick(self) -> QueuedRequest | None:
        """Return the next request if it is there and may be carried out between two frames."""
        with self._changed:
            if not self._waiting or not isinstance(self._waiting[0].request, QUICK):
                return None
            return self._begin()

    def _begin(self) -> QueuedRequest:
        self._running.append(self._waiting.popleft())
        return self._running[-1]

    def done(self, queued: QueuedRequest) -> None:
        """Say that a request has ended."""
        with self._changed:
            self._running.remove(queued)

    def interrupted(self, *, outer: bool = False) -> bool:
        """Return whether the running request was cancelled, so that nobody waits for it.

        Args:
            outer: ask about the long request, not about the quick one between two of its
                frames.
        """
        running = self._running
        return bool(running) and running[0 if outer else -1].cancelled
