"""Section *Correct and track again*."""

from __future__ import annotations

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.section import Section, enable


class CorrectSection(Section):
    """From a corrected frame on, back, or between two of them; and frames to be kept."""

    def connect(self) -> None:
        self.on_click(self.ui.previousPromptButton, lambda: self.jump(-1))
        self.on_click(self.ui.nextPromptButton, lambda: self.jump(1))
        self.on_click(self.ui.trackForwardButton, self.forward)
        self.on_click(self.ui.trackBackwardButton, self.backward)
        self.on_click(self.ui.trackBetweenButton, self.between)
        self.on_click(self.ui.goodButton, self.toggle_good)

    def jump(self, step: int) -> None:
        """To the next prompted or corrected frame, or with -1 to the one before."""
        session = self.logic.currentSession
        here = session.video.current_frame
        frames = sorted({*session.prompts.frames(), *session.edited})
        target = next((f for f in frames[::step] if (f - here) * step > 0), None)
        if target is not None:
            session.video.current_frame = target

    def forward(self) -> None:
        self.panel.tracking.start(self.logic.trackFrom, direction="forward")

    def backward(self) -> None:
        self.panel.tracking.start(self.logic.trackFrom, direction="backward")

    def between(self) -> None:
        self.panel.tracking.start(self.logic.trackBetween)

    def toggle_good(self) -> None:
        session = self.logic.currentSession
        frame = session.video.current_frame
        self.logic.markGood(frame, frame not in session.good)

    def refresh(self) -> None:
        problem = self.panel.tracking.problem()
        for button in (
            self.ui.trackForwardButton,
            self.ui.trackBackwardButton,
            self.ui.trackBetweenButton,
        ):
            enable(button, problem)
        self.show_frame()

    def show_frame(self) -> None:
        """What is known of this frame; called on each change of frame."""
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
