"""A bounded part of a video, decoded in a thread before it is shown."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from surgsam2.errors import InputError, SurgSAM2Error, VideoError
from surgsam2.video import Video

WINDOW_BYTES = 512 * 2**20
"""Pixels held by default: 85 frames of full HD, 190 of 1280 x 720."""
_PAGES = 4  # the pages that fit at least: one shown, one being decoded, two to go back to
_PAGE = 32  # frames


class FrameWindow:
    """Frames around those that were asked for last; the oldest are dropped for new ones.

    Frames are decoded by pages of consecutive frames, from the first of the page to the last,
    so that stepping backward costs no more than forward. After a page the next one in the
    direction of the last move is decoded too.

    Args:
        video: it is read in the window's thread only; the caller closes it after the window.
        limit: bytes of pixels that may be held.

    Raises:
        InputError: the limit is too small for four frames.
    """

    def __init__(self, video: Video, limit: int = WINDOW_BYTES) -> None:
        self._video = video
        self._frame_bytes = video.width * video.height * 3
        self.limit = limit
        """Bytes of pixels that are never exceeded."""
        if limit < _PAGES * self._frame_bytes:
            raise InputError(
                f"{video.source}: a window of {limit} bytes does not hold {_PAGES} frames of "
                f"{video.width} x {video.height}; allow at least {_PAGES * self._frame_bytes}"
            )
        self.page_size = min(_PAGE, limit // (_PAGES * self._frame_bytes))
        """Frames in a page."""
        self._pages: OrderedDict[int, dict[int, np.ndarray]] = OrderedDict()  # latest use last
        self._errors: dict[int, SurgSAM2Error] = {}  # by frame
        self._wanted: int | None = None  # page
        self._prefetched: int | None = None  # page
        self._changed = threading.Condition()
        self._closed = False
        self._work: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1, "surgsam2-window")

    @property
    def held_frames(self) -> int:
        """Frames in memory."""
        with self._changed:
            return self._held()

    @property
    def held_bytes(self) -> int:
        """Bytes of their pixels; never more than `limit`."""
        return self.held_frames * self._frame_bytes

    def get(self, frame: int, timeout: float | None = None) -> np.ndarray | None:
        """Return a frame, (H, W, 3) uint8 RGB, not to be written to; None when it takes longer.

        Args:
            frame: index of a frame of the video.
            timeout: seconds to wait for a frame that is not held; None waits until it is decoded.

        Raises:
            VideoError: the frame cannot be read, or the window was closed.
        """
        page = frame // self.page_size
        with self._changed:
            self._errors.pop(frame, None)
            if self._closed:
                raise VideoError(f"{self._video.source}: the video was closed")
            if page != self._wanted:
                forward = self._wanted is None or page > self._wanted
                self._prefetched = page + 1 if forward else page - 1
                self._wanted = page
            if page in self._pages:
                self._pages.move_to_end(page)
            self._start()
            if not self._changed.wait_for(lambda: self._is_known(frame), timeout):
                return None
            if frame in self._errors:
                raise self._errors[frame]
            pixels = self._pages.get(page, {}).get(frame)
        if pixels is None:  # the end of a damaged file was found while decoding
            raise VideoError(f"{self._video.source}: frame {frame} cannot be read any more")
        return pixels

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to prefetch.

        Args:
            timeout: seconds to wait at most; None waits without limit.

        Returns:
            Whether nothing is left.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._work is None, timeout)

    def close(self) -> None:
        """Drop the frames and end the thread, after the frame that it is decoding."""
        with self._changed:
            self._closed = True
            self._pages.clear()
        self._pool.shutdown()

    # with the lock held

    def _held(self) -> int:
        return sum(map(len, self._pages.values()))

    def _is_known(self, frame: int) -> bool:
        known = self._pages.get(frame // self.page_size, {})
        return frame in known or frame in self._errors or self._work is None

    def _start(self) -> None:
        if self._work is None and self._next() is not None:
            self._work = self._pool.submit(self._decode)

    def _next(self) -> int | None:
        """Return the frame to decode now; None when there is nothing to do."""
        if self._closed:
            return None
        for page in (self._wanted, self._prefetched):
            if page is not None:
                frame = self._first_missing(page)
                if frame is not None:
                    return frame
        return None

    def _first_missing(self, page: int) -> int | None:
        first = page * self.page_size
        frames = range(max(0, first), min(first + self.page_size, self._video.frame_count))
        known = self._pages.get(page, {})
        return next((k for k in frames if k not in known and k not in self._errors), None)

    def _keep(self, frame: int, pixels: np.ndarray) -> None:
        page = frame // self.page_size
        self._pages.setdefault(page, {})
        while (self._held() + 1) * self._frame_bytes > self.limit:
            oldest = next(p for p in self._pages if p not in (page, self._wanted))
            del self._pages[oldest]
        self._pages[page][frame] = pixels

    # in the thread

    def _decode(self) -> None:
        while True:
            with self._changed:
                frame = self._next()
                if frame is None:
                    self._work = None
                    self._changed.notify_all()
                    return
            pixels, error = self._read(frame)
            with self._changed:
                if error is not None:
                    self._errors[frame] = error
                elif not self._closed and pixels is not None:
                    self._keep(frame, pixels)
                self._changed.notify_all()

    def _read(self, frame: int) -> tuple[np.ndarray | None, SurgSAM2Error | None]:
        try:
            return self._video[frame], None
        except SurgSAM2Error as error:
            return None, error
        except Exception as error:  # whatever the error is, `get` waits for the frame
            source = self._video.source
            return None, VideoError(f"{source}: frame {frame} cannot be read ({error})")
