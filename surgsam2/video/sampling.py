"""A part of a video, made smaller: what an application loads of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from surgsam2.errors import InputError, missing_dependency

if TYPE_CHECKING:
    from surgsam2.video.base import Frames, Video


def sample(video: Video, start: int, stop: int | None, stride: int, scale: float) -> Frames:
    """See `Video.sampled`."""
    if stride < 1:
        raise InputError(f"stride must be a whole number of at least 1, got {stride!r}")
    check_scale(scale)
    return _sampled(video, start, stop, stride, scale)


def check_scale(scale: float) -> None:
    """Refuse what is not more than 0 and at most 1."""
    if not isinstance(scale, int | float) or not math.isfinite(scale) or not 0 < scale <= 1:
        raise InputError(f"scale must be more than 0 and at most 1, got {scale!r}")


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height after scaling, at least one pixel."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def _sampled(video: Video, start: int, stop: int | None, stride: int, scale: float) -> Frames:
    with closing(video.frames(start, stop)) as frames:
        yield from _chosen(frames, start, stride, scale)


def _chosen(
    frames: Frames, start: int, stride: int, scale: float
) -> Iterator[tuple[int, np.ndarray]]:
    for index, frame in frames:
        if (index - start) % stride == 0:
            yield index, _smaller(frame, scale)


def _smaller(frame: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return frame
    try:
        import cv2
    except ImportError as error:
        raise missing_dependency(error, "making frames smaller") or error from error
    size = scaled_size(frame.shape[1], frame.shape[0], scale)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
