"""The logic's functions for prompts and corrections, for the panel and the Python console."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from surgsam2.errors import InputError
from surgsam2.prompts import Prompt, load_prompts, save_prompts
from surgsam2.prompts.checks import split_points
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session_calls import SessionCalls
from SurgSAM2Lib.tracking.jobs import PreviewJob, RefineJob


class PromptCalls(SessionCalls):
    """Part of `LogicCore`. A refused call leaves everything as it was."""

    def addPoint(
        self, objectId: int, x: float, y: float, positive: bool = True, frame: int | None = None
    ) -> None:
        """A point on the object, or with `positive` False one outside it."""
        frame = self._frame(frame)
        self.currentSession.add_point(objectId, frame, x, y, positive)
        self._preview_if_live(frame)

    def setBox(self, objectId: int, box: Sequence[float], frame: int | None = None) -> None:
        """The box [x0, y0, x1, y1] around the object."""
        frame = self._frame(frame)
        self.currentSession.set_box(objectId, frame, box)
        self._preview_if_live(frame)

    def setMask(
        self, objectId: int, mask: np.ndarray | None = None, frame: int | None = None
    ) -> None:
        """A mask of the object, (H, W); None takes what was painted in Segment Editor."""
        self.currentSession.set_mask(objectId, self._frame(frame), mask)

    def setPrompt(self, objectId: int, prompt: Prompt) -> None:
        """Points and box at once, in place of those on the prompt's frame."""
        self.currentSession.set_prompt(objectId, prompt)
        self._preview_if_live(prompt.frame)

    def setClicks(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
    ) -> None:
        """All points of an object on a frame, as clicked in a view.

        Where the object was tracked or painted they correct its mask, else they are a
        prompt, together with the box that is there.

        Args:
            points: rows of x, y, label (1 belongs to the object, 0 does not); none at all
                clears the frame.
        """
        session, frame = self.currentSession, self._frame(frame)
        rows = np.column_stack(split_points(points))
        prompt = session.prompts.get(objectId, frame)
        box = None if prompt is None else prompt.box
        if not len(rows) and box is None:
            self.clearPrompts(objectId, frame)
        elif session.corrects(objectId, frame):
            self._refine(objectId, frame, rows)
        else:
            self.setPrompt(objectId, Prompt(frame, rows[:, :2], rows[:, 2], box))

    def clearPrompts(self, objectId: int, frame: int | None = None) -> None:
        """Remove the object's prompts on this frame, or with None on all frames."""
        self.currentSession.clear_prompts(objectId, frame)

    def undo(self) -> bool:
        """Take the last change of prompts or corrections back; False when there is none."""
        frame = self.currentSession.undo()
        if frame is not None:
            self._preview_if_live(frame)
        return frame is not None

    def loadPrompts(self, path: str | Path) -> None:
        """Objects and prompts from a prompt file, in place of the present prompts."""
        self._refuse_while_tracking()
        self.currentSession.take_prompts(load_prompts(path))

    def savePrompts(self, path: str | Path) -> None:
        """Write a prompt file, which `surgsam2 segment` and the bundle read too."""
        save_prompts(self.currentSession.prompt_set(), path, self.currentSession.prompts.video)

    def preview(self, frame: int | None = None, wait: bool = False) -> None:
        """Show the masks that the points and boxes of a frame give."""
        session, frame = self.currentSession, self._frame(frame)
        prompts = session.prompt_set(frame=frame)
        if not len(prompts):
            raise InputError(
                _("there is no prompt on frame {frame}; add a point or a box").format(frame=frame)
            )
        self._submit(PreviewJob(frame, prompts, session.show_preview), wait)

    def correct(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
        wait: bool = False,
    ) -> None:
        """Correct a mask by clicks: it becomes a conditioning frame for tracking again.

        Args:
            points: rows of x, y, label (1 belongs to the object, 0 does not). They add to
                the clicks that corrected this mask before.
        """
        frame = self._frame(frame)
        rows = np.column_stack(split_points(points))
        clicks = np.concatenate([self.currentSession.clicks(objectId, frame), rows])
        self._refine(objectId, frame, clicks, wait)

    # inside

    def _refine(self, object_id: int, frame: int, clicks: np.ndarray, wait: bool = False) -> None:
        session = self.currentSession
        correction = session.correction(object_id, frame, clicks)

        def take(mask: np.ndarray) -> None:
            session.take_correction(object_id, frame, correction, mask)

        job = RefineJob(frame, object_id, correction.mask, correction.points, take)
        self._submit(job, wait)

    def _preview_if_live(self, frame: int) -> None:
        session = self.currentSession
        if not self.livePreview or self.engine.tracking is not None:
            return
        if any(prompt.mask is None for prompt in session.prompts.on_frame(frame).values()):
            self.preview(frame)
