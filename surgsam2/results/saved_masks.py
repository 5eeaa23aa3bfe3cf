"""Masks that were saved as label images or as a COCO file, frame by frame.

    saved = open_saved_masks("operation_masks")
    for frame in saved.frames:
        for object_id, mask in saved.read(frame).items():
            ...

Reads what `surgsam2.outputs` writes, and such files of other programs: DAVIS and VOC label
images, COCO with polygons or run lengths.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import DatasetError, InputError, MissingDependencyError
from surgsam2.prompts import MAX_OBJECT_ID
from surgsam2.prompts.prompt_set import default_name
from surgsam2.storage.limits import MASK_PIXELS
from surgsam2.storage.palette import default_color


class SavedMasks(ABC):
    """The masks of one video on disk."""

    path: Path
    """The folder or file."""
    frames: tuple[int, ...]
    """Indices of the frames that are in the files, ascending, from 0."""

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


def open_saved_masks(path: Path | str) -> SavedMasks:
    """Open a folder of label images, a folder with such a ``masks`` folder, or a COCO file.

    Raises:
        InputError: it is none of these, or cannot be read.
        MissingDependencyError: a package that reads it is not installed.
    """
    path = Path(path)
    try:
        return LabelImages(path) if path.is_dir() else CocoFile(path)
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
            frame = _frame_in(stem, path)
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


class CocoFile(SavedMasks):
    """A COCO annotation file: one image per frame, one category per object.

    The frame is the image's ``frame_index``, else the number in its file name. The object is
    the annotation's ``object_id``, else its ``track_id``, else its category.

    Raises:
        InputError: it is not a COCO file of masks, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        from pycocotools import mask as rle

        self._rle = rle
        self.path = path
        data = _parse(path)
        try:
            self._take(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is not a COCO file of masks: {error!r}") from error
        self.frames = tuple(sorted(self._images))

    def read(self, frame: int) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks of a frame by object id; `InputError` if damaged."""
        masks: dict[int, np.ndarray] = {}
        for object_id, code in self._codes[frame]:
            try:
                mask = self._decode(code, *self._images[frame])
            except Exception as error:  # compiled code that is given damaged data
                raise InputError(
                    f"{self.path}, frame {frame}: the mask of object {object_id} is damaged"
                ) from error
            masks[object_id] = masks[object_id] | mask if object_id in masks else mask
        return masks

    def _decode(self, code: Any, height: int, width: int) -> np.ndarray:
        """Decode a list of polygons, or run lengths, plain or compressed."""
        if isinstance(code, list):
            code = self._rle.merge(self._rle.frPyObjects(code, height, width))
        elif isinstance(code["counts"], list):
            code = self._rle.frPyObjects(code, height, width)
        if list(code["size"]) != [height, width]:
            raise ValueError("not of the image's size")
        return np.asarray(self._rle.decode(code), bool)

    def name(self, object_id: int) -> str:
        """Return the name of the object's category."""
        return str(self._categories.get(object_id, {}).get("name") or default_name(object_id))

    def color(self, object_id: int) -> str:
        """Return the colour of the object's category."""
        rgb = self._categories.get(object_id, {}).get("color")
        try:
            code = bytes(rgb or ()).hex()
        except (TypeError, ValueError):
            code = ""
        return f"#{code}" if len(code) == 6 else default_color(object_id)

    def _take(self, data: dict[str, Any]) -> None:
        categories = {item["id"]: item for item in data.get("categories", [])}
        self._images: dict[int, tuple[int, int]] = {}
        frame_of = {}
        for image in data["images"]:
            frame = image.get("frame_index")
            if frame is None:
                frame = _frame_in(Path(image["file_name"]).stem, self.path)
            frame_of[image["id"]] = int(frame)
            self._images[int(frame)] = (int(image["height"]), int(image["width"]))
        self._categories: dict[int, dict[str, Any]] = {}
        self._codes: dict[int, list[tuple[int, Any]]] = defaultdict(list)
        for item in data["annotations"]:
            category = item["category_id"]
            object_id = int(item.get("object_id", item.get("track_id", category)))
            if not 1 <= object_id <= MAX_OBJECT_ID:
                raise InputError(
                    f"{self.path}: object ids are 1 to {MAX_OBJECT_ID}, got {object_id}"
                )
            self._categories.setdefault(object_id, categories.get(category, {}))
            self._codes[frame_of[item["image_id"]]].append((object_id, item["segmentation"]))


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from error


def _frame_in(stem: str, path: Path) -> int:
    """Return the last number in a file's name."""
    numbers = re.findall(r"\d+", stem)
    if not numbers:
        raise InputError(f"{path}: {stem!r} has no frame number; expected a name such as 00012.png")
    return int(numbers[-1])
