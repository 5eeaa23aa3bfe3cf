"""The video with the masks drawn over it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from surgsam2.errors import InputError, OutputError
from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.drawing import draw_overlay
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX, replace, writing
from surgsam2.video.h264 import add_h264
from surgsam2.video.timing import is_regular

DEFAULT_FPS = 25
"""Frames per second of a video whose rate is not known."""
MAX_FPS = 1000
"""Largest rate in frames per second that is believed."""
_FINE = Fraction(1, 90_000)
"""Time base in seconds for frames that do not come at a constant rate."""


class OverlayWriter(OutputWriter):
    """Writes ``overlay.mp4``: each object in its colour with its name, at the video's rate.

    Frames must come with ascending indices; a gap between indices stays a gap in time, and
    frames keep their times and the shape of their pixels. Odd
    sizes are padded by one row or column. Colours are BT.709 (BT.601 below 720 lines), limited
    range, and tagged so. Without an H.264 encoder the video is MPEG-4 part 2. A run without a
    single frame leaves no file.
    """

    needs_order: ClassVar[bool] = True

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._path = self.folder / "overlay.mp4"
        self._part = self._path.with_name(self._path.name + TEMPORARY_SUFFIX)
        self._container: Any = None
        self._stream: Any = None
        self._first = 0
        self._last = -1
        self._closed = False
        times = context.times
        rate = float(_frame_rate(context.fps))
        self._irregular = times is not None and not is_regular(times, rate)
        with writing(self._part):  # so that an unwritable folder is noticed at once
            self._part.touch()

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        index = result.frame_index
        if self._closed:
            raise OutputError(f"cannot write {self._path}: it is closed")
        if self._container is None:
            self._open()
            self._first = index
        elif index <= self._last:
            raise InputError(
                f"the overlay video needs ascending frames: frame {index} came after {self._last}"
            )
        self._last = index
        image = draw_overlay(frame, result, self.context)
        bottom, right = self.context.height % 2, self.context.width % 2
        if bottom or right:
            image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        with self._guarded():
            picture = _to_yuv(image)
            picture.pts = self._stamp(index)
            picture.time_base = self._stream.codec_context.time_base
            self._container.mux(self._stream.encode(picture))

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
            self._container = av.open(
                str(self._part), "w", format="mp4", container_options=_container_options()
            )
            size = (
                self.context.width + self.context.width % 2,
                self.context.height + self.context.height % 2,
            )
            try:
                stream = add_h264(self._container, size, rate, preset="veryfast", crf=21)
            except ValueError:
                stream = self._container.add_stream("mpeg4", rate=rate)
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                stream.codec_context.bit_rate = int(size[0] * size[1] * float(rate) * 0.3)
            context = stream.codec_context
            # Without B-frames, the first frame is at time 0, and a killed process loses less.
            context.max_b_frames = 0
            context.time_base = _FINE if self._irregular else 1 / rate
            context.sample_aspect_ratio = self.context.pixel_aspect
            context.gop_size = max(1, round(2 * rate))  # for quick seeking
            space = _color_space(stream.height)
            context.colorspace = space
            context.color_primaries = space
            context.color_trc = space
            context.color_range = 1  # limited
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


def _color_space(height: int) -> int:
    """Return the code of matrix, primaries and transfer: BT.709, or BT.601 below 720 lines."""
    return 1 if height >= 720 else 6


def _to_yuv(image: np.ndarray) -> Any:
    """Convert an (H, W, 3) uint8 RGB array to a tagged yuv420p frame of limited range."""
    import av

    space = _color_space(image.shape[0])
    picture: Any = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    picture = picture.reformat(
        format="yuv420p", dst_colorspace="ITU709" if space == 1 else "ITU601"
    )
    picture.colorspace = space
    picture.color_range = 1
    return picture


def _container_options() -> dict[str, str]:
    """Return options for a file in fragments that becomes an ordinary file when it is closed.

    With fragments, what was written remains playable if the process is killed. FFmpeg has this
    since 7.1; with older versions there are no options.
    """
    import av

    if av.library_versions["libavformat"] >= (61, 7):
        return {"movflags": "hybrid_fragmented+frag_keyframe"}
    return {}
