"""Outlines of masks."""

from __future__ import annotations

import cv2
import numpy as np

_FINE = 3
"""Times by which a mask is enlarged, so that outlines follow the edges of its pixels."""
_TOLERANCE = 0.5
"""Largest distance in pixels by which a corner may be left out."""


def polygons_of(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outer outline of each connected part of a mask, the largest first.

    Args:
        mask: (H, W) bool.

    Returns:
        Arrays (P, 2) float64 of x and y, P at least 3, in pixels from the top left edge of the
        picture, so that the first pixel reaches from 0 to 1. Parts are connected by corners too.
    """
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    x, y, width, height = cv2.boundingRect(pixels)
    if not width:
        return []
    part = np.kron(pixels[y : y + height, x : x + width], np.ones((_FINE, _FINE), np.uint8))
    found, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = []
    for contour in sorted(found, key=cv2.contourArea, reverse=True):
        corners = cv2.approxPolyDP(contour, _TOLERANCE * _FINE, closed=True)[:, 0]
        if len(corners) < 3:
            corners = contour[:, 0]
        outlines.append((corners + 0.5) / _FINE + (x, y))
    return outlines


def joined(outlines: list[np.ndarray]) -> np.ndarray:
    """Return one outline of several: each further one is reached and left along one line.

    Args:
        outlines: (P, 2) arrays, at least one.

    Returns:
        (Q, 2), the outline of all; the lines between the parts enclose nothing.
    """
    result = outlines[0]
    for outline in outlines[1:]:
        distances = np.linalg.norm(result[:, None] - outline[None], axis=2)
        at, to = np.unravel_index(int(distances.argmin()), distances.shape)
        turned = np.roll(outline, -int(to), axis=0)
        result = np.concatenate([result[: at + 1], turned, turned[:1], result[at:]])
    return result
