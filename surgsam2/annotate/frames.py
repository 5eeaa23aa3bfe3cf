"""Frames of the video as JPEG pictures for the page, decoded in one thread and kept for a while."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from surgsam2.video import Video

CACHE_BYTES = 64 * 2**20
"""The most memory that encoded pictures may take."""
QUALITY = 90
HALF_COLOUR = 2
"""Pillow's number for chroma at half resolution, as in most videos; it halves the time."""


class FramePictures:
    """Encoded frames of a video.

    Args:
        video: the open video. It is read in one thread only.
        budget: the most memory that pictures may take, in bytes.
    """

    def __init__(self, video: Video, budget: int = CACHE_BYTES) -> None:
        self._video = video
        self._budget = budget
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="surgsam2-frames")

    async def jpeg(self, index: int) -> bytes:
        """Return one frame as a JPEG file.

        Raises:
            IndexError: there is no such frame.
            VideoError: the frame cannot be read.
        """
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        data = await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, index)
        if index not in self._kept:
            self._kept[index] = data
            self._size += len(data)
        while self._size > self._budget and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)
        return data

    def close(self) -> None:
        """Wait for the thread to end."""
        self._thread.shutdown()

    def _encode(self, index: int) -> bytes:
        buffer = io.BytesIO()
        picture = Image.fromarray(self._video[index])
        picture.save(buffer, "JPEG", quality=QUALITY, subsampling=HALF_COLOUR)
        return buffer.getvalue()
