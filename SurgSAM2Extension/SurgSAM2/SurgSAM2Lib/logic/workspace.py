"""The state that all parts of the logic share: the scene, the video in use and the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surgsam2.errors import InputError
from surgsam2.prompts import ClassList
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.tracking.engine import Engine, EngineError
from SurgSAM2Lib.tracking.jobs import Job, RefineJob


class Workspace:
    """Holds the scene, the session of the video in use, and the engine.

    Args:
        scene: the ``vtkMRMLScene`` to work in.
        engine: the engine that carries out jobs.

    Attributes:
        session: the objects, prompts and masks of the video in use; None without a video.
        class_list: the classes for videos that have no list of their own; None for the default.
        live_preview: whether the masks of a frame are previewed when its prompts change.
        on_video: called with the sequence browser, or None, when another video is used.
        on_error: called with a text when a job failed that no caller waits for.
        on_painted: called when a mask was painted by hand or another module changed a name or a
            colour, during an event of its nodes.
        meanwhile: called repeatedly while a caller waits for a job.
    """

    def __init__(self, scene: Any, engine: Engine) -> None:
        self.scene = scene
        self.engine = engine
        self.session: Session | None = None
        self.class_list: ClassList | None = None
        self.live_preview = False
        self.on_video: Callable[[Any], None] = lambda browser: None
        self.on_error: Callable[[str], None] = lambda text: None
        self.on_painted: Callable[[], None] = lambda: None
        self.meanwhile: Callable[[], None] = lambda: None

    @property
    def current_session(self) -> Session:
        """The session of the video in use.

        Raises:
            InputError: no video is in use.
        """
        if self.session is None:
            raise InputError(_("no video is chosen; open a video first"))
        return self.session

    def frame_index(self, frame: int | None) -> int:
        """Return a checked frame index; None stands for the frame that is shown.

        Raises:
            InputError: the video has no such frame, or no video is in use.
        """
        video = self.current_session.video
        return video.current_frame if frame is None else video.check_frame(frame)

    def refuse_while_tracking(self) -> None:
        """Raise `InputError` while a track is in progress."""
        if self.engine.tracking is not None:
            raise InputError(_("tracking is in progress; wait for its end, or cancel it first"))

    @property
    def corrections(self) -> list[RefineJob]:
        """The corrections that the engine has not carried out yet, in their order."""
        return [job for job in self.engine.jobs if isinstance(job, RefineJob)]

    def withdraw_corrections(self, object_id: int, frame: int | None = None) -> None:
        """Withdraw the corrections of an object that the engine has not carried out yet.

        Args:
            object_id: id of the object.
            frame: index of the frame; None for all frames.
        """
        for job in self.corrections:
            if job.object_id == object_id and frame in (None, job.frame):
                self.engine.withdraw(job)

    def finish_corrections(self) -> None:
        """Wait until the engine has carried out all corrections; a track begins from them."""
        while self.corrections:
            self.engine.poll(0.02)
            self.meanwhile()

    def submit(self, job: Job, wait: bool) -> None:
        """Give a job to the engine.

        Args:
            job: the job. Its failure is reported to `on_error` when nobody waits for it.
            wait: whether to return only when the job has ended.

        Raises:
            EngineError: the job failed and `wait` is True.
            InputError: the engine cannot take the job now.
        """
        if not wait:
            job.on_end = lambda: self._report(job)
        self.engine.submit(job)
        if wait:
            self.wait()
            if job.status == "failed":
                raise EngineError(job.error)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is left, for at most `timeout` seconds; return whether none is."""
        self.engine.wait(timeout, self.meanwhile)
        return not self.engine.busy

    def _report(self, job: Job) -> None:
        if job.status == "failed":
            self.on_error(job.error)
