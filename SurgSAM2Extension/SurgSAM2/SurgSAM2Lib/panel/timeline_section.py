"""The timeline of section *Video*, and changes of ranges of frames."""

from __future__ import annotations

import time

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.panel.timeline_view import TimelineView
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.session.timeline import Timeline

REBUILD_SECONDS = 1.0
"""Interval at which all states are computed again while a track is in progress."""


class TimelineSection(Section):
    """Shows the state of every object on every frame, and changes ranges of frames.

    Args:
        context: what all sections share.

    Attributes:
        selection: first and last frame of the selected range; None for the shown frame only.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.selection: tuple[int, int] | None = None
        self._timeline: Timeline | None = None
        self._of: Session | None = None
        self._rebuilt = 0.0
        self.view = TimelineView(self.ui.timelineLabel, self._show_frame, self.select)
        review = self.logic.review
        self._buttons = {
            self.ui.absentButton: lambda: review.mark_absent(*self.range, self._objects()),
            self.ui.eraseButton: lambda: review.erase(*self.range, self._objects()),
            self.ui.copyMaskButton: self._copy_masks,
            self.ui.interpolateButton: self._interpolate,
            self.ui.goodRangeButton: lambda: review.mark_good(
                range(self.range[0], self.range[1] + 1)
            ),
        }
        for button, action in self._buttons.items():
            self.on_click(button, action)
        self.logic.tracking.on_frame = self._tracked

    def select(self, first: int, last: int) -> None:
        """Select a range of frames for the buttons, and for *Only frames* of section *Track*."""
        self.selection = (first, last)
        parameters = self.context.parameters
        parameters.firstFrame, parameters.lastFrame = first, last
        self.show_frame()

    @property
    def range(self) -> tuple[int, int]:
        """The selected range; the shown frame when none is selected."""
        if self.selection is not None:
            return self.selection
        frame = self.logic.currentSession.video.current_frame
        return frame, frame

    def refresh(self) -> None:
        """Show the state of all frames."""
        session = self.session
        if session is not self._of:
            self._of, self.selection = session, None
            self._timeline = None if session is None else Timeline(session)
            if session is not None:
                self._forget_range_beyond(session.video.frame_count)
        elif self._timeline is not None and self._may_rebuild():
            self._timeline.rebuild()
        problem = "" if session is not None else _("Open or choose a video first")
        if self.logic.engine.tracking is not None:
            problem = problem or _("Tracking is in progress")
        if not self.ui.allObjectsCheckBox.checked and not self.context.selected:
            problem = problem or _("Add or select an object first")
        for button in self._buttons:
            enable(button, problem)
        self.show_frame()

    def show_frame(self) -> None:
        """Show which frame and which range are selected."""
        session = self.session
        if session is None or self._timeline is None:
            self.view.show([], [], 0, None)
            self.ui.rangeFrame.setVisible(False)
            return
        colors = {style.id: style.color for style in session.objects}
        rows = {i: row for i, row in self._timeline.rows.items() if i in colors}
        self.view.show(
            list(rows.values()),
            [colors[i] for i in rows],
            session.video.current_frame,
            self.selection,
        )
        self.ui.rangeFrame.setVisible(bool(rows))
        first, last = self.range
        text = _("Selected: frame {first}") if first == last else _("Selected: {first} to {last}")
        self.ui.rangeLabel.text = text.format(first=first, last=last)

    def _forget_range_beyond(self, frame_count: int) -> None:
        """Let *Only frames* be all frames when its range is that of another, longer video."""
        parameters = self.context.parameters
        if max(parameters.firstFrame, parameters.lastFrame) >= frame_count:
            parameters.firstFrame, parameters.lastFrame = 0, frame_count - 1
            parameters.onlyRange = False

    def _show_frame(self, frame: int) -> None:
        if self.session is not None:
            self.selection = None
            self.session.video.current_frame = frame

    def _objects(self) -> list[int] | None:
        if self.ui.allObjectsCheckBox.checked:
            return None
        return [self.context.required_object()]

    def _copy_masks(self) -> None:
        frame = self.logic.currentSession.video.current_frame
        self.logic.review.copy_masks(frame, *self.range, self._objects())

    def _interpolate(self) -> None:
        """Interpolate in the selected range, else between the prompts around the shown frame."""
        session = self.logic.currentSession
        ends = self.selection or session.between(session.video.current_frame)
        self.logic.review.interpolate(*ends, self._objects())

    def _tracked(self, frame: int) -> None:
        if self._timeline is not None and self.session is self._of:
            self._timeline.update(frame)

    def _may_rebuild(self) -> bool:
        """Return whether to rebuild now, which is not after each frame of a track."""
        now = time.monotonic()
        tracking = self.logic.engine.tracking is not None
        if tracking and now - self._rebuilt < REBUILD_SECONDS:
            return False
        self._rebuilt = now
        return True
