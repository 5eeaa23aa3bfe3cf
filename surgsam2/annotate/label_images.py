"""The label images of a project: one PNG for each frame with a mask, written at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from surgsam2.errors import ImageFileError, OutputError
from surgsam2.storage.atomic_file import write_bytes_atomically, writing
from surgsam2.storage.image_file import read_pixels
from surgsam2.storage.label_image import LABELS, label_name, label_palette, write_labels
from surgsam2.storage.palette import rgb_of


class LabelImages:
    """Label images of one size in the folder of a project. The latest one is kept in memory.

    Args:
        folder: the folder of the project; the images are in its folder ``masks``.
        width: the width of the video in pixels.
        height: the height of the video in pixels.

    Raises:
        OutputError: the folder for the images cannot be made.
    """

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._folder = folder / LABELS
        self._size = (height, width)
        self._latest: tuple[int, np.ndarray] | None = None
        with writing(folder):
            self._folder.mkdir(exist_ok=True)

    def read(self, frame: int) -> np.ndarray:
        """Return the (H, W) uint16 object ids of a frame, 0 where there is no object.

        Raises:
            OutputError: the label image cannot be read.
        """
        if self._latest is None or self._latest[0] != frame:
            self._latest = (frame, self._read(frame))
        return self._latest[1]

    def write(self, frame: int, labels: np.ndarray, colors: Mapping[int, str]) -> None:
        """Write the label image of a frame.

        Args:
            frame: the index of the frame.
            labels: (H, W) uint16 object ids.
            colors: ``#rrggbb`` by object id.

        Raises:
            OutputError: the file cannot be written; the file before is intact.
        """
        palette = label_palette({object_id: rgb_of(color) for object_id, color in colors.items()})
        stored = labels.astype(np.uint8) if palette is not None else labels
        write_labels(self._path(frame), stored, palette)
        self._latest = (frame, labels)

    def file_bytes(self, frame: int) -> bytes | None:
        """Return the bytes of the image of a frame; None when there is none."""
        path = self._path(frame)
        return path.read_bytes() if path.is_file() else None

    def put_back(self, frame: int, data: bytes | None) -> None:
        """Make the image of a frame what `file_bytes` returned before."""
        self._latest = None
        path = self._path(frame)
        if data is None:
            with writing(path):
                path.unlink(missing_ok=True)
        else:
            write_bytes_atomically(path, data)

    def frames_since(self, since_ns: int) -> Iterator[int]:
        """Yield the frames whose images were written at or after a time, in order.

        Args:
            since_ns: the time in nanoseconds, as `os.stat` gives it.
        """
        for path in sorted(self._folder.glob("[0-9]*.png")):
            if path.stem.isdigit() and path.stat().st_mtime_ns >= since_ns:
                yield int(path.stem)

    def _path(self, frame: int) -> Path:
        return self._folder / label_name(frame)

    def _read(self, frame: int) -> np.ndarray:
        path = self._path(frame)
        try:
            labels = read_pixels(path).values
        except ImageFileError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return np.zeros(self._size, np.uint16)
            raise OutputError(str(error)) from error
        if labels.shape != self._size:
            height, width = self._size
            raise OutputError(f"{path}: expected {width}x{height} pixels, got {labels.shape}")
        return labels.astype(np.uint16)
