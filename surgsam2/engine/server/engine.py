"""Carries out requests, one after another; previews and corrections between two frames."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from surgsam2.engine.protocol.failures import describe, is_out_of_memory
from surgsam2.engine.protocol.messages import Message
from surgsam2.engine.protocol.serialization import (
    image_from_wire,
    mask_from_bytes,
    pack,
    prompts_from_wire,
    result_to_wire,
)
from surgsam2.engine.protocol.shared_memory import FRAME_SLOTS, LIVE_SLOTS, SharedBlock
from surgsam2.engine.server.connection import Send
from surgsam2.engine.server.job_queue import Cancelled, Job, Jobs
from surgsam2.engine.server.live_session import LiveSession, NewestFrame
from surgsam2.engine.server.outgoing import FrameSlots, MaskSlots
from surgsam2.engine.server.read_job import read_frames
from surgsam2.engine.server.remote_video import RemoteVideo
from surgsam2.engine.server.track_job import TrackJob
from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.model.pruning import EFP
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.single_frame import StillFrame
from surgsam2.video import Video, open_video

_MODEL_OPTIONS = ("config", "device", "dtype", "pruning", "compile")


class Engine:
    """One model, one video, and what is being done with them.

    Args:
        send: sends a message to the application.
        jobs: where requests come from.
        folder: for shared files.
    """

    def __init__(self, send: Send, jobs: Jobs, folder: Path) -> None:
        self._send = send
        self._jobs = jobs
        self._folder = folder
        self.masks = MaskSlots(folder, jobs.interrupted)
        self.frames = FrameSlots(folder, jobs.interrupted)
        self._video: Video | None = None
        self._video_number = 0  # the request that opened it
        self._live: LiveSession | None = None
        self._live_number = 0
        self._model: SurgSAM2Model | None = None
        self._still: StillFrame | None = None
        self._handlers: dict[str, Callable[[Job, Message], None]] = {
            "load_model": self._load_model,
            "open_video": self._open_video,
            "open_frames": self._open_frames,
            "read_frames": self._read_frames,
            "preview": self._preview,
            "refine": self._refine,
            "track": self._track,
            "start_live": self._run_live,
            "live_prompts": self._live_prompts,
            "live_remove": self._live_remove,
        }

    # from the reading thread

    def release(self, block: str, slot: int) -> None:
        """The application has read a slot of masks or of a frame."""
        self.masks.release(block, slot)
        self.frames.release(block, slot)

    def answer_frame(self, video: int, slot: int, problem: str | None) -> None:
        """The application has put a frame of video number `video` into a slot, or could not."""
        if isinstance(self._video, RemoteVideo) and video == self._video_number:
            self._video.answer(slot, problem)

    def live_frame(self, live: int, slot: int, stamp: float) -> None:
        """The application has put a frame of live session number `live` into a slot."""
        session = self._live
        if session is not None and live == self._live_number:
            session.frames.put(slot, stamp)

    # the queue

    def run(self) -> None:
        """Carry out requests for ever."""
        while True:
            self.carry_out_next()

    def carry_out_next(self) -> None:
        """Wait for a request and carry it out."""
        self._carry_out(self._jobs.take())

    def _carry_out(self, job: Job) -> None:
        try:
            self._try(job)
        finally:
            self._jobs.done(job)

    def _try(self, job: Job) -> None:
        try:
            if job.cancelled:
                raise Cancelled
            self._handlers[job.kind](job, job.message)
        except Cancelled:
            self._finish(job, "cancelled")
        except Exception as error:
            device = str(self._model.device) if self._model is not None else "this machine"
            kind, message = describe(error, device)
            self._send("failed", {"request": job.number, "kind": kind, "message": message})
            lacks_memory = is_out_of_memory(error)
            del error  # its traceback holds the tensors
            if lacks_memory:
                self._still = None
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()

    def _finish(self, job: Job, status: str, **more: Any) -> None:
        self._send("finished", {"request": job.number, "kind": job.kind, "status": status, **more})

    def _between(self, job: Job) -> None:
        """Between two frames of a long request: others that are quick, and being cancelled."""
        while (quick := self._jobs.take_quick()) is not None:
            self._carry_out(quick)
        if job.cancelled:
            raise Cancelled

    # model and video

    def _load_model(self, job: Job, message: Message) -> None:
        options = message.get("options", dict)
        if unknown := sorted(set(options) - set(_MODEL_OPTIONS)):
            raise InputError(
                f"unknown model option {unknown[0]!r}; known: {', '.join(_MODEL_OPTIONS)}"
            )
        pruning = options.get("pruning", {})
        if isinstance(pruning, dict):
            try:
                options["pruning"] = EFP(**pruning)
            except TypeError as error:
                raise InputError(f"pruning takes form and prune, got {pruning}") from error
        model = load_model(message.get("name", str), **options)
        if job.cancelled:
            raise Cancelled
        self._model, self._still = model, None
        self._send(
            "model_loaded",
            {
                "request": job.number,
                "name": model.name,
                "device": str(model.device),
                "dtype": str(model.dtype).removeprefix("torch."),
                "image_size": model.image_size,
                "trained": model.checkpoint is not None,
            },
        )

    def _open_video(self, job: Job, message: Message) -> None:
        self._use(job, open_video(message.get("path", str)))

    def _open_frames(self, job: Job, message: Message) -> None:
        width, height = message.get("width", int), message.get("height", int)
        fps, count = message.get("fps", float), message.get("frame_count", int)
        if not (math.isfinite(fps) and fps > 0 and count > 0):
            raise InputError(f"a video needs frames and a frame rate, got {count} at {fps:g} fps")
        block = SharedBlock.open(
            self._folder, message.get("block", str), FRAME_SLOTS, width * height * 3
        )
        video = RemoteVideo(
            "the application's video",
            width=width,
            height=height,
            fps=fps,
            frame_count=count,
            block=block,
            ask=lambda index, slot: self._send(
                "want", {"video": job.number, "index": index, "slot": slot}
            ),
            jobs=self._jobs,
        )
        self._use(job, video)

    def _use(self, job: Job, video: Video) -> None:
        if job.cancelled:
            video.close()
            raise Cancelled
        if self._video is not None:
            self._video.close()
        self._still = None
        self._video_number, self._video = job.number, video
        self._send(
            "video_opened",
            {
                "request": job.number,
                "source": video.source,
                "width": video.width,
                "height": video.height,
                "fps": video.fps,
                "frame_count": video.frame_count,
                "warnings": video.warnings,
            },
        )

    def _read_frames(self, job: Job, message: Message) -> None:
        video = self._opened()
        read_frames(job, video, self._send, self.frames, lambda: self._between(job))
        self._finish(job, "complete", warnings=video.warnings)

    def _ready(self) -> tuple[SurgSAM2Model, Video]:
        video = self._opened()
        return self._loaded(), video

    def _opened(self) -> Video:
        if self._video is None:
            raise InputError("no video is open; open one first")
        return self._video

    def _loaded(self) -> SurgSAM2Model:
        if self._model is None:
            raise InputError("no model is loaded; load one first")
        return self._model

    # one frame

    def _still_frame(self, index: int) -> StillFrame:
        model, video = self._ready()
        if self._still is None or self._still.frame_index != index:
            if not 0 <= index < video.frame_count:
                raise InputError(
                    f"there is no frame {index}: the video has frames 0 to {video.frame_count - 1}"
                )
            self._still = StillFrame(model, video[index], index)
        return self._still

    def _preview(self, job: Job, message: Message) -> None:
        prompts = prompts_from_wire(message)
        self._answer(
            job, "previewed", self._still_frame(message.get("frame", int)).preview(prompts)
        )

    def _refine(self, job: Job, message: Message) -> None:
        mask = mask_from_bytes(
            message.blob(0), message.get("width", int), message.get("height", int)
        )
        still = self._still_frame(message.get("frame", int))
        points = message.get("points", list)
        self._answer(job, "refined", still.refine(message.get("object_id", int), mask, points))

    def _answer(self, job: Job, type_: str, result: FrameResult) -> None:
        if job.cancelled:
            raise Cancelled
        height, width = result.masks.shape[1:]
        header = {"request": job.number, "width": width, "height": height}
        self._send(type_, header | result_to_wire(result), [pack(result.masks).tobytes()])

    # many frames

    def _track(self, job: Job, message: Message) -> None:
        track = TrackJob(job, *self._ready())
        try:
            track.carry_out(self._send, self.masks, lambda: self._between(job))
        except Cancelled:
            self._finish(job, "cancelled", **track.summary)
        else:
            self._finish(job, "complete", **track.summary)

    def _run_live(self, job: Job, message: Message) -> None:
        model = self._loaded()
        width, height = message.get("width", int), message.get("height", int)
        block = SharedBlock.open(
            self._folder, message.get("block", str), LIVE_SLOTS, width * height * 3
        )
        frames = NewestFrame(
            block, lambda slot: self._send("live_free", {"live": job.number, "slots": [slot]})
        )
        self._live_number = job.number
        self._live = session = LiveSession(model, width, height, frames)
        self._send("live_free", {"live": job.number, "slots": list(range(LIVE_SLOTS))})
        try:
            for stamp, result in session.results(lambda: self._between(job)):
                header = {"request": job.number, "stamp": stamp, "dropped": frames.dropped}
                header |= result_to_wire(result)
                self._send("live_tracked", header | self.masks.put(result))
        finally:
            self._live = None

    def _session(self) -> LiveSession:
        if self._live is None:
            raise InputError("no live session runs; start one first")
        return self._live

    def _live_prompts(self, job: Job, message: Message) -> None:
        self._session().prompt(prompts_from_wire(message), image_from_wire(message))
        self._finish(job, "complete")

    def _live_remove(self, job: Job, message: Message) -> None:
        self._session().remove(message.get("object_id", int))
        self._finish(job, "complete")
