"""A track being carried out for the application."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, cast

import numpy as np

from surgsam2.engine.protocol.serialization import prompts_from_wire, result_to_wire
from surgsam2.engine.server.connection import Send
from surgsam2.engine.server.job_queue import Cancelled, Job
from surgsam2.engine.server.outgoing import MaskSlots
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.disk_store import DiskStore
from surgsam2.tracking.plan import Direction, plan_tracking
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.tracking.run import TrackingRun
from surgsam2.video import Video


class TrackJob:
    """What one `track` request asks for.

    Args:
        job: the request.
        model, video: to track with and in.

    Raises:
        ProtocolError, PromptError, InputError: what is asked for is not possible.
    """

    def __init__(self, job: Job, model: SurgSAM2Model, video: Video) -> None:
        message = job.message
        self._job, self._model, self._video = job, model, video
        self._prompts = prompts_from_wire(message)
        self._plan = plan_tracking(
            video,
            self._prompts,
            message.optional("start", int),
            message.optional("stop", int),
            cast(Direction, message.get("direction", str)),
        )
        self._options = MaskOptions(
            message.get("non_overlap", bool), message.get("fill_holes", int)
        )
        self._done = 0
        self._began = time.perf_counter()

    @property
    def summary(self) -> dict[str, Any]:
        """Header fields of the end."""
        return {
            "done": self._done,
            "total": self._plan.steps,
            "warnings": self._video.warnings,
        }

    def carry_out(self, send: Send, masks: MaskSlots, between: Callable[[], None]) -> None:
        """Send a message for each step.

        Args:
            between: called between two frames; may raise what is to end the track.

        Raises:
            Cancelled: the request was cancelled.
        """

        def on_step() -> None:
            self._done += 1
            if self._done <= self._plan.steps - self._plan.frames:
                send("progress", self._progress(self._done))
            between()

        watched = cast(Video, _WatchedVideo(self._video, between))
        with closing(DiskStore()) as earlier:
            run = TrackingRun(
                self._model, watched, self._prompts, self._plan, self._options, earlier
            )
            with closing(run.results(on_step)) as results:
                for _, result in results:
                    self._stop_if_cancelled()
                    place = masks.put(result)
                    header = self._progress(self._done + 1) | result_to_wire(result) | place
                    send("tracked", header)
            self._stop_if_cancelled()  # the application's frames end early then

    def _progress(self, steps: int) -> dict[str, Any]:
        seconds = max(time.perf_counter() - self._began, 1e-9)
        total = {"done": steps, "total": self._plan.steps, "fps": steps / seconds}
        return {"request": self._job.number, **total}

    def _stop_if_cancelled(self) -> None:
        if self._job.cancelled:
            raise Cancelled


class _WatchedVideo:
    """A video that looks up between two frames that are asked for one by one.

    A tracker looks at all prompted frames before its first step; that may be many.
    """

    def __init__(self, video: Video, look_up: Callable[[], None]) -> None:
        self._video = video
        self._look_up = look_up

    def __getitem__(self, index: int) -> np.ndarray:
        self._look_up()
        return self._video[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._video, name)
