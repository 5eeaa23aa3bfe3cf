"""Frames of a video being read for the application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from surgsam2.engine.server.connection import Send
from surgsam2.engine.server.job_queue import Cancelled, Job
from surgsam2.engine.server.outgoing import FrameSlots
from surgsam2.video import Video


def read_frames(
    job: Job, video: Video, send: Send, slots: FrameSlots, between: Callable[[], None]
) -> None:
    """Carry out a `read_frames` request: a message for each frame.

    Args:
        between: called between two frames; may raise what is to end the reading.

    Raises:
        Cancelled: the request was cancelled.
        ProtocolError, InputError, VideoError: what is asked for is not possible.
    """
    message = job.message
    frames = video.sampled(
        message.get("start", int),
        message.optional("stop", int),
        message.get("stride", int),
        message.get("scale", float),
    )
    times = video.timestamps
    with closing(frames):
        for index, frame in frames:
            between()
            header = {"request": job.number, "frame": index, "stamp": float(times[index])}
            send("frame_read", header | slots.put(frame))
    if job.cancelled:  # the application's own frames end early then
        raise Cancelled
