"""Recorded video on its way to the tracker: frames are prepared beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import closing

import numpy as np

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.crew import Crew
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.video import Video
from surgsam2.video.prefetch import Cancelled, Prefetcher

_AHEAD = 2
"""Frames that are prepared ahead of the tracker."""


def read_ahead(
    model: SurgSAM2Model,
    video: Video,
    first: int,
    last: int,
    *,
    reverse: bool,
    crew: Crew,
    needed: Callable[[int], bool],
) -> Generator[tuple[int, np.ndarray, EncodedFrame]]:
    """Index, frame ((H, W, 3) uint8 RGB) and what the network sees of it.

    A thread decodes and resizes; the crew encodes.

    Args:
        first, last, reverse: as for `Video.frames`.
        needed: whether the tracker will ask for the features of a frame. Called in a thread.
    """

    def produce(
        cancelled: Cancelled,
    ) -> Generator[tuple[int, np.ndarray, EncodedFrame, Future[None] | None]]:
        with closing(video.frames(first, last, reverse=reverse)) as frames:
            for index, frame in frames:
                if cancelled():
                    return
                work = EncodedFrame(model, frame, video.width, video.height)
                work.resize()
                yield index, frame, work, crew.ahead(work.encode) if needed(index) else None

    with closing(Prefetcher(produce, _AHEAD)) as ahead:
        while (item := ahead.get()) is not None:
            index, frame, work, encoding = item
            if encoding is not None:
                wait([encoding])  # where it failed, the tracker encodes, and meets the error
            yield index, frame, work
