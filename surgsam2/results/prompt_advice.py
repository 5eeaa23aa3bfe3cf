"""Advice on prompts, from the frame and the mask that a prompt gave: what a person would notice."""

from __future__ import annotations

import cv2
import numpy as np

from surgsam2.prompts import Prompt

BLACK = 16
"""The highest red, green or blue value of the black around an endoscope's picture."""
BLACK_SHARE = 0.9
"""Share of the surroundings of a point that is black where the point lies outside the picture."""
SURROUNDINGS = 0.02
"""Half the side of the square around a point that is looked at, as a share of the frame's side."""
LEAST_FILL = 0.15
"""Least share of a box that a mask of a usual object fills."""
MOST_OUTSIDE = 0.3
"""Greatest share of a mask that lies outside its box."""
LEAST_LARGEST_PART = 0.6
"""Least share of a mask that its largest connected part has."""
SPECKS = 4
"""Number of parts from which on a mask without a large part counts as specks."""


def advise(frame: np.ndarray, prompt: Prompt, mask: np.ndarray) -> list[str]:
    """Return sentences about a prompt that a person would want to look at again.

    Args:
        frame: the pixels, (H, W, 3) uint8 RGB.
        prompt: the prompt of one object on this frame.
        mask: the mask that it gave, (H, W) bool.

    Returns:
        A clause for each doubt, in lower case and without a full stop; none is the usual case.
    """
    found = []
    for (x, y), label in zip(prompt.points.tolist(), prompt.labels.tolist(), strict=True):
        if label and _is_black(frame, x, y):
            found.append(
                f"the point [{x:g}, {y:g}] is on black, outside the picture of the endoscope or in "
                "a shadow; click on the object itself"
            )
    if prompt.mask is not None:
        return found
    if not mask.any():
        return [*found, "the prompt gave no mask; add a point on the object, or draw a box"]
    if prompt.box is not None:
        found += _box_advice(prompt.box, mask)
    parts = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)[2][1:, 4]
    share = parts.max() / parts.sum()
    if len(parts) >= SPECKS and share < LEAST_LARGEST_PART:
        found.append(
            f"the mask consists of {len(parts)} parts, of which the largest has {share:.0%} of the "
            "area; add a point on the object, or draw a box"
        )
    return found


def _is_black(frame: np.ndarray, x: float, y: float) -> bool:
    height, width = frame.shape[:2]
    reach = max(2, round(SURROUNDINGS * min(height, width)))
    column = min(max(round(x), 0), width - 1)
    row = min(max(round(y), 0), height - 1)
    around = frame[
        max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
    ]
    return bool((around.max(axis=-1) <= BLACK).mean() >= BLACK_SHARE)


def _box_advice(box: np.ndarray, mask: np.ndarray) -> list[str]:
    height, width = mask.shape
    x0, y0 = np.maximum(np.ceil(box[:2]), 0).astype(int)
    x1, y1 = (np.floor(box[2:]) + 1).astype(int)
    inside = mask[y0 : min(y1, height), x0 : min(x1, width)]
    found = []
    if inside.size and inside.mean() < LEAST_FILL:
        found.append(
            f"the mask fills {inside.mean():.0%} of its box; draw the box closer around the "
            "object, or add a point on it"
        )
    outside = 1 - inside.sum() / mask.sum()
    if outside > MOST_OUTSIDE:
        found.append(
            f"{outside:.0%} of the mask lies outside its box; add a negative point where it leaves "
            "the object"
        )
    return found
