"""Frames and prompts of the benchmark, the same for every subject."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from surgsam2.data import generate_clip
from surgsam2.prompts import PromptSet
from surgsam2.storage.atomic_file import writing
from surgsam2.video.h264 import add_h264

DISTINCT = 16
"""Number of generated frames; longer clips repeat them forward and backward."""
_GRID = 4
"""Objects per row and rows of the grid of prompts."""


def write_clip(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a generated H.264 clip.

    Args:
        path: The file, in MP4 format.
        frames: Number of frames.
        size: (width, height) in pixels, both even.

    Raises:
        InputError: The generator refuses the size.
        OutputError: The file cannot be written.
    """
    clip = generate_clip(1, frames=min(frames, DISTINCT), size=size)
    pictures = [picture for _, picture, _ in clip.frames()]
    pictures += pictures[-2:0:-1]
    with writing(path), av.open(str(path), "w", format="mp4") as container:  # noqa: TID251
        stream = add_h264(container, size, 25, preset="veryfast", crf=18)
        for index in range(frames):
            picture = pictures[index % len(pictures)]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def make_prompts(objects: int, size: tuple[int, int]) -> PromptSet:
    """Make mask prompts on frame 0: discs on a grid, one per object.

    Args:
        objects: Number of objects, 1 to 16.
        size: (width, height) of the clip in pixels.
    """
    width, height = size
    radius = max(2, min(size) // (3 * _GRID))
    prompts = PromptSet()
    for number in range(objects):
        row, column = divmod(number, _GRID)
        centre = (width * (2 * column + 1) // (2 * _GRID), height * (2 * row + 1) // (2 * _GRID))
        mask = np.zeros((height, width), np.uint8)
        cv2.circle(mask, centre, radius, 1, -1)
        prompts.add(object_id=number + 1, frame=0, mask=mask.astype(bool))
    return prompts
