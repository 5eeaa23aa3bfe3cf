"""The interface of a video, whatever its frames are stored in."""

from __future__ import annotations

import operator
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np

from surgsam2.errors import InputError, VideoError
from surgsam2.storage.limits import FRAME_PIXELS, FRAME_SIDE, FRAMES, size_allowed
from surgsam2.video.prefetch import Cancelled, Prefetcher
from surgsam2.video.sampling import check_sampling, sample_frames

DEFAULT_FPS = 25.0
"""Frames per second of sources that carry no timing."""
VIDEO_SUFFIXES = (
    ".mp4",
    ".avi",
    ".mkv",
    ".mov",
    ".m4v",
    ".webm",
    ".mpg",
    ".mpeg",
    ".wmv",
)
"""Suffixes by which video files are found in folders and offered in dialogs. `open_video` itself
looks at what a file holds."""
PREFETCH = 4
"""Frames that are decoded ahead of an iteration."""

Frames = Generator[tuple[int, np.ndarray], None, None]


class Video(ABC):
    """The frames of one video, decoded when they are asked for. Made by `surgsam2.open_video`.

    A frame is ``(height, width, 3)`` uint8 RGB, C-contiguous, and belongs to the caller
    (changing it changes nothing else). Indices count from 0 in presentation order.

    Three ways to read: iterate (``for frame in video``), iterate with indices over a
    range in either direction (`frames`), or ask for one frame (``video[i]``, also
    ``video[-1]``). Several iterations may run at once and beside ``video[i]``, also in
    different threads: each iteration has a decoder of its own.

    Use as a context manager, or call `close`, to end running iterations and release
    files. Neither is needed after an iteration that ended or was abandoned.
    """

    def __init__(
        self, source: str, *, width: int, height: int, fps: float, frame_count: int
    ) -> None:
        self._source = source
        self._width = width
        self._height = height
        self._fps = fps
        self._frame_count = frame_count
        self._notes: dict[str, str] = {}
        self._lock = threading.RLock()
        self._workers: WeakSet[Prefetcher] = WeakSet()
        self._closed = False

    @property
    def source(self) -> str:
        """The path as it was given, or ``"array"``."""
        return self._source

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the frames are in; none for an array."""
        return ()

    @property
    def stream(self) -> int | None:
        """Index of the video stream in its file; None when there is no choice of streams."""
        return None

    @property
    def width(self) -> int:
        """Width of a frame in pixels, after rotation."""
        return self._width

    @property
    def height(self) -> int:
        """Height of a frame in pixels, after rotation."""
        return self._height

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel as it is shown, divided by its height, after rotation."""
        return Fraction(1)

    @property
    def fps(self) -> float:
        """Frames per second; the mean rate when it varies."""
        return self._fps

    @property
    def frame_count(self) -> int:
        """Number of frames that can be read.

        For a damaged file it may become smaller while reading, when frames at the end turn
        out not to decode; `warnings` then says so.
        """
        return self._frame_count

    @property
    def timestamps(self) -> np.ndarray:
        """Presentation time of each frame in seconds, (frame_count,) float64; frame 0 is at 0.0."""
        return np.arange(self._frame_count) / self._fps

    def time_of(self, index: int) -> float:
        """Return the presentation time of a frame in seconds after frame 0.

        Args:
            index: index of the frame; a negative one counts from the end.

        Raises:
            IndexError: the index is past the end.
        """
        return float(self.timestamps[self._checked(index)])

    @property
    def warnings(self) -> list[str]:
        """Sentences about flaws of the video, such as frames lost by damage; none if it is sound.

        The list may grow while frames are read.
        """
        return list(self._notes.values())

    def __len__(self) -> int:
        return self._frame_count

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._source!r}: {self._frame_count} frames of "
            f"{self._width}x{self._height} at {self._fps:g} fps>"
        )

    def __getitem__(self, index: int) -> np.ndarray:
        """Return frame `index`, exactly; a negative index counts from the end.

        An index past the end raises `IndexError`. Reading neighbours in ascending order costs
        one decode each; a jump decodes from the key frame before. For descending order use
        `frames(reverse=True)`.
        """
        if isinstance(index, slice):
            raise InputError(
                "a video does not take slices (they would hold every frame in memory); "
                "use video.frames(start, stop)"
            )
        with self._lock:
            self._check_open()
            while True:
                count = self._frame_count
                try:
                    return self._read(self._checked(index))
                except IndexError:
                    # The end was found to be damaged meanwhile: -1 is now another frame.
                    if index < 0 and 0 < self._frame_count < count:
                        continue
                    raise

    def frames(self, start: int = 0, stop: int | None = None, reverse: bool = False) -> Frames:
        """Yield ``(index, frame)`` for ``start <= index < stop``, decoded ahead in a thread.

        With `reverse` the same frames come last to first. `stop` None, or past the end,
        means the end. Every packet is decoded once going forward; going backward the video
        is decoded in pieces, from one or more key frames at a time, of which at most
        256 MiB of decoded frames (and at least 8) are held. A piece starts at a key frame,
        so a video with key frames farther apart than that is decoded more than once.

        The thread and the files behind it end with the iterator: exhausted, closed, left
        by ``break`` or an exception and dropped, or when the video is closed.
        """
        self._check_open()
        first = operator.index(start)
        last = self._frame_count if stop is None else operator.index(stop)
        if first < 0 or last < 0:
            raise InputError(f"start and stop must not be negative, got {start} and {stop}")
        last = min(self._frame_count, last)
        walk = self._backward if reverse else self._forward
        return self._prefetched(lambda cancelled: walk(first, last, cancelled))

    def sampled(
        self, start: int = 0, stop: int | None = None, stride: int = 1, scale: float = 1.0
    ) -> Frames:
        """Yield every `stride`-th ``(index, frame)`` of `frames`, made smaller by `scale`.

        Args:
            start: index of the first frame.
            stop: index of the frame to stop before; None is the end.
            stride: number of frames from one to the next, 1 or more.
            scale: factor of each side, more than 0 and at most 1; a side keeps at least a pixel.

        Raises:
            InputError: the range, stride or scale is not possible.
        """
        check_sampling(stride, scale)
        return sample_frames(self.frames(start, stop), start, stride, scale)

    def __iter__(self) -> Iterator[np.ndarray]:
        with closing(self.frames()) as frames:
            for _, frame in frames:
                yield frame

    def _prefetched(self, produce: Callable[[Cancelled], Frames]) -> Frames:
        self._check_open()
        worker = Prefetcher(produce, PREFETCH)
        try:
            with self._lock:
                self._workers.add(worker)
            self._check_open()  # `close`, in another thread, may have missed the worker
            while (item := worker.get()) is not None:
                yield item
            if worker.closed:
                self._check_open()
        finally:
            worker.close()

    def close(self) -> None:
        """End running iterations and release files. The video cannot be read afterwards."""
        self._closed = True
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            worker.close()
        with self._lock:
            self._release()

    def __enter__(self) -> Video:
        self._check_open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _checked(self, index: Any) -> int:
        i = operator.index(index)
        if not -self._frame_count <= i < self._frame_count:
            raise IndexError(f"{self._source} has {self._frame_count} frames, no frame {i}")
        return i + self._frame_count if i < 0 else i

    def _check_open(self) -> None:
        if self._closed:
            raise VideoError(f"{self._source}: the video was closed; open it again to read it")

    def _warn(self, kind: str, message: str) -> None:
        """Add a sentence to `warnings`; a later one of the same kind replaces it."""
        self._notes[kind] = message

    @abstractmethod
    def _read(self, index: int) -> np.ndarray:
        """Return frame `index`, which is in range. Called with the lock held.

        Raises:
            IndexError: the frame turns out to be lost.
        """

    def _forward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        """Yield frames `start` to `stop` - 1. Runs in a prefetch thread, beside other calls."""
        for index in range(start, stop):
            if cancelled():
                return
            yield index, self._read_alone(index)

    def _backward(self, start: int, stop: int, cancelled: Cancelled) -> Frames:
        """Yield frames `stop` - 1 down to `start`. Runs in a prefetch thread like `_forward`."""
        for index in range(stop - 1, start - 1, -1):
            if cancelled():
                return
            yield index, self._read_alone(index)

    def _read_alone(self, index: int) -> np.ndarray:
        """Return a frame as `_read`, in a prefetch thread and without the lock."""
        return self._read(index)

    def _release(self) -> None:  # noqa: B027 (most sources hold nothing open)
        """Close open files."""


def check_size(source: str, width: int, height: int) -> None:
    """Check the size of frames, in pixels, against the limits.

    Raises:
        VideoError: a side is less than 1, or the frame is larger than any real video's.
    """
    if width < 1 or height < 1:
        raise VideoError(
            f"{source}: the header declares frames of {width}x{height} pixels; "
            "the file is damaged or not a video"
        )
    if not size_allowed(width, height):
        raise VideoError(
            f"{source}: the header declares frames of {width}x{height} pixels, more than "
            f"{FRAME_SIDE.value} a side or {FRAME_PIXELS.value} in all; the file is damaged, or "
            f"scale it down first, or raise {FRAME_SIDE.variable} and {FRAME_PIXELS.variable}"
        )


def check_count(source: str, count: int) -> None:
    """Check the number of frames against the limit, which a stream without end would exceed.

    Raises:
        VideoError: there are more frames than any real video has.
    """
    if count > FRAMES.value:
        raise VideoError(
            f"{source}: more than {FRAMES.value} frames; the file is damaged or a stream without "
            f"end, or cut it into parts, or raise {FRAMES.variable}"
        )
