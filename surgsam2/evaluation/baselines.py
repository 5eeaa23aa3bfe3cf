"""Two trivial trackers. One that does not beat them is not worth its cost.

* `CopyFirstMask`: each object's first true mask, unchanged on every later frame.
* `FlowFirstMask`: the same mask carried along by dense optical flow (OpenCV's DIS).

Both start from the full true mask whatever the prompt setting of the models beside
them, and neither knows when an object leaves.
"""

from __future__ import annotations

import cv2
import numpy as np


class CopyFirstMask:
    """The first mask of each object, on every frame from there on."""

    name = "first mask copied"
    needs_frames = False

    def __init__(self) -> None:
        self._masks: dict[int, np.ndarray] = {}

    def step(self, frame: np.ndarray, new: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """The masks of the objects that start on a frame, which is not looked at; all so far."""
        self._masks.update({object_id: mask.copy() for object_id, mask in new.items()})
        return dict(self._masks)


class FlowFirstMask:
    """The first mask of each object, warped by the optical flow since its first frame.

    For every pixel the flow back to the previous frame is added up to a position in
    the first frame, where the mask is looked up. Positions are interpolated, the mask
    itself is not, so its outline is not blurred by thousands of warps. One map of
    positions is kept for all objects that start on the same frame.
    """

    name = "first mask by optical flow"
    needs_frames = True

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._previous: np.ndarray | None = None
        self._grid = np.zeros((0, 0, 2), np.float32)
        self._starts: list[tuple[dict[int, np.ndarray], np.ndarray]] = []

    def step(self, frame: np.ndarray, new: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
        """One RGB frame and the masks of the objects that start on it; all masks so far."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if self._previous is None:
            x, y = np.meshgrid(np.arange(grey.shape[1]), np.arange(grey.shape[0]))
            self._grid = np.stack([x, y], axis=-1).astype(np.float32)
        elif self._starts:
            back = self._grid + self._flow.calc(grey, self._previous, np.zeros((0, 0)))
            self._starts = [
                (masks, _look_up(origin, back, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE))
                for masks, origin in self._starts
            ]
        self._previous = grey
        if new:
            masks = {object_id: mask.astype(np.uint8) for object_id, mask in new.items()}
            self._starts.append((masks, self._grid.copy()))
        carried = {}
        for masks, origin in self._starts:
            for object_id, mask in masks.items():
                # a position outside the first frame has no object
                found = _look_up(mask, origin, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
                carried[object_id] = found.astype(np.bool_)
        return carried


def _look_up(image: np.ndarray, positions: np.ndarray, how: int, border: int) -> np.ndarray:
    """`image` at (H, W, 2) float32 positions (x, y)."""
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    return np.asarray(cv2.remap(image, x, y, how, borderMode=border))


BASELINES: dict[str, type[CopyFirstMask] | type[FlowFirstMask]] = {
    "copy": CopyFirstMask,
    "flow": FlowFirstMask,
}
