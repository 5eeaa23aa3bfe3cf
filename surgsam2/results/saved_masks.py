"""Masks that were saved as label images or as a COCO file, frame by frame.

    saved = open_saved_masks("operation_masks")
    for frame in saved.frames:
        for object_id, mask in saved.read(frame).items():
            ...

Reads what `surgsam2.outputs` writes, and such files of other programs: DAVIS and VOC label
images, COCO with polygons or run lengths.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from surgsam2.errors import DatasetError, InputError, MissingDependencyError
from surgsam2.results.coco_file import CocoFile
from surgsam2.results.mask_source import SavedMasks, frame_number
from surgsam2.storage.limits import MASK_PIXELS
from surgsam2.storage.palette import default_color

logger = logging.getLogger(__name__)


def open_saved_masks(path: Path | str, *, merge: bool | None = None) -> SavedMasks:
    """Open a folder of label images, a folder with such a ``masks`` folder, or a COCO file.

    What the files do not say and is assumed is logged, and stands in `SavedMasks.assumed`.

    Args:
        path: the folder or file.
        merge: whether the masks of one category on a frame are one object, in a COCO file that
            does not tell objects apart; None refuses such a file if it has several on one frame.

    Raises:
        InputError: it is none of these, or cannot be read.
        MissingDependencyError: a package that reads it is not installed.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return LabelImages(path)
        saved = CocoFile(path, merge)
        for sentence in saved.assumed:
            logger.warning("%s: %s", path, sentence)
        return saved
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} cannot be read: the Python package {error.name} is missing"
        ) from error


class LabelImages(SavedMasks):
    """A folder of PNG files whose pixels are object ids; the number in a name is the frame.

    Raises:
        InputError: the folder has no such files, or those of several videos.
    """

    def __init__(self, folder: Path) -> None:
        from surgsam2.data.label_reader import label_files, label_folders

        self.path = folder
        try:
            folders = label_folders(folder).folders
        except DatasetError as error:
            raise InputError(str(error)) from error
        if len(folders) > 1:
            names = ", ".join(list(folders)[:10])
            raise InputError(
                f"{folder} has masks of several videos: {names}; choose the folder of one"
            )
        self._files: dict[int, Path] = {}
        for stem, path in label_files(next(iter(folders.values()))).items():
            frame = frame_number(stem, path)
            if frame in self._files:
                raise InputError(f"{path} and {self._files[frame].name} are both frame {frame}")
            self._files[frame] = path
        self.frames = tuple(sorted(self._files))

    def read(self, frame: int) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks of a frame by object id; `InputError` if damaged."""
        from surgsam2.data.label_reader import label_ids, read_labels

        path = self._files[frame]
        file = read_labels(path)
        if file.labels is None:
            raise InputError(f"{path}: {file.message}")
        ids = label_ids(file.labels)
        if len(ids) * file.labels.size > MASK_PIXELS.value:
            raise InputError(
                f"{path}: the masks of its {len(ids)} objects have more than {MASK_PIXELS.value} "
                f"pixels together; is it a label image? If it is, raise {MASK_PIXELS.variable}"
            )
        return {object_id: file.labels == object_id for object_id in ids}

    def color(self, object_id: int) -> str:
        """Return the colour in the images' palette, if they have one."""
        from surgsam2.storage.image_file import read_pixels

        palette = read_pixels(self._files[self.frames[0]]).palette
        rgb = palette[3 * object_id : 3 * object_id + 3]
        return f"#{rgb.hex()}" if len(rgb) == 3 and any(rgb) else default_color(object_id)
