"""Frames of a recorded video are decoded and encoded while earlier ones are tracked."""

from __future__ import annotations

from collections.abc import Collection, Generator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from surgsam2.model.build import Encoders, SurgSAM2Model
from surgsam2.model.cpu.parallel import ENCODERS
from surgsam2.tracking.encoded_frame import EncodedFrame
from surgsam2.video import Video
from surgsam2.video.prefetch import Cancelled, Prefetcher

AHEAD = ENCODERS
"""Number of frames that are prepared ahead of the tracker."""


def prefetch_frames(
    video: Video,
    first: int,
    last: int,
    *,
    reverse: bool,
    encoders: Encoders,
    model: SurgSAM2Model,
    unneeded: Collection[int],
) -> Generator[tuple[int, EncodedFrame]]:
    """Yield the index and the frame of a range, prepared ahead in other threads.

    One thread decodes and, for a CPU, resizes; the threads of `encoders` run the image encoder.

    Args:
        video: the video to read.
        first: index of the first frame of the range.
        last: index of the frame after the range.
        reverse: whether frames come in descending order.
        encoders: the threads of the image encoder.
        model: the model whose image encoder runs.
        unneeded: the frames whose features the tracker will not ask for.
    """
    width, height = video.width, video.height

    def produce(
        cancelled: Cancelled,
    ) -> Generator[tuple[int, EncodedFrame, Future[Any] | None]]:
        with closing(video.frames(first, last, reverse=reverse)) as frames:
            for index, pixels in frames:
                if cancelled():
                    return
                frame = EncodedFrame(model, pixels, width, height)
                encoding = None if index in unneeded else encoders.submit(frame.features)
                yield index, frame, encoding

    with closing(Prefetcher(produce, AHEAD)) as prefetcher:
        while (item := prefetcher.get()) is not None:
            index, frame, encoding = item
            if encoding is not None:
                encoders.finish(encoding)  # After an error the tracker encodes again and meets it.
            yield index, frame
