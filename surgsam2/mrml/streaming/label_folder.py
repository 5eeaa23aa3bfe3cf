"""The masks of a streamed video: label images on disk, one per segmented frame."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from surgsam2.errors import ImageFileError, InputError
from surgsam2.mrml.styles import ObjectStyle
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.label_image import LABELS, label_name, label_palette, write_labels
from surgsam2.storage.output_folder import hold_output
from surgsam2.storage.palette import rgb_of


class LabelFolder:
    """The folder ``masks`` of an output folder, as `surgsam2 segment` writes it too.

    A label image is (H, W) object ids, 0 where there is no object. A frame without a file
    has not been segmented.

    Args:
        folder: the output folder; it is made when it is not there. Label images that are in
            it already count.
        width: width of the video in pixels.
        height: height of the video in pixels.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """

    def __init__(self, folder: Path, width: int, height: int) -> None:
        with hold_output(folder):
            self._folder = folder / LABELS
            with writing(self._folder):
                self._folder.mkdir(exist_ok=True)
        self._size = (height, width)
        self._last = (-1, np.zeros(self._size, np.uint16))  # frame and labels, written or read
        self._frames = {
            int(path.stem) for path in self._folder.glob("*.png") if path.stem.isdecimal()
        }

    @property
    def frames(self) -> list[int]:
        """Frames that have a label image, ascending."""
        return sorted(self._frames)

    def has(self, frame: int) -> bool:
        """Return whether a frame has a label image."""
        return frame in self._frames

    def read(self, frame: int) -> np.ndarray:
        """Return the object ids of a frame, (H, W) uint16; zeros for a frame without a file.

        Raises:
            InputError: the file is damaged, or not of this video.
        """
        if frame not in self._frames:
            return np.zeros(self._size, np.uint16)
        if frame != self._last[0]:  # callers ask for one object after another
            self._last = (frame, self._load(frame))
        return self._last[1].copy()

    def write(self, frame: int, labels: np.ndarray, objects: Iterable[ObjectStyle]) -> None:
        """Write the label image of a frame.

        Args:
            frame: index of the frame.
            labels: (H, W) object ids.
            objects: all objects, for the colours of the image.

        Raises:
            OutputError: the disk is full or cannot be written; the file that was there is intact.
        """
        palette = label_palette({style.id: rgb_of(style.color) for style in objects})
        kind = np.uint16 if palette is None else np.uint8
        write_labels(self._path(frame), labels.astype(kind), palette)
        self._frames.add(frame)
        self._last = (frame, labels.astype(np.uint16))

    def remove(self, frame: int) -> None:
        """Delete the masks of a frame, as if it had not been segmented.

        Raises:
            OutputError: the file cannot be deleted.
        """
        with writing(self._path(frame)):
            self._path(frame).unlink(missing_ok=True)
        self._frames.discard(frame)
        self._last = (-1, self._last[1])

    def remove_object(self, object_id: int, objects: Iterable[ObjectStyle]) -> None:
        """Remove an object from all files; that takes a millisecond or two for each.

        Args:
            object_id: the object.
            objects: the objects that stay, for the colours of the images.

        Raises:
            InputError: a file cannot be read; those before it are done.
            OutputError: a file cannot be written; those before it are done.
        """
        rest = tuple(objects)
        for frame in self.frames:
            labels = self.read(frame)
            there = labels == object_id
            if there.any():
                labels[there] = 0
                self.write(frame, labels, rest)

    def _load(self, frame: int) -> np.ndarray:
        path = self._path(frame)
        try:
            stored = read_pixels(path)
        except ImageFileError as error:
            raise InputError(
                f"the masks of frame {frame}, {path}, cannot be read ({error.reason}); delete "
                "the file and track the frame again"
            ) from error
        mode, labels = stored.mode, stored.values
        if mode not in ("P", "L", "I", "I;16") or labels.shape != self._size:
            raise InputError(
                f"{path} is no label image of this video: {mode}, {labels.shape}, expected "
                f"{self._size} object ids; delete the file and track the frame again"
            )
        return labels.astype(np.uint16)

    def _path(self, frame: int) -> Path:
        return self._folder / label_name(frame)
