"""Masks between two masks of the same object."""

from __future__ import annotations

import cv2
import numpy as np


def interpolate_masks(first: np.ndarray, last: np.ndarray, share: float) -> np.ndarray:
    """Return the mask that lies between two masks.

    Both are moved so that their centroids meet on the line between them; there the mean of their
    signed distances to the outline, weighted by the share, is cut at 0. So an object that moves and
    changes its shape does both evenly.

    Args:
        first: (H, W) bool, not empty.
        last: (H, W) bool, not empty.
        share: 0 gives the first mask and 1 the last one.

    Returns:
        (H, W) bool.
    """
    starts, ends = _centroid(first), _centroid(last)
    middle = starts + share * (ends - starts)
    near = _moved(_signed_distance(first), middle - starts)
    far = _moved(_signed_distance(last), middle - ends)
    return np.asarray((1 - share) * near + share * far > 0)


def _centroid(mask: np.ndarray) -> np.ndarray:
    """Return the mean x and y of a mask's pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return the distance to the outline in pixels, (H, W) float32, above 0 inside the mask."""
    pixels = np.pad(mask, 1).astype(np.uint8)
    inside = cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.where(mask, inside - 0.5, 0.5 - outside), np.float32)


def _moved(distance: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Move a picture by x and y in pixels; what comes in from outside continues its edge."""
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float64)
    size = (distance.shape[1], distance.shape[0])
    return np.asarray(cv2.warpAffine(distance, matrix, size, borderMode=cv2.BORDER_REPLICATE))
