"""Regions of an image without annotation, to stand in for objects in training."""

from __future__ import annotations

import cv2
import numpy as np

_SIDE = 128
"""Regions are found in an image of this many pixels on a side."""


def colour_regions(
    image: np.ndarray, seed: int, *, smallest: float = 0.006, largest: float = 0.45
) -> np.ndarray:
    """Find connected regions of similar colour and place.

    Args:
        image: (H, W, 3) uint8 RGB.
        seed: decides how many clusters there are and where they begin.
        smallest: the least area of a region, as a share of the image.
        largest: the greatest area of a region, as a share of the image.

    Returns:
        (H, W) uint8: 0 for what belongs to no region, else the region's number from 1 on,
        in the order of the areas, largest first.
    """
    rng = np.random.default_rng(seed)
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    smooth = cv2.bilateralFilter(small, 9, 40.0, 7.0)
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    rows, columns = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    weight = float(rng.uniform(0.2, 0.9))
    values = np.dstack([lab * [0.6, 1.5, 1.5], rows * weight, columns * weight])
    clusters = int(rng.integers(4, 13))
    cv2.setRNGSeed(int(rng.integers(2**31)))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 1.0)
    _, assigned, _ = cv2.kmeans(  # type: ignore[call-overload]
        values.reshape(-1, 5).astype(np.float32), clusters, None, stop, 1, cv2.KMEANS_PP_CENTERS
    )
    assigned = cv2.medianBlur(assigned.reshape(_SIDE, _SIDE).astype(np.uint8), 7)
    found: list[tuple[int, np.ndarray]] = []
    for cluster in range(clusters):
        count, parts, stats, _ = cv2.connectedComponentsWithStats(
            (assigned == cluster).astype(np.uint8), connectivity=4
        )
        for part in range(1, count):
            area = int(stats[part, cv2.CC_STAT_AREA])
            if smallest * _SIDE**2 <= area <= largest * _SIDE**2:
                found.append((area, parts == part))
    found.sort(key=lambda item: -item[0])
    h, w = image.shape[:2]
    labels = np.zeros((h, w), np.uint8)
    for number, (_, mask) in enumerate(found[:250], start=1):
        large = cv2.resize(mask.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        labels[large > 0.5] = number
    return labels
