"""The prompts of the selected object on the shown frame, placed and changed as markups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from SurgSAM2Lib.logic.prompts import PromptActions
from SurgSAM2Lib.panel.context import PanelContext, later
from SurgSAM2Lib.prompts.kinds import COLORS, LASSO, SCRIBBLE
from SurgSAM2Lib.prompts.markups import PromptMarkups
from SurgSAM2Lib.prompts.place_mode import stop_placing


class PromptPlacing:
    """Shows prompts as markups, and makes prompts of the markups that the user changes.

    Args:
        context: what the panel's sections share.
    """

    def __init__(self, context: PanelContext) -> None:
        self._context = context
        self.markups = PromptMarkups(
            slicer.mrmlScene,
            on_points=self._take_points,
            on_box=self._take_box,
            on_stroke=self._take_stroke,
            on_refusal=lambda text: later(lambda: self._refuse(text)),
        )

    def place(self, kind: str, on: bool) -> None:
        """Make the next clicks in a view prompts of a kind, or end that."""
        if on and self._context.selected:
            self.markups.start_placing(kind)
        else:
            stop_placing(slicer.mrmlScene)
        self._context.refresh_later()

    def is_placing(self, kind: str) -> bool:
        """Return whether the next click in a view is a prompt of this kind."""
        return self.markups.is_placing(kind)

    def mode_changed(self) -> None:
        """React to the beginning or end of placing, whatever caused it."""
        if not any(self.is_placing(kind) for kind in COLORS):
            later(self.markups.placing_ended)
        self._context.refresh_later()

    def show(self) -> None:
        """Show the prompts of the selected object on the shown frame."""
        session, selected = self._context.logic.session, self._context.selected
        if session is None or not selected:
            self.markups.show(None, np.zeros((0, 3)), None)
            return
        frame = session.video.current_frame
        prompt = session.prompts.get(selected, frame)
        clicks = self._context.logic.prompts.clicks(selected, frame)
        self.markups.show(session.video, clicks, None if prompt is None else prompt.box)

    def stop(self) -> None:
        """End placing."""
        stop_placing(slicer.mrmlScene)

    def forget(self) -> None:
        """Remove the markups from the scene."""
        self.markups.forget()

    def _take_points(self, points: np.ndarray) -> None:
        self._take(lambda prompts, object_id, frame: prompts.set_clicks(object_id, points, frame))

    def _take_box(self, box: list[float]) -> None:
        self._take(lambda prompts, object_id, frame: prompts.set_box(object_id, box, frame))

    def _take_stroke(self, kind: str, line: np.ndarray) -> None:
        if kind == LASSO:  # one outline is all that a frame needs
            later(self.stop)

        def add(prompts: PromptActions, object_id: int, frame: int) -> None:
            if kind == LASSO:
                prompts.set_lasso(object_id, line, frame)
            else:
                prompts.add_scribble(object_id, line, kind == SCRIBBLE, frame)

        self._take(add)

    def _take(self, action: Callable[[PromptActions, int, int], None]) -> None:
        """Change prompts when Slicer is idle, of the object and frame that were marked.

        A video that plays, or a user in a hurry, may show another frame before that.
        """
        context, session = self._context, self._context.logic.session
        if session is None or context.browser is None:  # its nodes were deleted
            return
        object_id, frame = context.selected, session.video.current_frame

        def act() -> None:
            if context.logic.session is session:
                action(context.logic.prompts, object_id or context.required_object(), frame)

        later(lambda: context.run(act))

    def _refuse(self, text: str) -> Any:
        self.show()
        self._context.show_error(text)
