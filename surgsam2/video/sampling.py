"""Every n-th frame of a video, made smaller."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing

import numpy as np

from surgsam2.errors import InputError, missing_dependency


def check_sampling(stride: int, scale: float) -> None:
    """Check a stride and a scale.

    Raises:
        InputError: the stride is less than 1, or the scale not more than 0 and at most 1.
    """
    if stride < 1:
        raise InputError(f"stride must be a whole number of at least 1, got {stride!r}")
    check_scale(scale)


def check_scale(scale: float) -> None:
    """Check a scale.

    Raises:
        InputError: the scale is not more than 0 and at most 1.
    """
    if not isinstance(scale, int | float) or not math.isfinite(scale) or not 0 < scale <= 1:
        raise InputError(f"scale must be more than 0 and at most 1, got {scale!r}")


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Return width and height in pixels after scaling, at least 1 each."""
    return max(1, round(width * scale)), max(1, round(height * scale))


def sample_frames(
    frames: Generator[tuple[int, np.ndarray], None, None], start: int, stride: int, scale: float
) -> Generator[tuple[int, np.ndarray], None, None]:
    """Yield index and frame of every `stride`-th frame, made smaller.

    Args:
        frames: index and frame, (H, W, 3) uint8 RGB, ascending. It is closed at the end.
        start: index of the first frame to be yielded.
        stride: number of frames from one to the next, 1 or more.
        scale: factor of each side, more than 0 and at most 1.
    """
    with closing(frames):
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
