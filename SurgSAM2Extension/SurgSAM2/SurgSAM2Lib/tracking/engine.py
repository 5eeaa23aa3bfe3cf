"""The engine process: started when it is needed, and started anew after a crash."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from surgsam2.engine import (
    ConnectionChanged,
    Died,
    EngineClient,
    Event,
    Failed,
    Finished,
    ModelLoaded,
    Ready,
    VideoOpened,
)
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.model.options import ModelOptions
from surgsam2.mrml import VideoNodes
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.tracking.jobs import Job, PreviewJob, TrackJob


class EngineError(SurgSAM2Error, RuntimeError):
    """The engine could not do a job; the message says why and what to do."""


class Engine:
    """Carries out jobs one after the other in the engine process.

    No method but `wait` blocks: `poll` is called from a timer, takes what has come, and
    sends what is next. The model and the video are loaded when a job first needs them.

    Args:
        make_client: makes an `EngineClient` that has not been started.

    Attributes:
        model_options: the model to use; a change takes effect with the next job.
        ready: the versions in the engine process; None while none runs.
        model: the model that is loaded; None while none is.
        connection: what keeps the connection to another machine waiting; empty when nothing does.
        details: the last lines that a process wrote before it ended by itself.
        on_change: called when a job was added, made progress or ended.
    """

    def __init__(self, make_client: Callable[[], EngineClient]) -> None:
        self._make_client = make_client
        self._client: EngineClient | None = None
        self._jobs: deque[Job] = deque()
        self._request: int | None = None
        self._step: Callable[[Event], bool] | None = None
        self._loaded: ModelOptions | None = None
        self._video: VideoNodes | None = None
        self._opened: VideoNodes | None = None
        self.model_options = ModelOptions()
        self.ready: Ready | None = None
        self.model: ModelLoaded | None = None
        self.connection = ""
        self.details = ""
        self.on_change: Callable[[], None] = lambda: None

    def use_video(self, video: VideoNodes | None) -> None:
        """Set the video that jobs are about; jobs about another one are cancelled."""
        if video is not self._video:
            self.cancel()
            self._video, self._opened = video, None

    def use_client(self, make_client: Callable[[], EngineClient]) -> None:
        """Use another Python environment; the process of the former one ends."""
        self.close()
        self._make_client = make_client

    @property
    def busy(self) -> bool:
        """Whether there are jobs that have not ended."""
        return bool(self._jobs)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs that have not ended, in the order in which they were added."""
        return tuple(self._jobs)

    @property
    def job(self) -> Job | None:
        """The job in progress; None when there is none."""
        return self._jobs[0] if self._jobs else None

    @property
    def tracking(self) -> TrackJob | None:
        """The track that is in progress or waiting; None when there is none."""
        return next((job for job in self._jobs if isinstance(job, TrackJob)), None)

    @property
    def loading(self) -> bool:
        """Whether the job waits for the process, the model or the video."""
        return self.busy and self._step != self._receive_for_job

    def submit(self, job: Job) -> Job:
        """Add a job; a preview replaces the previews that have not ended.

        Raises:
            InputError: there is no video, or a track is running.
        """
        self.poll()  # a process that ended in the meantime must not end this job
        if self._video is None:
            raise InputError(_("no video is chosen; open a video first"))
        if self.tracking is not None:
            raise InputError(_("tracking is in progress; wait for its end, or cancel it first"))
        if isinstance(job, PreviewJob):
            self._drop_previews()
        self._jobs.append(job)
        self._advance()
        self.on_change()
        return job

    def cancel(self) -> None:
        """Cancel all jobs; results so far stay."""
        dropped = list(self._jobs)
        self._jobs.clear()
        if self._request is not None and self._client is not None:
            self._client.cancel()
            self._forget_unfinished_loading()
        self._request = self._step = None
        for job in dropped:
            job.end("cancelled")
        self.on_change()

    def withdraw(self, job: Job) -> None:
        """Cancel one job; the others, and what they wait for, go on."""
        if job is self._jobs[0] and self._step == self._receive_for_job:
            assert self._client is not None
            self._client.cancel()
            self._request = self._step = None
        self._jobs.remove(job)
        job.end("cancelled")

    def close(self) -> None:
        """Cancel all jobs and end the process."""
        self.cancel()
        client, self._client = self._client, None
        self._forget_process()
        if client is not None:
            client.close()

    def poll(self, timeout: float = 0.0) -> None:
        """Take the events that have come; wait at most `timeout` seconds for the first."""
        if self._client is None:
            return
        for event in self._client.poll(timeout):
            self._take(event)
        self._advance()

    def wait(
        self, timeout: float | None = None, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Poll until all jobs have ended, or for `timeout` seconds.

        Args:
            timeout: seconds; None for no limit.
            meanwhile: called repeatedly, such as for Slicer's own events.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.busy and (end is None or time.monotonic() < end):
            self.poll(0.02)
            meanwhile()

    def _take(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.ready = event
        elif isinstance(event, ConnectionChanged):
            self.connection = "" if event.state == "connected" else event.message
        elif isinstance(event, Died):
            self._died(event)
        elif isinstance(event, Failed) and event.request in (None, self._request):
            self._end_job("failed", event.message)
        elif self._step is not None and getattr(event, "request", None) == self._request:
            self._take_for_request(event)
        self.on_change()

    def _take_for_request(self, event: Event) -> None:
        assert self._step is not None
        if isinstance(event, Finished):
            self._finished(event)
            return
        try:
            if self._step(event):
                self._request = self._step = None
        except SurgSAM2Error as error:  # nodes may have been deleted meanwhile
            if self._client is not None:
                self._client.cancel()
            self._end_job("failed", str(error))

    def _finished(self, event: Finished) -> None:
        if event.status != "complete" or event.done >= event.total:
            self._end_job(event.status)
            return
        text = _(
            "The video ended early: only {done} of {total} frames could be read ({reason}). "
            "What was segmented is kept."
        )
        assert self._video is not None  # every job is about a video
        reason = "; ".join([str(self._video.file or self._video.name), *event.warnings])
        text = text.format(done=event.done, total=event.total, reason=reason)
        self._end_job("failed", text)

    def _receive_for_job(self, event: Event) -> bool:
        job = self._jobs[0]
        if job.receive(event):
            self._end_job("complete")
        return False

    def _receive_model(self, event: Event) -> bool:
        if isinstance(event, ModelLoaded):
            self.model = event
            return True
        return False

    def _receive_video(self, event: Event) -> bool:
        return isinstance(event, VideoOpened)

    def _end_job(self, status: Any, error: str = "") -> None:
        if status != "complete":
            self._forget_unfinished_loading()
        self._request = self._step = None
        if self._jobs:
            self._jobs.popleft().end(status, error)

    def _died(self, event: Died) -> None:
        self._forget_process()
        self.details = event.stderr_tail
        text = _(
            "The engine stopped unexpectedly (exit code {code}), often because memory ran out. "
            "Everything so far is kept. Try again: the engine starts anew. If it happens again, "
            "choose a smaller model or a smaller picture."
        ).format(code=event.exit_code)
        failed, self._jobs = list(self._jobs), deque()
        for job in failed:
            job.end("failed", text)

    def _advance(self) -> None:
        """Send what the next job needs, unless a request is in progress."""
        if not self._jobs or self._request is not None:
            return
        client = self._running_client()
        video = self._video
        assert video is not None
        if self._loaded != self.model_options:
            self.model, self._loaded = None, self.model_options
            self._step = self._receive_model
            self._request = client.load_model(self.model_options)
        elif self._opened is not video:
            self._opened = video
            self._step = self._receive_video
            if video.file is not None:  # the engine process reads the file itself
                self._request = client.open_video(video.file)
            else:
                self._request = client.open_frames(
                    video.frame_count, video.width, video.height, video.fps, video.frame
                )
        else:
            self._send_job(self._jobs[0], client)

    def _send_job(self, job: Job, client: EngineClient) -> None:
        job.status, self._step = "running", self._receive_for_job
        try:
            self._request = job.send(client)
        except SurgSAM2Error as error:  # the client refused the request
            self._end_job("failed", str(error))

    def _running_client(self) -> EngineClient:
        if self._client is None:
            self._client = self._make_client()
        if not self._client.alive:
            self._forget_process()
            self._client.restart()
        return self._client

    def _drop_previews(self) -> None:
        for job in self.jobs:
            if isinstance(job, PreviewJob):
                self.withdraw(job)

    def _forget_unfinished_loading(self) -> None:
        """Let the next job load again what was being loaded."""
        if self._step == self._receive_model:
            self._loaded = None
        elif self._step == self._receive_video:
            self._opened = None

    def _forget_process(self) -> None:
        self.ready = self.model = self._loaded = self._opened = None
        self.connection = ""
        self._request = self._step = None
