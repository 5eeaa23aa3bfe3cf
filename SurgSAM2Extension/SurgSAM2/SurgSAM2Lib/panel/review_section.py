"""The panel's section *Review*: finding the frames of a long result that are wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from surgsam2.results.review import JointStretch, joint_stretches
from surgsam2.results.thresholds import Thresholds
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.doubtful_table import DoubtfulTable
from SurgSAM2Lib.panel.review_plot import ReviewPlot
from SurgSAM2Lib.panel.section import Section, enable

CHARTS = (None, "scores", "areas")
"""Charts in the order of the combo box; None shows none."""
PUBLISH_SECONDS = 1.0
"""Interval at which tables and plot follow a track in progress."""


class ReviewSection(Section):
    """Shows doubtful stretches in a table and a plot, and moves between them.

    Args:
        context: what all sections share.
        ui: the widgets of the section's ``.ui`` file.
    """

    def __init__(self, context: PanelContext, ui: Any) -> None:
        super().__init__(context, ui)
        self._published = 0.0
        self.table = DoubtfulTable(self.ui.doubtfulTable, self._go_to)
        self.plot = ReviewPlot(self._points_selected)
        self._spin_boxes = {
            "low_iou": self.ui.lowIouSpinBox,
            "area_factor": self.ui.areaFactorSpinBox,
            "position_jump": self.ui.positionJumpSpinBox,
        }
        for name, box in self._spin_boxes.items():
            box.connect("valueChanged(double)", lambda value, name=name: self._limit(name, value))
        self.ui.plotComboBox.connect("activated(int)", self._plot_chosen)
        self.on_click(self.ui.previousDoubtfulButton, lambda: self.jump(-1))
        self.on_click(self.ui.nextDoubtfulButton, lambda: self.jump(1))
        self.on_click(self.ui.stretchGoodButton, lambda: self.mark_stretch(good=True))
        self.on_click(self.ui.stretchBadButton, lambda: self.mark_stretch(good=False))
        self.on_click(self.ui.badFrameButton, self.toggle_bad)

    def jump(self, step: int) -> None:
        """Show the next doubtful stretch, or with -1 the one before."""
        session = self.logic.currentSession
        target = session.review.next_doubtful(step)
        if target is not None:
            session.video.current_frame = target

    def mark_stretch(self, good: bool) -> None:
        """Mark all frames of the selected row as good, or as bad."""
        stretch = self.table.selected
        if stretch is not None:
            (self.logic.review.mark_good if good else self.logic.review.mark_bad)(stretch.frames)

    def toggle_bad(self) -> None:
        """Mark the shown frame as bad, or remove its mark."""
        session = self.logic.currentSession
        frame = session.video.current_frame
        self.logic.review.mark_bad(frame, frame not in session.bad)

    def _go_to(self, stretch: JointStretch) -> None:
        session = self.session
        if session is not None and session.video.current_frame not in stretch:
            session.video.current_frame = stretch.first

    def _points_selected(self, points: list[tuple[str, int]]) -> None:
        session = self.session
        if session is None:
            return
        frames = [session.review.nodes.frame_of(series, row) for series, row in points]
        frame = next((frame for frame in frames if frame is not None), None)
        if frame is not None:
            session.video.current_frame = frame

    def _limit(self, name: str, value: float) -> None:
        session = self.session
        if session is not None and getattr(session.review.thresholds, name) != value:
            changed: dict[str, Any] = {name: value}
            session.review.thresholds = replace(session.review.thresholds, **changed)
            self.context.refresh_later()

    def _plot_chosen(self, index: int) -> None:
        self.context.run(lambda: self._show_plot(CHARTS[index]))

    def _show_plot(self, name: str | None) -> None:
        review = None if self.session is None else self.session.review
        if review is not None and name is not None:
            review.publish()
        chart = None if review is None or name is None else review.nodes.chart(name)
        self.plot.show(chart)
        if chart is None:
            self.ui.plotComboBox.currentIndex = 0

    def refresh(self) -> None:
        """Show the stretches, the limits and the plot."""
        session = self.session
        no_video = "" if session is not None else _("Open or choose a video first")
        for widget in (self.ui.plotComboBox, self.ui.badFrameButton, *self._spin_boxes.values()):
            enable(widget, no_video)
        if session is None:
            self.table.show([], [])
            self.ui.reviewLabel.text = ""
            self._enable_steps(_("Open or choose a video first"))
            return
        if self._may_publish():
            session.review.publish()
            self.table.show(joint_stretches(session.review.stretches), list(session.objects))
            self._show_summary()
            self._follow_video()
        self._show_limits(session.review.thresholds)
        self.show_frame()

    def show_frame(self) -> None:
        """Select the row and move the line in the plot; called when another frame is shown."""
        session = self.session
        if session is None:
            return
        frame = session.video.current_frame
        self.table.show_frame(frame)
        self.ui.badFrameButton.checked = frame in session.bad
        chosen = self.table.selected is not None
        for button in (self.ui.stretchGoodButton, self.ui.stretchBadButton):
            enable(button, "" if chosen else _("Select a row first"))
        if self.plot.shown:
            session.review.nodes.mark(frame)

    def _follow_video(self) -> None:
        """Show the chart of the video in use in the plot."""
        name = CHARTS[self.ui.plotComboBox.currentIndex]
        chart = None if name is None else self.logic.currentSession.review.nodes.chart(name)
        if chart is not None and self.plot.shown:
            self.plot.show(chart)

    def _may_publish(self) -> bool:
        """Return whether to publish now, which is not after each frame of a track."""
        now = time.monotonic()
        if self.logic.engine.tracking is not None and now - self._published < PUBLISH_SECONDS:
            return False
        self._published = now
        return True

    def _show_summary(self) -> None:
        session = self.logic.currentSession
        stretches = joint_stretches(session.review.stretches)
        frames = len({frame for stretch in stretches for frame in stretch.frames})
        if stretches:
            text = _("Doubtful stretches: {count} ({frames} of {total} frames)").format(
                count=len(stretches), frames=frames, total=session.video.frame_count
            )
        elif session.review.measurements.object_ids:
            text = _("Nothing is doubtful")
        else:
            text = _("Nothing was tracked yet")
        self.ui.reviewLabel.text = text
        self._enable_steps("" if stretches else text)

    def _enable_steps(self, problem: str) -> None:
        enable(self.ui.previousDoubtfulButton, problem)
        enable(self.ui.nextDoubtfulButton, problem)

    def _show_limits(self, thresholds: Thresholds) -> None:
        for name, box in self._spin_boxes.items():
            if box.value != getattr(thresholds, name):
                box.blockSignals(True)
                box.value = getattr(thresholds, name)
                box.blockSignals(False)
