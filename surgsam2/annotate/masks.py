"""Masks and label images on their way between the page and the server: runs of equal values."""

from __future__ import annotations

from typing import Any

import numpy as np

from surgsam2.errors import InputError


def label_runs(labels: np.ndarray) -> bytes:
    """Return an (H, W) label image as runs in row order.

    Returns:
        Pairs of little-endian uint32: the value, and how many pixels have it in a row.
    """
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    return np.column_stack([flat[starts], lengths]).astype("<u4").tobytes()


def mask_from_runs(runs: Any, width: int, height: int) -> np.ndarray:
    """Return the (H, W) bool mask that the page painted.

    Args:
        runs: ``[first, count, first, count, …]``: stretches of painted pixels, each by the
            position of its first pixel in row order and its length, ascending.
        width: the width of the video in pixels.
        height: the height of the video in pixels.

    Raises:
        InputError: the runs are not of this form, or leave the picture.
    """
    size = width * height
    try:
        pairs = np.array(runs, np.int64).reshape(-1, 2)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError("a painted mask must be a list of pairs of whole numbers") from error
    ends = pairs.sum(axis=1)
    if len(pairs) and (
        pairs[:, 0].min() < 0
        or pairs[:, 1].min() < 1
        or ends.max() > size
        or (pairs[1:, 0] < ends[:-1]).any()
    ):
        raise InputError(f"a painted mask must lie inside the {width} x {height} picture, in order")
    changes = np.zeros(size + 1, np.int8)
    changes[pairs[:, 0]] += 1
    changes[ends] -= 1
    return np.cumsum(changes[:-1], dtype=np.int8).astype(bool).reshape(height, width)
