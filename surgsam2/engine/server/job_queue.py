"""Requests that wait for their turn, and which of them a newer one replaces."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from surgsam2.engine.protocol.messages import Message

KINDS = frozenset(
    {
        "load_model",
        "open_video",
        "open_frames",
        "read_frames",
        "preview",
        "refine",
        "track",
        "start_live",
        "live_prompts",
        "live_remove",
    }
)
"""The requests there are."""
QUICK = frozenset({"preview", "refine", "live_prompts", "live_remove"})
"""Those that need not wait for a running track or live session to end."""
_ABOUT_MODEL = {"preview", "refine", "track", "start_live"}
_ABOUT_VIDEO = {"read_frames", *_ABOUT_MODEL}
_REPLACES = {
    "load_model": {"load_model", *_ABOUT_MODEL},
    "open_video": {"open_video", "open_frames", *_ABOUT_VIDEO},
    "open_frames": {"open_video", "open_frames", *_ABOUT_VIDEO},
    "read_frames": {"read_frames"},
    "track": {"track", "start_live"},
    "start_live": {"track", "start_live"},
    "preview": {"preview"},
}
"""Kinds of earlier requests that a new one of this kind makes pointless."""


class Cancelled(Exception):  # noqa: N818 - not an error
    """The running request was cancelled or replaced."""


@dataclass(eq=False)
class Job:
    """One request."""

    number: int
    kind: str
    message: Message
    cancelled: bool = False


class Jobs:
    """A queue for two threads: the reader puts requests in, the engine takes them out."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []  # a preview runs inside a track
        self._changed = threading.Condition()

    def put(self, job: Job) -> None:
        with self._changed:
            for earlier in (*self._running, *self._waiting):
                if earlier.kind in _REPLACES.get(job.kind, ()):
                    earlier.cancelled = True
            self._waiting.append(job)
            self._changed.notify_all()

    def cancel_all(self) -> None:
        with self._changed:
            for job in (*self._running, *self._waiting):
                job.cancelled = True
            self._changed.notify_all()

    def take(self) -> Job:
        """Wait for the next request; it is then the one being carried out."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._begin()

    def take_quick(self) -> Job | None:
        """The next request if it is there and may be carried out between two frames."""
        with self._changed:
            if not self._waiting or self._waiting[0].kind not in QUICK:
                return None
            return self._begin()

    def _begin(self) -> Job:
        self._running.append(self._waiting.popleft())
        return self._running[-1]

    def done(self, job: Job) -> None:
        with self._changed:
            self._running.remove(job)

    def interrupted(self, *, outer: bool = False) -> bool:
        """Whether the request being carried out was cancelled: what it waits for is not wanted.

        With `outer` the long request is meant, not the quick one between two of its frames.
        """
        running = self._running
        return bool(running) and running[0 if outer else -1].cancelled
