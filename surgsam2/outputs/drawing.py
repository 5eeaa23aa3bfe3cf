"""Drawing of results over frames."""

from __future__ import annotations

import numpy as np

from surgsam2.outputs.base import OutputContext
from surgsam2.results.drawing import draw_masks
from surgsam2.results.frame_result import FrameResult


def draw_overlay(
    frame: np.ndarray, result: FrameResult, context: OutputContext, opacity: float = 0.35
) -> np.ndarray:
    """Draw every object of a result over a copy of a frame; see `draw_masks`.

    Args:
        frame: the pixels, (H, W, 3) uint8 RGB, which are not changed.
        result: the result of the frame.
        context: the objects with their names and colours.
        opacity: opacity of the fills, 0 to 1.

    Returns:
        The picture, (H, W, 3) uint8 RGB.
    """
    order = context.drawing_order(result)
    return draw_masks(
        frame,
        [result.masks[i] for i in order],
        [context.object(result.object_ids[i]) for i in order],
        result.frame_index,
        opacity,
    )
