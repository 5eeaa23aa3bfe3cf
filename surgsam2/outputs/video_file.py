"""Writers whose output is one video file."""

from __future__ import annotations

import contextlib
import math
from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from surgsam2.errors import InputError, OutputError
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import replace, temporary_beside, writing
from surgsam2.video.timing import is_regular

DEFAULT_FPS = 25
"""Frames per second of a video whose rate is not known."""
MAX_FPS = 1000
"""Largest rate in frames per second that is believed."""
_FINE = Fraction(1, 90_000)
"""Time base in seconds for frames that do not come at a constant rate."""


class VideoFileWriter(OutputWriter):
    """Writes a video file, at the rate and with the times of the frames.

    Frames must come with ascending indices; a gap between indices stays a gap in time, and
    frames keep the shape of their pixels. A run without a single frame leaves no file.
    """

    needs_order: ClassVar[bool] = True
    file_name: ClassVar[str]
    """Name of the file in the output folder."""
    container_format: ClassVar[str]
    """FFmpeg's name of the container."""

    @classmethod
    def constant_rate(cls, context: OutputContext) -> Fraction | None:
        """Return the frames per second of a run; None if its frames come irregularly."""
        rate = _frame_rate(context.fps)
        irregular = context.times is not None and not is_regular(context.times, float(rate))
        return None if irregular else rate

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._path = self.folder / self.file_name
        self._part = temporary_beside(self._path)
        self._container: Any = None
        self._stream: Any = None
        self._first = 0
        self._last = -1
        self._closed = False
        self._irregular = self.constant_rate(context) is None
        with writing(self._path):  # so that an unwritable folder is noticed at once
            self._part.touch()

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        index = result.frame_index
        if self._closed:
            raise OutputError(f"cannot write {self._path}: it is closed")
        if self._container is not None and index <= self._last:
            raise InputError(
                f"{self.file_name} needs ascending frames: frame {index} came after {self._last}"
            )
        with self._guarded():
            picture = self._picture(frame, result)
        if self._container is None:
            self._open()  # now that there is a picture: a video without any cannot be read
            self._first = index
        self._last = index
        with self._guarded():
            picture.pts = self._stamp(index)
            picture.time_base = self._stream.codec_context.time_base
            self._container.mux(self._stream.encode(picture))

    @abstractmethod
    def _add_stream(self, rate: Fraction) -> Any:
        """Add the video stream to `_container`, with its size and pixel format, and return it."""

    @abstractmethod
    def _picture(self, frame: np.ndarray, result: FrameResult) -> Any:
        """Return the `av.VideoFrame` that is encoded for a frame and its result."""

    def _container_options(self) -> dict[str, str]:
        """Return options for the container."""
        return {}

    def _stamp(self, index: int) -> int:
        """Return the time of a frame after the first one written, in units of the time base."""
        times = self.context.times
        if not self._irregular or times is None or index >= len(times):
            return index - self._first
        return round(float(times[index] - times[self._first]) / float(_FINE))

    def _open(self) -> None:
        import av

        rate = _frame_rate(self.context.fps)
        with self._guarded():
            self._container = av.open(  # noqa: TID251
                str(self._part),
                "w",
                format=self.container_format,
                container_options=self._container_options(),
            )
            stream = self._add_stream(rate)
            context = stream.codec_context
            context.time_base = _FINE if self._irregular else 1 / rate
            context.sample_aspect_ratio = self.context.pixel_aspect
            self._stream = stream

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Delete the file and raise `OutputError` on an error of the encoder or the disk."""
        import av

        try:
            with writing(self._path):
                yield
        except av.FFmpegError as error:
            self._discard()
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {self._path}: {reason}") from error
        except Exception:
            self._discard()
            raise

    def close(self) -> None:
        """Complete the file and give it its final name."""
        if self._closed:
            return
        if self._container is None:
            self._discard()
            return
        with self._guarded():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            replace(self._part, self._path)
        self._closed = True

    def _discard(self) -> None:
        import av

        self._closed = True
        if self._container is not None:
            with contextlib.suppress(OSError, ValueError, av.FFmpegError):
                self._container.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


def _frame_rate(fps: float | Fraction | None) -> Fraction:
    """Return the rate, exact for the usual fractions (30000/1001); 25 when not known."""
    if fps is None or not math.isfinite(fps) or not 0 < fps <= MAX_FPS:
        return Fraction(DEFAULT_FPS)
    if isinstance(fps, Fraction):
        return fps.limit_denominator(100_000)
    rate = Fraction(fps).limit_denominator(1001)
    return rate if rate else Fraction(fps).limit_denominator(100_000)
