"""What every reader of saved masks offers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from surgsam2.errors import InputError
from surgsam2.prompts import ObjectClass
from surgsam2.prompts.prompt_set import default_name
from surgsam2.storage.palette import default_color


class SavedMasks(ABC):
    """The masks of one video on disk."""

    path: Path
    """The folder or file."""
    frames: tuple[int, ...]
    """Indices of the frames that are in the files, ascending, from 0."""
    assumed: tuple[str, ...] = ()
    """Sentences about what the files do not say and was assumed."""

    @abstractmethod
    def read(self, frame: int) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks of a frame by object id.

        Raises:
            InputError: the file is damaged.
        """

    def name(self, object_id: int) -> str:
        """Return the name of an object."""
        return default_name(object_id)

    def color(self, object_id: int) -> str:
        """Return the colour of an object as ``#rrggbb``."""
        return default_color(object_id)

    def object_class(self, object_id: int) -> ObjectClass | None:
        """Return what an object is; None when the files do not say."""
        return None

    def check(self, width: int, height: int, frame_count: int) -> tuple[int, ...]:
        """Read everything once and return the ids of all objects, ascending.

        Args:
            width: width of the video in pixels.
            height: height of the video in pixels.
            frame_count: number of frames of the video.

        Raises:
            InputError: a file is damaged, or does not fit the video.
        """
        if self.frames and self.frames[-1] >= frame_count:
            raise InputError(
                f"{self.path} has masks for frame {self.frames[-1]}, the video has "
                f"{frame_count} frames; the last one is frame {frame_count - 1}"
            )
        ids: set[int] = set()
        for frame in self.frames:
            for object_id, mask in self.read(frame).items():
                if mask.shape != (height, width):
                    raise InputError(
                        f"{self.path}, frame {frame}: the masks have {mask.shape[1]} x "
                        f"{mask.shape[0]} pixels, the video {width} x {height}"
                    )
                ids.add(object_id)
        if not ids:
            raise InputError(f"{self.path} has no masks")
        return tuple(sorted(ids))


def frame_number(stem: str, path: Path) -> int:
    """Return the last number in a file's name; see `last_number`."""
    return int(last_number(stem, path)[0])


def last_number(stem: str, path: Path) -> re.Match[str]:
    """Return the last number in a file's name, as a match with its place.

    Raises:
        InputError: there is none, or it has more digits than any frame number.
    """
    numbers = list(re.finditer(r"\d+", stem))
    if not numbers:
        raise InputError(f"{path}: {stem!r} has no frame number; expected a name such as 00012.png")
    if len(numbers[-1][0]) > 18:
        raise InputError(f"{path}: {stem!r} does not end in a frame number")
    return numbers[-1]
