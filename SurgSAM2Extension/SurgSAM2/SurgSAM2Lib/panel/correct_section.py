"""The panel's section *Correct and track again*, for results that are partly wrong."""

from __future__ import annotations

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.panel.tracking_section import TrackingSection


class CorrectSection(Section):
    """Tracks again from a corrected frame, and protects frames that are good.

    Args:
        context: what all sections share.
        tracking: the section that starts tracks.
    """

    def __init__(self, context: PanelContext, tracking: TrackingSection) -> None:
        super().__init__(context)
        self._tracking = tracking
        actions = self.logic.tracking
        self._retrack_buttons = {
            self.ui.trackForwardButton: lambda: tracking.start_from("forward"),
            self.ui.trackBackwardButton: lambda: tracking.start_from("backward"),
            self.ui.trackBetweenButton: lambda: tracking.start(
                lambda *what: actions.track_between(None, *what)
            ),
        }
        for button, action in self._retrack_buttons.items():
            self.on_click(button, action)
        self.on_click(self.ui.previousPromptButton, lambda: self.jump(-1))
        self.on_click(self.ui.nextPromptButton, lambda: self.jump(1))
        self.on_click(self.ui.goodButton, self.toggle_good)

    def jump(self, step: int) -> None:
        """Show the next prompted or corrected frame, or with -1 the one before."""
        session = self.logic.currentSession
        here = session.video.current_frame
        frames = sorted({*session.prompts.frames(), *session.edited})
        target = next((f for f in frames[::step] if (f - here) * step > 0), None)
        if target is not None:
            session.video.current_frame = target

    def toggle_good(self) -> None:
        """Mark the shown frame as good, or remove its mark."""
        session = self.logic.currentSession
        frame = session.video.current_frame
        self.logic.review.mark_good(frame, frame not in session.good)

    def refresh(self) -> None:
        """Show whether tracking can start, and what is known of the frame."""
        problem = self._tracking.problem()
        for button in self._retrack_buttons:
            enable(button, problem)
        self.show_frame()

    def show_frame(self) -> None:
        """Show what is known of the frame; called whenever another frame is shown."""
        session = self.session
        enable(self.ui.goodButton, "" if session else _("Open or choose a video first"))
        if session is None:
            self.ui.correctLabel.text = ""
            return
        frame = session.video.current_frame
        self.ui.goodButton.checked = frame in session.good
        parts = []
        if len(session.edited):
            frames = ", ".join(str(f) for f in list(session.edited)[:10])
            parts.append(_("Painted and not used yet: frame {frames}.").format(frames=frames))
        if len(session.good):
            parts.append(_("Good frames: {count}.").format(count=len(session.good)))
        self.ui.correctLabel.text = " ".join(parts)
