"""Prompts and corrections of the video in use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from surgsam2.errors import InputError
from surgsam2.prompts import Prompt, load_prompts, mask_inside, points_along, save_prompts
from surgsam2.prompts.checks import Points, split_points
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.workspace import Workspace
from SurgSAM2Lib.session.results import show_preview
from SurgSAM2Lib.tracking.jobs import PreviewJob, RefineJob


class PromptActions:
    """Adds, changes, previews and undoes prompts. A refused call changes nothing.

    A `frame` of None is the frame that is shown. Coordinates are pixels: x to the right,
    y down, the centre of the top-left pixel is (0, 0).

    Args:
        workspace: the scene, session and engine to work with.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add_point(
        self, object_id: int, x: float, y: float, positive: bool = True, frame: int | None = None
    ) -> None:
        """Add a point on the object, or outside it when `positive` is False.

        Raises:
            PromptError: the point is outside the frame, or it is negative and the only one.
        """
        frame = self._workspace.frame_index(frame)
        self._workspace.current_session.add_point(object_id, frame, x, y, positive)
        self._workspace.withdraw_corrections(object_id, frame)
        self._preview_if_wanted(frame)

    def set_box(self, object_id: int, box: Sequence[float], frame: int | None = None) -> None:
        """Set the box ``[x0, y0, x1, y1]`` around the object.

        Raises:
            PromptError: the box is empty or leaves the frame.
        """
        frame = self._workspace.frame_index(frame)
        self._workspace.current_session.set_box(object_id, frame, box)
        self._workspace.withdraw_corrections(object_id, frame)
        self._preview_if_wanted(frame)

    def set_mask(
        self, object_id: int, mask: np.ndarray | None = None, frame: int | None = None
    ) -> None:
        """Make a mask the object's prompt on a frame.

        Args:
            object_id: id of the object.
            mask: (H, W) bool or integers, non-zero is the object; None takes the mask that is
                in the scene, such as one painted in Segment Editor.
            frame: index of the frame.

        Raises:
            PromptError: the mask is empty or of another size.
        """
        frame = self._workspace.frame_index(frame)
        self._workspace.current_session.set_mask(object_id, frame, mask)
        self._workspace.withdraw_corrections(object_id, frame)

    def add_scribble(
        self, object_id: int, line: Points, positive: bool = True, frame: int | None = None
    ) -> None:
        """Add points along a line on the object, or outside it when `positive` is False.

        They count as clicks do, see `set_clicks`, and are undone together.

        Args:
            object_id: id of the object.
            line: (P, 2) rows of x, y; see `surgsam2.prompts.points_along`.
            positive: whether the line is on the object.
            frame: index of the frame.

        Raises:
            PromptError: the line lies outside the frame, or it is negative and the only prompt.
        """
        session, frame = self._workspace.current_session, self._workspace.frame_index(frame)
        size = session.prompts.video
        points = points_along(line, size.width, size.height)
        rows = np.column_stack([points, np.full(len(points), int(positive))])
        self.set_clicks(object_id, np.concatenate([self.clicks(object_id, frame), rows]), frame)

    def set_lasso(self, object_id: int, outline: Points, frame: int | None = None) -> None:
        """Make what an outline encloses the object's mask and prompt on a frame.

        Args:
            object_id: id of the object.
            outline: (P, 2) rows of x, y; see `surgsam2.prompts.mask_inside`.
            frame: index of the frame.

        Raises:
            PromptError: the outline encloses nothing of the frame.
        """
        size = self._workspace.current_session.prompts.video
        self.set_mask(object_id, mask_inside(outline, size.width, size.height), frame)

    def set_prompt(self, object_id: int, prompt: Prompt) -> None:
        """Set points and box at once, in place of those on the prompt's frame."""
        self._workspace.current_session.set_prompt(object_id, prompt)
        self._workspace.withdraw_corrections(object_id, prompt.frame)
        self._preview_if_wanted(prompt.frame)

    def set_clicks(
        self,
        object_id: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
    ) -> None:
        """Set all points of an object on a frame, as clicked in a view.

        Where the object was tracked or painted, the points correct its mask. Elsewhere they
        are a prompt, together with the box of the frame.

        Args:
            object_id: id of the object.
            points: (P, 3) rows of x, y, label (1 on the object, 0 outside it). No rows clear
                the frame.
            frame: index of the frame.
        """
        session, frame = self._workspace.current_session, self._workspace.frame_index(frame)
        rows = np.column_stack(split_points(points))
        prompt = session.prompts.get(object_id, frame)
        box = None if prompt is None else prompt.box
        if not len(rows) and box is None:
            self.clear(object_id, frame)
        elif session.corrects(object_id, frame):
            self._refine(object_id, frame, rows)
        else:
            self.set_prompt(object_id, Prompt(frame, rows[:, :2], rows[:, 2], box))

    def clicks(self, object_id: int, frame: int) -> np.ndarray:
        """Return the points of a prompt or correction, (P, 3) rows of x, y, label.

        Those of a correction that the engine has not carried out yet count already.
        """
        for job in reversed(self._workspace.corrections):
            if (job.object_id, job.frame) == (object_id, frame):
                return job.points
        return self._workspace.current_session.clicks(object_id, frame)

    def clear(self, object_id: int, frame: int | None = None) -> None:
        """Remove the object's prompts on a frame, or on all frames when `frame` is None."""
        self._workspace.current_session.clear_prompts(object_id, frame)
        self._workspace.withdraw_corrections(object_id, frame)

    @property
    def can_undo(self) -> bool:
        """Whether there may be a change to undo."""
        workspace = self._workspace
        return bool(workspace.corrections) or len(workspace.current_session.history) > 0

    def undo(self, redo: bool = False) -> bool:
        """Undo the last change of prompts, masks or marks, or redo the one that was undone.

        Tracks, imports and changes of ranges of frames can be undone too. A correction that the
        engine has not carried out yet is withdrawn.

        Returns:
            False when there is no change to undo.

        Raises:
            InputError: the last change is a track that is still in progress.
        """
        workspace = self._workspace
        if workspace.corrections and not redo:
            workspace.engine.withdraw(workspace.corrections[-1])
            return True
        tracking = workspace.engine.tracking
        if tracking is not None:
            running = tracking.undo
            if workspace.current_session.undoable(redo, running) is running:
                workspace.refuse_while_tracking()
        frame = workspace.current_session.undo(redo)
        if frame is not None:
            self._preview_if_wanted(frame)
        return frame is not None

    def load(self, path: str | Path) -> None:
        """Read objects and prompts from a prompt file, in place of the present prompts.

        Raises:
            PromptError: the file cannot be read or does not fit the video.
        """
        self._workspace.refuse_while_tracking()
        self._workspace.current_session.take_prompts(load_prompts(path))

    def save(self, path: str | Path) -> None:
        """Write a prompt file, which ``surgsam2 segment`` and the bundle read too."""
        session = self._workspace.current_session
        save_prompts(session.prompt_set(), path, session.prompts.video)

    def preview(self, frame: int | None = None, wait: bool = False) -> None:
        """Show the masks that the points and boxes of a frame give.

        Args:
            frame: index of the frame.
            wait: whether to return only when the masks are in the scene.

        Raises:
            InputError: the frame has no prompt.
            EngineError: the engine could not compute the masks and `wait` is True.
        """
        session, frame = self._workspace.current_session, self._workspace.frame_index(frame)
        prompts = session.prompt_set(frame=frame)
        if not len(prompts):
            raise InputError(
                _("there is no prompt on frame {frame}; add a point or a box").format(frame=frame)
            )
        self._workspace.submit(PreviewJob(frame, prompts, partial(show_preview, session)), wait)

    def correct(
        self,
        object_id: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
        wait: bool = False,
    ) -> None:
        """Correct a mask by clicks, so that its frame conditions the next track.

        Args:
            object_id: id of the object.
            points: (P, 3) rows of x, y, label (1 on the object, 0 outside it). They are added
                to the clicks that corrected this mask before.
            frame: index of the frame.
            wait: whether to return only when the corrected mask is in the scene.

        Raises:
            PromptError: a point is outside the frame, or the object has no mask there.
        """
        frame = self._workspace.frame_index(frame)
        rows = np.column_stack(split_points(points))
        earlier = self.clicks(object_id, frame)
        self._refine(object_id, frame, np.concatenate([earlier, rows]), wait)

    def _refine(self, object_id: int, frame: int, clicks: np.ndarray, wait: bool = False) -> None:
        session = self._workspace.current_session
        correction = session.correction(object_id, frame, clicks)

        def take(mask: np.ndarray) -> None:
            session.take_correction(object_id, frame, correction, mask)

        job = RefineJob(frame, object_id, correction.mask, correction.points, take)
        self._workspace.submit(job, wait)

    def _preview_if_wanted(self, frame: int) -> None:
        workspace = self._workspace
        if not workspace.live_preview or workspace.engine.tracking is not None:
            return
        prompts = workspace.current_session.prompts.on_frame(frame).values()
        if any(prompt.mask is None for prompt in prompts):
            self.preview(frame)
