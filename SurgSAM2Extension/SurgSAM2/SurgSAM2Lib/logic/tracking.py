"""Tracking the objects of the video in use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from surgsam2.engine import Tracked
from surgsam2.model.options import ModelOptions
from surgsam2.tracking.options import Direction, TrackingOptions
from SurgSAM2Lib.logic.workspace import Workspace
from SurgSAM2Lib.session.painted import adopt_edits
from SurgSAM2Lib.session.results import write_result
from SurgSAM2Lib.tracking.jobs import TrackJob


class TrackingActions:
    """Follows objects through the video; masks are written into the scene as they come.

    Args:
        workspace: the scene, session and engine to work with.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.on_frame: Callable[[int], None] = lambda frame: None
        """Called with each frame whose masks a track has written."""

    @property
    def model(self) -> ModelOptions:
        """The model to use; it is loaded when a job first needs it."""
        return self._workspace.engine.model_options

    @model.setter
    def model(self, options: ModelOptions) -> None:
        self._workspace.engine.model_options = options

    def track(
        self,
        options: TrackingOptions,
        objects: Collection[int] | None = None,
        overwrite_good: bool = False,
        wait: bool = False,
    ) -> TrackJob:
        """Follow objects from all their prompts and corrections.

        Masks painted by hand since the last track become prompts first, and corrections that the
        engine has not carried out yet are waited for.

        Args:
            options: direction, frames and how masks are made.
            objects: ids of the objects to track; None for all that have prompts. Locked ones are
                left out.
            overwrite_good: whether to write over frames that are marked as good too.
            wait: whether to return only when the track has ended.

        Returns:
            The job, whose `done`, `total`, `fps`, `status` and `error` follow its progress.

        Raises:
            InputError: a track is in progress, or no video is in use.
            PromptError: there is no prompt to track.
            EngineError: the track failed and `wait` is True.
        """
        self._workspace.refuse_while_tracking()
        self._workspace.finish_corrections()
        self._workspace.refuse_while_tracking()  # the user may have started one meanwhile
        session = self._workspace.current_session
        adopt_edits(session)
        prompts = session.prompt_set(session.locks.unlocked(objects))
        prompts.validate(session.video.width, session.video.height, session.video.frame_count)

        undo = session.begin_results()

        def write(event: Tracked) -> None:
            write_result(session, event.result, overwrite_good, undo)
            self.on_frame(event.result.frame_index)

        job = TrackJob(prompts, options, write, undo)
        self._workspace.submit(job, wait)
        return job

    def track_from(
        self,
        frame: int | None,
        options: TrackingOptions,
        objects: Collection[int] | None = None,
        overwrite_good: bool = False,
        wait: bool = False,
    ) -> TrackJob:
        """Track again from a corrected frame to the video's end, or to its beginning.

        Only the objects that are prompted or corrected on this frame are tracked, unless
        `objects` names others: an object without a prompt there would lose what the
        frames before tell about it.

        Args:
            frame: index of the frame; None for the one that is shown.
            options: the direction "forward" or "backward", and how masks are made.
            objects: as for `track`.
            overwrite_good: as for `track`.
            wait: as for `track`.
        """
        frame = self._workspace.frame_index(frame)
        forward = options.direction == "forward"
        start, stop = (frame, None) if forward else (None, frame + 1)
        chosen = self._prompted_on([frame]) if objects is None else objects
        return self.track(replace(options, start=start, stop=stop), chosen, overwrite_good, wait)

    def track_between(
        self,
        frame: int | None,
        options: TrackingOptions,
        objects: Collection[int] | None = None,
        overwrite_good: bool = False,
        wait: bool = False,
    ) -> TrackJob:
        """Track forward again between the prompted frames on both sides of a frame.

        Only the objects that are prompted or corrected on one of the two are tracked, unless
        `objects` names others.

        Args:
            frame: index of the frame; None for the one that is shown.
            options: how masks are made; direction and range are set here.
            objects: as for `track`.
            overwrite_good: as for `track`.
            wait: as for `track`.
        """
        frame = self._workspace.frame_index(frame)
        self._workspace.finish_corrections()
        session = self._workspace.current_session
        adopt_edits(session)
        first, last = session.between(frame)
        chosen = self._prompted_on([first, last]) if objects is None else objects
        forward: Direction = "forward"
        between = replace(options, direction=forward, start=first, stop=last + 1)
        return self.track(between, chosen, overwrite_good, wait)

    def cancel(self) -> None:
        """Stop what is running; masks written so far stay."""
        self._workspace.engine.cancel()

    def _prompted_on(self, frames: list[int]) -> set[int] | None:
        """Return the objects that are prompted on these frames; None when none is."""
        self._workspace.finish_corrections()
        session = self._workspace.current_session
        adopt_edits(session)
        prompted = {i for frame in frames for i in session.prompts.on_frame(frame)}
        return prompted or None
