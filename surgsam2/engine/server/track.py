"""Carries out a `Track` request."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, cast

import numpy as np

from surgsam2.engine.protocol.events import Finished, Progress, Tracked
from surgsam2.engine.protocol.messages import Message, wire_name
from surgsam2.engine.protocol.requests import Track
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.plan import plan_tracking
from surgsam2.tracking.video_tracking import VideoTracking
from surgsam2.video import Video


class TrackExecution:
    """One `Track` request while it is carried out.

    Args:
        request: what to track and how.
        model: the model to track with.
        video: the video to track in.

    Raises:
        PromptError: the prompts do not fit the video.
        InputError: the range does not fit the video.
    """

    def __init__(self, request: Track, model: SurgSAM2Model, video: Video) -> None:
        self._request, self._model, self._video = request, model, video
        self._plan = plan_tracking(video, request.prompts, request.options)
        self._done = 0
        self._began = time.perf_counter()

    def finished(self, *, cancelled: bool, warnings: tuple[str, ...]) -> Finished:
        """Return the event that ends the request."""
        return Finished(
            self._request.request,
            wire_name(Track),
            "cancelled" if cancelled else "complete",
            self._done,
            self._plan.steps,
            warnings,
        )

    def run(self, send: Callable[[Message], None], between: Callable[[], None]) -> None:
        """Send an event for each step.

        Args:
            send: sends an event; raises `Cancelled` when nobody waits for it any more.
            between: called between two frames; raises `Cancelled` to end the track.

        Raises:
            Cancelled: the request was cancelled.
        """
        request, total = self._request, self._plan.steps
        watched = cast(Video, _WatchedVideo(self._video, between))
        with closing(DiskStore()) as first_pass:
            tracking = VideoTracking(
                self._model, watched, request.prompts, self._plan, request.options, first_pass
            )
            with closing(tracking.run()) as steps:
                for _, result in steps:
                    progress = self._done + 1, total, self._rate(self._done + 1)
                    if result is None:
                        send(Progress(request.request, *progress))
                    else:
                        send(Tracked(request.request, result, *progress))
                    self._done += 1
                    between()

    def _rate(self, steps: int) -> float:
        return steps / max(time.perf_counter() - self._began, 1e-9)


class _WatchedVideo:
    """A video that calls `between` before each frame that is asked for by its index.

    A tracker reads all prompted frames before its first step; these may be many.
    """

    def __init__(self, video: Video, between: Callable[[], None]) -> None:
        self._video = video
        self._between = between

    def __getitem__(self, index: int) -> np.ndarray:
        self._between()
        return self._video[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._video, name)
