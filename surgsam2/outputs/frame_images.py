"""The frames of a run as image files beside their labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from surgsam2.outputs.base import OutputContext
from surgsam2.storage.atomic_file import write_bytes_atomically
from surgsam2.storage.label_image import label_name

QUALITY = 95
"""JPEG quality of the frames."""


def frame_file(context: OutputContext, frame_index: int) -> str:
    """Return the name, without suffix, of the files of a frame.

    It is the name of the frame's source image if names are to be told, else its number.
    """
    return context.frame_name(frame_index) or Path(label_name(frame_index)).stem


def write_frame(path: Path, frame: np.ndarray) -> None:
    """Write a frame, (H, W, 3) uint8 RGB, as a JPEG file; `OutputError` if the disk refuses."""
    pixels = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    write_bytes_atomically(path, data.tobytes())
