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
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.tracking.run import TrackingRun
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
        options = request.options
        self._request, self._model, self._video = request, model, video
        self._plan = plan_tracking(
            video, request.prompts, options.start, options.stop, options.direction
        )
        self._options = MaskOptions(not options.allow_overlap, options.fill_holes)
        self._done = 0
        self._began = time.perf_counter()

    def finished(self, *, cancelled: bool) -> Finished:
        """Return the event that ends the request."""
        return Finished(
            self._request.request,
            wire_name(Track),
            "cancelled" if cancelled else "complete",
            self._done,
            self._plan.steps,
            tuple(self._video.warnings),
        )

    def run(self, send: Callable[[Message], None], between: Callable[[], None]) -> None:
        """Send an event for each step.

        Args:
            send: sends an event; raises `Cancelled` when nobody waits for it any more.
            between: called between two frames; raises `Cancelled` to end the track.

        Raises:
            Cancelled: the request was cancelled.
        """

        def on_step() -> None:
            self._done += 1
            if self._done <= self._plan.steps - self._plan.frames:
                steps = self._done, self._plan.steps, self._rate(self._done)
                send(Progress(self._request.request, *steps))
            between()

        watched = cast(Video, _WatchedVideo(self._video, between))
        with closing(DiskStore()) as earlier:
            run = TrackingRun(
                self._model, watched, self._request.prompts, self._plan, self._options, earlier
            )
            with closing(run.results(on_step)) as results:
                for _, result in results:
                    steps = self._done + 1, self._plan.steps, self._rate(self._done + 1)
                    send(Tracked(self._request.request, result, *steps))

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
