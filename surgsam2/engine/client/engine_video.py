"""A video that the engine process decodes, for an application whose own Python cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from surgsam2.engine.client.client import EngineClient
from surgsam2.engine.protocol.events import (
    Died,
    Event,
    Failed,
    FailureKind,
    Finished,
    FrameRead,
    VideoOpened,
)
from surgsam2.errors import InputError, MissingDependencyError, VideoError
from surgsam2.video.base import Frames, Video
from surgsam2.video.sampling import check_scale

_WAIT_SECONDS = 0.05
"""Seconds to wait for an event before the application is asked whether to go on."""
_ERRORS: dict[FailureKind, type[VideoError | InputError | MissingDependencyError]] = {
    "input": InputError,
    "install": MissingDependencyError,
}


class EngineVideo(Video):
    """A video that `open_in_engine` has opened. The process ends when the video is closed.

    It is read in the thread that opened it, and one iteration at a time: a new one, or
    ``video[i]``, ends the one before, which then raises `VideoError`. Frames are decoded in
    advance, and `sampled` makes them smaller in the engine process. The time of a frame is
    computed from the frame rate until the frame has been read.

    Args:
        client: the client whose engine process decodes; it belongs to the video.
        source: name of the video for messages.
        opened: the description of the video.
    """

    def __init__(self, client: EngineClient, source: str, opened: VideoOpened) -> None:
        super().__init__(
            source,
            width=opened.width,
            height=opened.height,
            fps=opened.fps,
            frame_count=opened.frame_count,
        )
        self._client = client
        self._reading = opened.request  # the newest request
        self._times = np.arange(opened.frame_count) / opened.fps
        self._keep(opened.warnings)

    @property
    def timestamps(self) -> np.ndarray:
        """Presentation times in seconds, (frame_count,) float64; see `Video.timestamps`."""
        return self._times.copy()

    def frames(self, start: int = 0, stop: int | None = None, reverse: bool = False) -> Frames:
        """Yield index and frame; see `Video.frames`."""
        if not reverse:
            return self.sampled(start, stop)
        last = self.frame_count if stop is None else min(stop, self.frame_count)
        return ((index, self[index]) for index in range(last - 1, start - 1, -1))

    def sampled(
        self, start: int = 0, stop: int | None = None, stride: int = 1, scale: float = 1.0
    ) -> Frames:
        """Yield index and frame of every `stride`-th frame; see `Video.sampled`."""
        check_scale(scale)
        return self._sampled(start, stop, stride, scale)

    def _sampled(self, start: int, stop: int | None, stride: int, scale: float) -> Frames:
        self._check_open()
        request = self._reading = self._client.read_frames(start, stop, stride, scale)
        ended = False
        try:
            for event in events_of(
                self._client, request, self._source, self._check_latest(request)
            ):
                if isinstance(event, FrameRead):
                    self._times[event.frame] = event.stamp
                    yield event.frame, event.image
                elif isinstance(event, Finished):
                    self._keep(event.warnings)
                    ended = True
                    return
        finally:
            if not ended and not self._closed and request == self._reading:
                self._client.cancel()

    def _check_latest(self, request: int) -> Callable[[], bool]:
        """Return a function that raises once the iteration is not the newest of an open video."""

        def check() -> bool:
            self._check_open()
            if request != self._reading:
                raise VideoError(
                    f"{self._source}: another reading has begun; one at a time is possible"
                )
            return False

        return check

    def _read(self, index: int) -> np.ndarray:
        with closing(self._sampled(index, index + 1, 1, 1.0)) as frames:
            for _, frame in frames:
                return frame
        raise IndexError(f"{self._source} has no frame {index}")

    def _keep(self, warnings: tuple[str, ...]) -> None:
        for text in warnings:
            self._warn(text, text)

    def _release(self) -> None:
        self._client.close()


def open_in_engine(
    client: EngineClient, path: str | Path, stopped: Callable[[], bool] = lambda: False
) -> EngineVideo:
    """Open a video file, image folder or DICOM file in another process.

    Args:
        client: a client that was not started; it belongs to the video from now on.
        path: the video.
        stopped: asked while waiting; true gives up.

    Raises:
        VideoError: the video cannot be read, or `stopped` became true.
        MissingDependencyError: a package is missing in the engine's Python.
    """
    client.start()
    source = str(path)
    try:
        request = client.open_video(path)
        for event in events_of(client, request, source, stopped):
            if isinstance(event, VideoOpened):
                return EngineVideo(client, source, event)
        raise VideoError(f"{source}: opening was stopped")
    except BaseException:
        client.close()
        raise


def events_of(
    client: EngineClient, request: int, source: str, stopped: Callable[[], bool]
) -> Iterator[Event]:
    """Wait for the events of one request and yield them.

    Args:
        client: the client.
        request: number of the request.
        source: name of the video for messages.
        stopped: asked while waiting; true ends the iteration.

    Raises:
        VideoError: the request failed, or the process ended.
        InputError: the request asks for something impossible.
        MissingDependencyError: a package is missing in the engine's Python.
    """
    while not stopped():
        for event in client.poll(_WAIT_SECONDS):
            if isinstance(event, Died):
                raise VideoError(
                    f"{source}: the process that decodes it ended (code {event.exit_code}); "
                    "open it again"
                )
            if isinstance(event, Failed) and event.request in (None, request):
                raise _ERRORS.get(event.kind, VideoError)(event.message)
            if getattr(event, "request", None) == request:
                yield event
