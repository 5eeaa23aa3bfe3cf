"""Carries out requests, one after another; quick ones also between two frames of a long one."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import closing
from typing import Any, Protocol

import numpy as np
import torch

from surgsam2.engine.protocol.events import (
    Failed,
    Finished,
    FrameRead,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Refined,
    VideoOpened,
)
from surgsam2.engine.protocol.messages import Message, Request, wire_name
from surgsam2.engine.protocol.requests import (
    Chunk,
    FrameGiven,
    FrameWanted,
    LiveCredit,
    LiveFrame,
    LivePicture,
    LivePrompts,
    LiveRemove,
    LoadModel,
    OpenFrames,
    OpenUpload,
    OpenVideo,
    Preview,
    ReadFrames,
    Refine,
    StartLive,
    Track,
)
from surgsam2.engine.server.application_video import ApplicationVideo
from surgsam2.engine.server.failures import describe
from surgsam2.engine.server.live_session import LIVE_FRAMES, LiveSession, NewestFrame
from surgsam2.engine.server.remote_files import RemoteFiles
from surgsam2.engine.server.request_queue import Cancelled, QueuedRequest, RequestQueue
from surgsam2.engine.server.step_trackers import StepTrackers
from surgsam2.engine.server.track import TrackExecution
from surgsam2.errors import InputError, is_out_of_memory
from surgsam2.model.build import SurgSAM2Model
from surgsam2.tracking.single_frame import StillFrame
from surgsam2.video import Video, open_video


class Send(Protocol):
    """Sends a message to the application; see `Connection.send`."""

    def __call__(self, message: Message, unwanted: Callable[[], bool] = ...) -> bool:
        """Send a message; return False when `unwanted` became true first."""


class Engine:
    """Holds one model and one video, and carries out requests about them.

    Args:
        send: sends a message to the application.
        requests: where requests come from.
        remote: what an application on another machine may use; None for one on this machine,
            which may name any file.
    """

    def __init__(
        self, send: Send, requests: RequestQueue, remote: RemoteFiles | None = None
    ) -> None:
        self._send = send
        self._requests = requests
        self._remote = remote
        self._video: Video | None = None
        self._video_number = 0  # number of the request that opened it
        self._live: LiveSession | None = None
        self._live_number = 0
        self._model: SurgSAM2Model | None = None
        self._still: StillFrame | None = None
        self._trackers = StepTrackers(self._loaded_model, send)
        self._handlers: dict[type[Request], Callable[[QueuedRequest, Any], None]] = {
            LoadModel: self._load_model,
            OpenVideo: self._open_video,
            OpenFrames: self._open_frames,
            OpenUpload: self._open_upload,
            ReadFrames: self._read_frames,
            Preview: self._preview,
            Refine: self._refine,
            Track: self._track,
            StartLive: self._run_live,
            LivePrompts: self._live_prompts,
            LiveRemove: self._live_remove,
            **self._trackers.handlers,
        }

    # called by the reading thread

    def take(self, frame: FrameGiven | LiveFrame | LivePicture | Chunk) -> None:
        """Take data from the application; those that nobody waits for are dropped.

        Raises:
            InputError: a live frame has another size than the session, or is damaged.
        """
        if isinstance(frame, LivePicture):
            if self._remote is None:
                raise InputError("an application on this machine must send frames as they are")
            frame = LiveFrame(frame.live, frame.stamp, self._remote.decode(frame.data))
        video, session = self._video, self._live
        if isinstance(frame, Chunk):
            if self._remote is not None:
                self._remote.give(frame)
        elif isinstance(frame, LiveFrame):
            if session is not None and frame.live == self._live_number:
                session.frames.put(frame.image, frame.stamp)
        elif isinstance(video, ApplicationVideo) and frame.video == self._video_number:
            video.give(frame)

    # called by the main thread

    def use(self, model: SurgSAM2Model | None = None, video: Video | None = None) -> None:
        """Use a model or a video that is loaded or open already, in place of the former one."""
        self._still = None
        if model is not None:
            self._model = model
            self._trackers.clear()
        if video is not None:
            if self._video is not None:
                self._video.close()
            self._video = video

    def run(self) -> None:
        """Carry out requests; never returns."""
        while True:
            self.carry_out_next()

    def carry_out_next(self) -> None:
        """Wait for a request and carry it out."""
        self._carry_out(self._requests.take())

    def _carry_out(self, queued: QueuedRequest) -> None:
        try:
            queued.check()
            self._handlers[type(queued.request)](queued, queued.request)
        except Cancelled:
            self._finish(queued, cancelled=True)
        except Exception as error:
            device = str(self._model.device) if self._model is not None else "this machine"
            kind, text = describe(error, device)
            self._send(Failed(queued.number, self._without_paths(text), kind))
            lacks_memory = is_out_of_memory(error)
            del error  # its traceback holds the tensors
            if lacks_memory:
                self._free_memory()
        finally:
            self._requests.done(queued)

    def _free_memory(self) -> None:
        self._still = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _finish(
        self, queued: QueuedRequest, *, cancelled: bool = False, warnings: tuple[str, ...] = ()
    ) -> None:
        status = "cancelled" if cancelled else "complete"
        kind = wire_name(type(queued.request))
        self._send(Finished(queued.number, kind, status, warnings=warnings))  # type: ignore[arg-type]

    def _between(self, queued: QueuedRequest) -> None:
        """Carry out quick requests between two frames of a long one, and notice a cancel."""
        while (quick := self._requests.take_quick()) is not None:
            self._carry_out(quick)
        queued.check()

    def _send_for(self, queued: QueuedRequest, message: Message) -> None:
        """Send an event of a request that is still wanted; raise `Cancelled` otherwise."""
        queued.check()
        if not self._send(message, self._requests.interrupted):
            raise Cancelled

    # model and video

    def _load_model(self, queued: QueuedRequest, request: LoadModel) -> None:
        options = request.options
        model = (options if self._remote is None else self._remote.model(options)).load()
        queued.check()
        self.use(model=model)
        loaded = ModelLoaded(
            queued.number,
            name=model.name,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            image_size=model.image_size,
            trained=model.checkpoint is not None,
            weights=None if self._remote is None else model.weights_sha256,
        )
        self._send(loaded)

    def _open_video(self, queued: QueuedRequest, request: OpenVideo) -> None:
        if self._remote is not None:
            raise InputError("an application on another machine must send the video")
        self._use_video(queued, open_video(request.path))

    def _open_upload(self, queued: QueuedRequest, request: OpenUpload) -> None:
        if self._remote is None:
            raise InputError("an application on this machine must name the video")
        path = self._remote.receive(request, self._send, queued.check)
        self._use_video(queued, open_video(path))

    def _without_paths(self, text: str) -> str:
        """Return a text that names no place of this machine to an application on another."""
        return text if self._remote is None else self._remote.without_paths(text)

    def _warnings(self, video: Video) -> tuple[str, ...]:
        return tuple(map(self._without_paths, video.warnings))

    def _open_frames(self, queued: QueuedRequest, request: OpenFrames) -> None:
        fps, count = request.fps, request.frame_count
        if not (math.isfinite(fps) and fps > 0 and count > 0):
            raise InputError(f"a video needs frames and a frame rate, got {count} at {fps:g} fps")

        def ask(ticket: int, index: int) -> None:
            self._send(FrameWanted(queued.number, ticket, index))

        self._use_video(queued, ApplicationVideo(request, ask, self._requests))

    def _use_video(self, queued: QueuedRequest, video: Video) -> None:
        if queued.cancelled:
            video.close()
            raise Cancelled
        self.use(video=video)
        self._video_number = queued.number
        opened = VideoOpened(
            queued.number,
            source=self._without_paths(video.source),
            width=video.width,
            height=video.height,
            fps=video.fps,
            frame_count=video.frame_count,
            warnings=self._warnings(video),
        )
        self._send(opened)

    def _read_frames(self, queued: QueuedRequest, request: ReadFrames) -> None:
        video = self._opened_video()
        frames = video.sampled(request.start, request.stop, request.stride, request.scale)
        times = video.timestamps
        with closing(frames):
            for index, frame in frames:
                self._between(queued)
                stamp = float(times[index])
                self._send_for(queued, FrameRead(queued.number, index, stamp, frame))
        queued.check()  # the application's own frames end early after a cancel
        self._finish(queued, warnings=self._warnings(video))

    def _opened_video(self) -> Video:
        if self._video is None:
            raise InputError("no video is open; open one first")
        return self._video

    def _loaded_model(self) -> SurgSAM2Model:
        if self._model is None:
            raise InputError("no model is loaded; load one first")
        return self._model

    # one frame

    def _still_frame(self, index: int) -> StillFrame:
        video = self._opened_video()
        model = self._loaded_model()
        if self._still is None or self._still.frame_index != index:
            if not 0 <= index < video.frame_count:
                raise InputError(
                    f"there is no frame {index}: the video has frames 0 to {video.frame_count - 1}"
                )
            self._still = StillFrame(model, video[index], index)
        return self._still

    def _preview(self, queued: QueuedRequest, request: Preview) -> None:
        result = self._still_frame(request.frame).preview(request.prompts)
        queued.check()
        ids = result.object_ids
        previewed = Previewed(
            queued.number,
            result.frame_index,
            dict(zip(ids, result.masks, strict=True)),
            dict(zip(ids, result.iou_scores.tolist(), strict=True)),
            dict(zip(ids, result.presence.tolist(), strict=True)),
        )
        self._send(previewed)

    def _refine(self, queued: QueuedRequest, request: Refine) -> None:
        still = self._still_frame(request.frame)
        result = still.refine(request.object_id, request.mask, np.array(request.points))
        queued.check()
        refined = Refined(
            queued.number,
            result.frame_index,
            result.object_ids[0],
            result.masks[0],
            float(result.iou_scores[0]),
            float(result.presence[0]),
        )
        self._send(refined)

    # many frames

    def _track(self, queued: QueuedRequest, request: Track) -> None:
        video = self._opened_video()
        track = TrackExecution(request, self._loaded_model(), video)
        try:
            track.run(
                lambda message: self._send_for(queued, message), lambda: self._between(queued)
            )
        except Cancelled:
            self._send(track.finished(cancelled=True, warnings=self._warnings(video)))
        else:
            self._send(track.finished(cancelled=False, warnings=self._warnings(video)))

    def _run_live(self, queued: QueuedRequest, request: StartLive) -> None:
        model = self._loaded_model()

        def credit(frames: int = 1) -> None:
            self._send(LiveCredit(queued.number, frames))

        newest = NewestFrame(request.width, request.height, credit)
        self._live_number = queued.number
        size = request.width, request.height
        self._live = session = LiveSession(model, *size, newest, request.options)
        credit(LIVE_FRAMES)
        try:
            for stamp, result in session.results(lambda: self._between(queued)):
                event = LiveTracked(queued.number, stamp, result, newest.dropped)
                self._send_for(queued, event)
        finally:
            self._live = None

    def _live_session(self) -> LiveSession:
        if self._live is None:
            raise InputError("no live session runs; start one first")
        return self._live

    def _live_prompts(self, queued: QueuedRequest, request: LivePrompts) -> None:
        self._live_session().prompt(request.prompts, request.image)
        self._finish(queued)

    def _live_remove(self, queued: QueuedRequest, request: LiveRemove) -> None:
        self._live_session().remove(request.object_id)
        self._finish(queued)
