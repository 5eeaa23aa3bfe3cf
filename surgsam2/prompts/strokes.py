"""Prompts made of lines that a user draws: points along a scribble, the mask inside a lasso."""

from __future__ import annotations

import itertools
import math

import numpy as np

from surgsam2.errors import PromptError
from surgsam2.prompts.checks import Points

MOST_POINTS = 8
"""The most points that one scribble gives; SAM 2 was trained with up to 8 clicks on a frame."""
SPACING = 0.04
"""Distance of the points on a short scribble, as a fraction of the frame's longer side."""


def points_along(line: Points, width: int, height: int) -> np.ndarray:
    """Return evenly spaced points on the part of a line that lies inside the frame.

    There are at most `MOST_POINTS`; a short line has fewer, with `SPACING` between them. The first
    and the last one stay half a distance away from the ends, which are drawn less carefully.

    Args:
        line: (P, 2) x and y in pixels, connected by straight lines. A single point is allowed.
        width: width of the frame in pixels.
        height: height of the frame in pixels.

    Returns:
        (N, 2) float64 x and y in pixels, N at least 1.

    Raises:
        PromptError: the line is empty, not finite, or lies outside the frame.
    """
    corners = _checked(line, "line", 1)
    low, high = np.array([-0.5, -0.5]), np.array([width - 0.5, height - 0.5])
    starts, ends = [], []
    for start, end in itertools.pairwise(corners):
        part = _clipped(start, end, low, high)
        if part is not None:
            starts.append(part[0])
            ends.append(part[1])
    lengths = np.array([np.linalg.norm(e - s) for s, e in zip(starts, ends, strict=True)])
    total = float(lengths.sum()) if len(lengths) else 0.0
    if total == 0:
        inside = corners[((corners >= low) & (corners < high)).all(axis=1)]
        if not len(inside):
            raise PromptError(
                f"the line lies outside the {width} x {height} frame; draw it in the picture"
            )
        return inside[:1]
    count = min(max(math.ceil(total / (SPACING * max(width, height))), 1), MOST_POINTS)
    past = np.concatenate([[0.0], np.cumsum(lengths)])
    wanted = (np.arange(count) + 0.5) / count * total
    parts = np.clip(np.searchsorted(past, wanted, side="right") - 1, 0, len(lengths) - 1)
    share = ((wanted - past[parts]) / lengths[parts])[:, None]
    points = np.array(starts)[parts] * (1 - share) + np.array(ends)[parts] * share
    return np.clip(points, low, np.nextafter(high, low))


def mask_inside(outline: Points, width: int, height: int) -> np.ndarray:
    """Return the mask of the pixels whose centres lie inside a closed outline.

    Where the outline surrounds a pixel more than once, as where its end runs over its beginning,
    the pixel is inside too. What lies outside the frame is cut off.

    Args:
        outline: (P, 2) x and y in pixels; the last corner is connected to the first one.
        width: width of the frame in pixels.
        height: height of the frame in pixels.

    Returns:
        (H, W) bool.

    Raises:
        PromptError: the outline has fewer than 3 corners, is not finite, or encloses no pixel.
    """
    corners = _checked(outline, "outline", 3)
    # how often the outline turns around each pixel; an edge changes this to its right
    turns = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        first, last = max(math.ceil(min(y0, y1)), 0), min(math.ceil(max(y0, y1)), height)
        if first < last:
            rows = np.arange(first, last)
            crossings = np.ceil(x0 + (rows - y0) / (y1 - y0) * (x1 - x0))
            columns = np.clip(crossings, 0, width).astype(np.int64)
            turns[rows, columns] += 1 if y1 > y0 else -1
    mask = np.cumsum(turns[:, :width], axis=1) != 0
    if not mask.any():
        raise PromptError(
            f"the outline encloses no pixel of the {width} x {height} frame; "
            "draw it around the object"
        )
    return mask


def _checked(line: Points, what: str, fewest: int) -> np.ndarray:
    try:
        corners = np.asarray(line, np.float64)
    except (TypeError, ValueError) as error:
        raise PromptError(f"the {what} must be rows of x, y in pixels: {error}") from error
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < fewest:
        raise PromptError(
            f"the {what} must have at least {fewest} rows of x, y in pixels, "
            f"got an array of shape {corners.shape}"
        )
    if not np.isfinite(corners).all():
        raise PromptError(f"the {what} has coordinates that are no finite numbers")
    return corners


def _clipped(
    start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the part of a straight line inside a box, or None (Liang and Barsky, 1984)."""
    way = end - start
    first, last = 0.0, 1.0
    for axis in range(2):
        if way[axis] == 0:
            if not low[axis] <= start[axis] < high[axis]:
                return None
            continue
        limits = sorted(
            ((low[axis] - start[axis]) / way[axis], (high[axis] - start[axis]) / way[axis])
        )
        first, last = max(first, limits[0]), min(last, limits[1])
    if first >= last:
        return None
    return start + first * way, start + last * way
