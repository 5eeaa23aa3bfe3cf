"""What all of the logic's functions for a recorded video build on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surgsam2.errors import InputError
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.tracking.engine import Engine, EngineError
from SurgSAM2Lib.tracking.jobs import Job


class SessionCalls:
    """Part of `LogicCore`: the session, and jobs with or without waiting."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.session: Session | None = None
        """What was made for the video; None without a video."""
        self.livePreview = False
        """Show the mask of a frame whenever its prompts change."""
        self.onVideo: Callable[[Any], None] = lambda browserNode: None
        """Called with the sequence browser, or None, when another video is worked on."""
        self.onError: Callable[[str], None] = lambda text: None
        """Called with a text when something failed that nobody waits for."""

    @property
    def currentSession(self) -> Session:
        """What was made for the video; `InputError` without a video."""
        if self.session is None:
            raise InputError(_("no video is chosen; open a video first"))
        return self.session

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is running, at most `timeout` seconds; whether that is so."""
        self.engine.wait(timeout, self._meanwhile)
        return not self.engine.busy

    # inside

    def _frame(self, frame: int | None) -> int:
        video = self.currentSession.video
        return video.current_frame if frame is None else video.check_frame(frame)

    def _refuse_while_tracking(self) -> None:
        if self.engine.tracking is not None:
            raise InputError(_("tracking is in progress; wait for its end, or cancel it first"))

    def _submit(self, job: Job, wait: bool) -> None:
        if not wait:
            job.on_end = lambda: self._report(job)
        self.engine.submit(job)
        if wait:
            self.wait()
            if job.status == "failed":
                raise EngineError(job.error)

    def _report(self, job: Job) -> None:
        if job.status == "failed":
            self.onError(job.error)

    def _meanwhile(self) -> None:
        """Between two looks at the engine while waiting; Slicer handles its own events here."""
