"""Masks as a COCO annotation file."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from surgsam2.outputs.base import OutputContext, OutputUpdate, OutputWriter
from surgsam2.outputs.classes import classes_of
from surgsam2.outputs.polygons import polygons_of
from surgsam2.outputs.streamed import StreamedFile
from surgsam2.outputs.text_update import updated_parts
from surgsam2.prompts import instance_numbers
from surgsam2.results.coco_file import CLASS
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.palette import rgb_of

_ANNOTATION = re.compile(r'\{"id": \d+, ("image_id": (\d+), .*\})(,|\],)\n')
"""A line with an annotation: what follows its id, the image's id, and the end of the line."""
_IMAGE = re.compile(r'\{"id": (\d+), .*\n')


class CocoWriter(OutputWriter):
    """Writes ``annotations.coco.json``: one image per frame, one category per class.

    - images: ``id`` (frame index + 1), ``file_name`` (``00000.png``, the name of the label
      image), ``width``, ``height``, ``frame_index``, and ``source`` (the name of the frame's
      image file without its suffix) if names are to be told;
    - categories: ``id``, ``name``, ``supercategory``, ``color`` [r, g, b]. They are the classes of
      the objects (``supercategory`` "class"); objects without a class are of a category with
      their name ("object"), whose id is the first object's when no object has a class;
    - tracks, one per object: ``id`` (the object id), ``category_id``, ``instance`` (the number of
      the object within its category, from 1), ``name``, ``color``;
    - annotations: compressed RLE, ``area`` in pixels, ``bbox`` [x, y, width, height] in COCO's
      convention (edges of pixels), ``score`` (the predicted IoU) and ``presence``, both 0 to 1,
      ``category_id``, and the object id as ``object_id`` and ``track_id``. An empty mask has no
      annotation.

    Annotations go to a temporary file at once; memory holds one integer per frame.
    """

    file_name: ClassVar[str] = "annotations.coco.json"

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        from pycocotools import mask as rle

        self._rle = rle
        self._frames = array("q")
        self._count = 0
        self._classes = classes_of(context.objects)
        self._file = StreamedFile(self.folder / self.file_name)
        given = {item.object_class for item in context.objects}
        head = {
            "info": {"description": context.video_name, "version": "1.0"},
            "licenses": [],
            "categories": [
                {
                    "id": item.id,
                    "name": item.name,
                    "supercategory": CLASS if item in given else "object",
                    "color": rgb_of(item.color),
                }
                for item in {item.id: item for item in self._classes.values()}.values()
            ],
            "tracks": [
                {
                    "id": item.id,
                    "category_id": self._classes[item.id].id,
                    "instance": number,
                    "name": item.name,
                    "color": rgb_of(item.color),
                }
                for item, number in zip(
                    context.objects, instance_numbers(self._classes.values()), strict=True
                )
            ],
        }
        self._head = _dump(head)[:-1] + ",\n"
        self._file.write(self._head + '"annotations": [')

    @classmethod
    def update(cls, update: OutputUpdate) -> bool:
        """Write the annotations of the frames that changed; copy all others but for their number.

        See `OutputWriter.update`.
        """
        path = update.folder / cls.file_name
        if not path.is_file():
            return False
        writer = cls(update.folder, update.context)
        try:
            with writing(path), path.open(encoding="utf-8", newline="\n") as earlier:
                if earlier.readline() != writer._head:
                    raise ValueError("the objects are others")
                annotations = _annotations_in(earlier, update.before)
                for index, lines in updated_parts(annotations, update, writer._annotations):
                    writer._put(index, lines)
        except ValueError:
            writer._file.discard()
            return False
        writer.close()
        return True

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        self._put(result.frame_index, self._annotations(result))

    def _put(self, frame_index: int, annotations: list[str]) -> None:
        """Write the annotations of a frame, each as JSON after its id."""
        self._frames.append(frame_index)
        for annotation in annotations:
            self._count += 1
            begin = "\n" if self._count == 1 else ",\n"
            self._file.write(f'{begin}{{"id": {self._count}, {annotation}')

    def _annotations(self, result: FrameResult) -> list[str]:
        """Return the annotations of a result, each as JSON after its id."""
        found = []
        for i, object_id in enumerate(result.object_ids):
            mask = np.asfortranarray(result.masks[i].view(np.uint8))
            code = self._rle.encode(mask)
            area = int(self._rle.area(code))
            if not area:
                continue
            annotation = {
                "image_id": result.frame_index + 1,
                "category_id": self._classes[object_id].id,
                "object_id": object_id,
                "track_id": object_id,
                "segmentation": self._segmentation(result.masks[i], code),
                "area": area,
                "bbox": [int(value) for value in self._rle.toBbox(code)],
                "iscrowd": 0,
                "score": _score(result.iou_scores[i]),
                "presence": _score(result.presence[i]),
            }
            found.append(_dump(annotation)[1:])
        return found

    def _segmentation(self, mask: np.ndarray, code: dict[str, Any]) -> Any:
        """Return a mask, (H, W) bool, whose compressed RLE is given, as the file has it."""
        return {
            "size": [self.context.height, self.context.width],
            "counts": code["counts"].decode("ascii"),
        }

    def close(self) -> None:
        """Add the images and give the file its final name."""
        if self._file.closed:
            return
        self._file.write('],\n"images": [')
        for number, frame_index in enumerate(self._frames):
            image = {
                "id": frame_index + 1,
                "file_name": f"{frame_index:05d}.png",
                "width": self.context.width,
                "height": self.context.height,
                "frame_index": frame_index,
            }
            if name := self.context.frame_name(frame_index):
                image["source"] = name
            self._file.write(("\n" if number == 0 else ",\n") + _dump(image))
        self._file.write("]}\n")
        self._file.finish()


class CocoPolygonWriter(CocoWriter):
    """Writes ``polygons.coco.json``: the file of `CocoWriter` with outlines in place of RLE.

    Outlines are within a pixel of the mask's edge. Holes are lost; area and box are the mask's.
    """

    file_name: ClassVar[str] = "polygons.coco.json"

    def _segmentation(self, mask: np.ndarray, code: dict[str, Any]) -> Any:
        return [outline.round(2).ravel().tolist() for outline in polygons_of(mask)]


def _annotations_in(file: TextIO, frames: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """Yield frame index and annotation, as JSON after its id, of a file of `CocoWriter`.

    Args:
        file: the file after its first line.
        frames: indices of all frames that it must have.

    Raises:
        ValueError: the file is another program's, or has other frames.
    """
    line = file.readline()
    end = "," if line == '"annotations": [\n' else "],"
    while end == ",":
        line = file.readline()
        match = _ANNOTATION.fullmatch(line)
        if match is None:
            raise ValueError(f"not an annotation: {line[:80]}")
        end = match[3]
        yield int(match[2]) - 1, match[1]
    images = (_IMAGE.fullmatch(line) for line in file if not line.startswith('"images": ['))
    if tuple(int(match[1]) - 1 if match else -1 for match in images) != frames:
        raise ValueError("the frames are others")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _score(value: float) -> float | None:
    """Round to six decimals; NaN, which JSON does not have, becomes None."""
    return round(float(value), 6) if np.isfinite(value) else None
