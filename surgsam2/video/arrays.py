"""A video that is a numpy array in memory."""

from __future__ import annotations

import numpy as np

from surgsam2.errors import InputError
from surgsam2.video.base import Video, check_size


class ArrayVideo(Video):
    """A ``(T, H, W, 3)`` RGB or ``(T, H, W)`` grey uint8 array, which is not copied.

    Args:
        array: the frames.
        fps: frames per second.
        source: name of the video in messages.

    Raises:
        InputError: the array has another shape or type, or no frame.
    """

    def __init__(self, array: np.ndarray, *, fps: float, source: str = "array") -> None:
        shape = "x".join(map(str, array.shape))
        if array.dtype != np.uint8:
            raise InputError(
                f"a video array must be uint8 (0 to 255), got {array.dtype} {shape}; "
                "scale and convert it first"
            )
        if array.ndim == 3 and array.shape[2] in (3, 4):
            raise InputError(
                f"a video array must be (T, H, W, 3) or (T, H, W), got {shape}, which looks like "
                "one frame; use array[None] for a video of one frame"
            )
        if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3):
            hint = ""
            if array.ndim == 4 and array.shape[1] == 3:
                hint = "; move the channels last: array.transpose(0, 2, 3, 1)"
            elif array.ndim == 4 and array.shape[3] == 4:
                hint = "; drop the alpha channel: array[..., :3]"
            raise InputError(
                f"a video array must be (T, H, W, 3) or (T, H, W) uint8, got {shape}{hint}"
            )
        if 0 in array.shape:
            raise InputError(f"a video array must have at least one frame and pixel, got {shape}")
        count, height, width = array.shape[:3]
        check_size(source, width, height)
        super().__init__(source, width=width, height=height, fps=fps, frame_count=count)
        self._array = array

    def _read(self, index: int) -> np.ndarray:
        return as_rgb(self._array[index])


def as_rgb(frame: np.ndarray) -> np.ndarray:
    """Copy an (H, W, 3) or grey (H, W) frame to a C-contiguous (H, W, 3) array."""
    if frame.ndim == 2:
        return np.repeat(frame[:, :, None], 3, axis=2)
    return np.array(frame, order="C")
