"""COCO files of strangers: masks as polygons or run lengths, checked before they are used.

Everything that a file declares is checked first: sizes, frame numbers, object ids, coordinates.
Run lengths are decoded here, with numpy. Polygons are drawn by pycocotools, whose compiled code
does not check what it is given, so only coordinates near the picture reach it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.errors import InputError, MissingDependencyError, PromptError
from surgsam2.prompts import MAX_OBJECT_ID, ObjectClass
from surgsam2.prompts.checks import show
from surgsam2.prompts.prompt_set import default_name
from surgsam2.results.coco_writers import frame_numbers, object_ids, writer_of
from surgsam2.results.mask_source import SavedMasks
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.limits import FRAMES, MASK_PIXELS, size_allowed
from surgsam2.storage.palette import default_color, hex_color

CLASS = "class"
"""The ``supercategory`` of categories that are classes of objects."""
VERTICES = 1_000_000
"""The most corners that the polygons of one mask may have together."""


class CocoFile(SavedMasks):
    """A COCO annotation file: one image per frame, one category per class or object.

    `frame_numbers` and `object_ids` of `surgsam2.results.coco_writers` say which frame an image
    is and which object a mask belongs to, as the program that wrote the file means it. What they
    assume is in `assumed`.

    Args:
        path: the file.
        merge: whether all masks of one category on a frame are one object in a file that does not
            tell objects apart; None refuses such a file if it has several on one frame.

    Raises:
        InputError: it is not a COCO file of masks, cannot be read, or declares what no video has.
    """

    def __init__(self, path: Path, merge: bool | None = None) -> None:
        self.path = path
        self._merge = merge
        self._images: dict[int, tuple[int, int]] = {}
        self._codes: dict[int, list[tuple[int, Any]]] = defaultdict(list)
        self._categories: dict[int, dict[str, Any]] = {}
        self._tracks: dict[int | str, dict[str, Any]] = {}
        data = _parse(path)
        try:
            self._take(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is not a COCO file of masks: {error!r}") from error
        self.frames = tuple(sorted(self._images))

    def read(self, frame: int) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks of a frame by object id.

        Raises:
            InputError: a mask is damaged, or there are too many of them.
            MissingDependencyError: a mask is a polygon, and pycocotools is not installed.
        """
        height, width = self._images[frame]
        masks: dict[int, np.ndarray] = {}
        for object_id, code in self._codes[frame]:
            try:
                mask = _decode(code, height, width)
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise InputError(
                    f"{self.path}, frame {frame}: the mask of object {object_id} is damaged "
                    f"({error})"
                ) from error
            masks[object_id] = masks[object_id] | mask if object_id in masks else mask
            if len(masks) * mask.size > MASK_PIXELS.value:
                raise InputError(
                    f"{self.path}, frame {frame}: the masks of its objects have more than "
                    f"{MASK_PIXELS.value} pixels together; raise {MASK_PIXELS.variable} if the "
                    "file is right"
                )
        return masks

    def name(self, object_id: int) -> str:
        """Return the name of the object's track, else of its category."""
        name = self._described(object_id).get("name")
        return str(name or default_name(object_id))

    def color(self, object_id: int) -> str:
        """Return the colour of the object's track, else of its category."""
        return hex_color(self._described(object_id).get("color")) or default_color(object_id)

    def object_class(self, object_id: int) -> ObjectClass | None:
        """Return the object's category when the file says that it is a class."""
        category = self._categories.get(object_id, {})
        if category.get("supercategory") != CLASS or object_id not in self._tracks:
            return None
        try:
            return ObjectClass(category["id"], category["name"], hex_color(category.get("color")))
        except (KeyError, PromptError):
            return None

    def _described(self, object_id: int) -> dict[str, Any]:
        return self._tracks.get(object_id) or self._categories.get(object_id, {})

    def check(self, width: int, height: int, frame_count: int) -> tuple[int, ...]:
        """Check all sizes before any mask is decoded, then as `SavedMasks.check`."""
        for frame, (rows, columns) in self._images.items():
            if (rows, columns) != (height, width):
                raise InputError(
                    f"{self.path}, frame {frame}: the masks have {columns} x {rows} pixels, the "
                    f"video {width} x {height}"
                )
        return super().check(width, height, frame_count)

    def _take(self, data: Any) -> None:
        categories = {_key(item["id"]): item for item in data.get("categories", [])}
        self._tracks = {_key(item["id"]): item for item in data.get("tracks", [])}
        writer = writer_of(data)
        numbers = frame_numbers(data["images"], writer, self.path)
        frame_of: dict[int | str, int] = {}
        for image, frame in zip(data["images"], numbers.values, strict=True):
            self._check_frame(frame)
            if frame in self._images:
                raise InputError(f"{self.path}: frame {frame} has two images; keep one of them")
            frame_of[_key(image["id"])] = frame
            self._images[frame] = self._size(image, frame)
        items = data["annotations"]
        frames = [frame_of[_key(item["image_id"])] for item in items]
        objects = object_ids(items, frames, categories, writer, self.path, self._merge)
        self.assumed = (*numbers.assumed, *objects.assumed)
        for item, frame, given in zip(items, frames, objects.values, strict=True):
            if not _is_whole(given) or not 1 <= given <= MAX_OBJECT_ID:
                raise InputError(
                    f"{self.path}: object ids are whole numbers from 1 to {MAX_OBJECT_ID}, got "
                    f"{show(given)}"
                )
            self._categories.setdefault(given, categories.get(_key(item["category_id"]), {}))
            self._codes[frame].append((given, item["segmentation"]))

    def _check_frame(self, frame: Any) -> None:
        if not _is_whole(frame) or not 0 <= frame < FRAMES.value:
            raise InputError(
                f"{self.path}: frame_index must be a whole number from 0 to {FRAMES.value - 1}, "
                f"got {show(frame)}"
            )

    def _size(self, image: dict[str, Any], frame: int) -> tuple[int, int]:
        height, width = image["height"], image["width"]
        fits = _is_whole(width) and _is_whole(height) and width > 0 and height > 0
        if not fits or not size_allowed(width, height):
            raise InputError(
                f"{self.path}, frame {frame}: no video has frames of {show(width)} x "
                f"{show(height)} pixels"
            )
        return height, width


def _decode(code: Any, height: int, width: int) -> np.ndarray:
    """Return the (H, W) bool mask of polygons or run lengths.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: the code is damaged.
    """
    if isinstance(code, list):
        return _polygons(code, height, width)
    if list(code["size"]) != [height, width]:
        raise ValueError(f"it is of size {show(code['size'])}, the image of [{height}, {width}]")
    counts = code["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    if not all(_is_whole(run) and 0 <= run <= height * width for run in runs):
        raise ValueError("a run is not a whole number of pixels")
    lengths = np.array(runs, np.int64)
    if int(lengths.sum()) != height * width:
        raise ValueError(
            f"its runs cover {int(lengths.sum())} pixels, the image has {height * width}"
        )
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T.copy()


def _uncompressed(text: str) -> list[int]:
    """Return the runs of COCO's compressed form.

    Each number is written in groups of five bits, least first, as characters from ``0`` on; the
    sixth bit says that more follow, and the fifth of the last group is the sign. From the third
    number on, the difference to the number two places before is written.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 60:
            raise ValueError("its run lengths are not in COCO's compressed form")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its run lengths end in the middle of a number")
    return runs


def _polygons(polygons: list[Any], height: int, width: int) -> np.ndarray:
    corners = 0
    for polygon in polygons:
        corners += len(polygon) // 2
        if len(polygon) < 6 or len(polygon) % 2 or corners > VERTICES:
            raise ValueError(
                f"a polygon is a list of 3 to {VERTICES} corners, as x, y, x, y and so on"
            )
        limits = (width, height)
        for position, value in enumerate(polygon):
            side = limits[position % 2]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or not -side <= value <= 2 * side:
                raise ValueError(f"a corner at {show(value)} is far outside the picture")
    if not polygons:
        return np.zeros((height, width), bool)
    try:
        from pycocotools import mask as rle
    except ImportError as error:
        raise MissingDependencyError(
            f"masks given as polygons need the Python package pycocotools ({error}); install it"
        ) from error
    return np.asarray(rle.decode(rle.merge(rle.frPyObjects(polygons, height, width))), bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _key(value: Any) -> int | str:
    """Return an id as it is; `TypeError` for what is no id."""
    if _is_whole(value) or isinstance(value, str):
        return value
    raise TypeError(f"an id must be a whole number or text, got {show(value)}")


def _parse(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not a JSON file: {error}") from error
