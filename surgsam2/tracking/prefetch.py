"""Recorded video on its way to the tracker: frames are prepared beside it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import closing

import numpy as np

from surgsam2.model.cpu.parallel import ENCODERS, Crew
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.video import Video
from surgsam2.video.prefetch import Cancelled, Prefetcher

AHEAD = ENCODERS
"""Frames that are prepared ahead of the tracker."""


def read_ahead(
    video: Video,
    first: int,
    last: int,
    *,
    reverse: bool,
    crew: Crew,
    encoded: Callable[[np.ndarray], EncodedFrame],
    needed: Callable[[int], bool],
) -> Generator[tuple[int, EncodedFrame]]:
    """Index and frame of each frame asked for. A thread decodes and resizes; the crew encodes.

    Args:
        first, last, reverse: as for `Video.frames`.
        encoded: as `Tracker.encoded`.
        needed: whether the tracker will ask for the features of a frame. Called in a thread.
    """

    def produce(
        cancelled: Cancelled,
    ) -> Generator[tuple[int, EncodedFrame, Future[object] | None]]:
        with closing(video.frames(first, last, reverse=reverse)) as frames:
            for index, frame in frames:
                if cancelled():
                    return
                work = encoded(frame)
                work.resize()
                yield index, work, crew.ahead(work.features) if needed(index) else None

    with closing(Prefetcher(produce, AHEAD)) as ahead:
        while (item := ahead.get()) is not None:
            index, work, encoding = item
            if encoding is not None:
                wait([encoding])  # where it failed, the tracker encodes, and meets the error
            yield index, work
