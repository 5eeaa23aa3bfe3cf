"""The logic's functions for the model and for tracking, for the panel and the Python console."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from surgsam2.engine import Tracked
from SurgSAM2Lib.prompts.calls import PromptCalls
from SurgSAM2Lib.tracking.jobs import TrackJob, TrackOptions
from SurgSAM2Lib.tracking.model_choice import ModelChoice


class TrackCalls(PromptCalls):
    """Part of `LogicCore`. Results are written into the scene as they come."""

    def setModel(
        self,
        nameOrPath: str | Path = "demo",
        config: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        pruning: str = "capped",
        prune: int = 2,
    ) -> None:
        """The model to use from now on; see `surgsam2.load_model`. It is loaded when needed."""
        self.engine.choice = ModelChoice(str(nameOrPath), config, device, dtype, pruning, prune)

    def track(
        self,
        direction: str = "forward",
        start: int | None = None,
        stop: int | None = None,
        objects: Collection[int] | None = None,
        overwriteGood: bool = False,
        allowOverlap: bool = False,
        fillHoles: int = 0,
        wait: bool = False,
    ) -> TrackJob:
        """Follow the objects through the video, from all prompts and corrections.

        Masks painted by hand since the last track become prompts first. Results are
        written as they come, but not over frames marked as good.

        Args:
            direction: "forward", "backward" or "both".
            start, stop: frames from `start` up to before `stop`; None: all that the
                direction reaches.
            objects: ids of the objects to track; None: all that have prompts.
            overwriteGood: also write over frames marked as good.
            allowOverlap: let masks of different objects overlap.
            fillHoles: fill holes of up to this many low-resolution pixels.
            wait: return when it is finished.

        Returns:
            The job: its `done`, `total`, `fps`, `status` and `error` follow its progress.
        """
        session = self.currentSession
        self._refuse_while_tracking()
        session.adopt_edits()
        prompts = session.prompt_set(objects)
        prompts.validate(session.video.width, session.video.height, session.video.frame_count)

        def write(event: Tracked) -> None:
            session.write_result(event.result, overwriteGood)

        options = TrackOptions(direction, start, stop, not allowOverlap, fillHoles)
        job = TrackJob(prompts, options, write)
        self._submit(job, wait)
        return job

    def trackFrom(
        self, frame: int | None = None, direction: str = "forward", **options: Any
    ) -> TrackJob:
        """Track again from a corrected frame to the end, or "backward" to the beginning.

        Only the objects that are prompted or corrected on this frame are tracked: the
        others would start again without what the frames before tell about them.
        """
        frame = self._frame(frame)
        forward = direction == "forward"
        limits: dict[str, Any] = {"start": frame} if forward else {"stop": frame + 1}
        return self.track(direction, **limits, **self._marked_on([frame], options))

    def trackBetween(self, frame: int | None = None, **options: Any) -> TrackJob:
        """Track again between the prompted or corrected frames around this one.

        Only the objects that are prompted or corrected on one of the two are tracked.
        """
        frame = self._frame(frame)
        self.currentSession.adopt_edits()
        first, last = self.currentSession.between(frame)
        options = self._marked_on([first, last], options)
        return self.track("forward", first, last + 1, **options)

    def cancel(self) -> None:
        """Stop what is running; masks written so far stay."""
        self.engine.cancel()

    # inside

    def _marked_on(self, frames: list[int], options: dict[str, Any]) -> dict[str, Any]:
        """The options, with the objects that have a prompt on these frames, if any has."""
        session = self.currentSession
        session.adopt_edits()
        marked = {i for frame in frames for i in session.prompts.on_frame(frame)}
        return {"objects": marked, **options} if marked else options
