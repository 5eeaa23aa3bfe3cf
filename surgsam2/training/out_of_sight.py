"""Frames without an object, made of frames in which it is seen."""

from __future__ import annotations

import cv2
import numpy as np

_SMALLEST, _LARGEST = 0.2, 0.75
"""Sides of a part of the picture, in units of the picture's."""
_TRIES = 20
"""Number of parts that are tried for a frame."""


def look_away(
    frames: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Let some frames after the first one show a part of their picture without an object.

    The labels follow, so that other objects may still be seen. A frame stays as it is where the
    object leaves no room for such a part.

    Args:
        frames: (T, S, S, 3) uint8 RGB.
        labels: (T, S, S).
        rng: decides which frames and which parts.

    Returns:
        Changed copies of frames and labels.
    """
    frames, labels = frames.copy(), labels.copy()
    ids = [int(i) for i in np.unique(labels[0]) if i]
    if len(frames) < 2 or not ids:
        return frames, labels
    first = int(rng.integers(1, len(frames)))
    last = min(first + int(rng.integers(1, len(frames))), len(frames))
    label = ids[int(rng.integers(len(ids)))]
    for t in range(first, last):
        part = _part_without(labels[t] == label, rng)
        if part is not None:
            frames[t] = _enlarged(frames[t], part, cv2.INTER_LINEAR)
            labels[t] = _enlarged(labels[t], part, cv2.INTER_NEAREST)
    return frames, labels


def _part_without(mask: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """Return row, column and side of a square that the mask does not touch, if one is found."""
    size = len(mask)
    for _ in range(_TRIES):
        side = int(size * rng.uniform(_SMALLEST, _LARGEST))
        row, column = (int(v) for v in rng.integers(0, size - side + 1, 2))
        if not mask[row : row + side, column : column + side].any():
            return row, column, side
    return None


def _enlarged(image: np.ndarray, part: tuple[int, int, int], interpolation: int) -> np.ndarray:
    """Return a part of an image, given by row, column and side, at the size of the image."""
    row, column, side = part
    size = (image.shape[1], image.shape[0])
    cropped = image[row : row + side, column : column + side]
    return np.asarray(cv2.resize(cropped, size, interpolation=interpolation))
