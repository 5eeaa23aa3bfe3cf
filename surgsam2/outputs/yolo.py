"""A dataset in the layout of YOLO segmentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.classes import class_names, classes_of
from surgsam2.outputs.frame_images import frame_file, write_frame
from surgsam2.outputs.polygons import joined, polygons_of
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import write_text_atomically, writing


class YoloWriter(OutputWriter):
    """Writes ``yolo/``: ``images/00000.jpg``, ``labels/00000.txt`` and ``data.yaml``.

    A label file has a line per object: the class from 0, then x and y of its outline as shares
    of the picture's width and height. Parts of one object are joined by lines that enclose
    nothing, as YOLO's own converter does; holes are lost. Object ids have no place in this format.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._root = self.folder / "yolo"
        self._classes = classes_of(context.objects)
        self._images, self._labels = self._root / "images", self._root / "labels"
        with writing(self._root):
            self._images.mkdir(parents=True, exist_ok=True)
            self._labels.mkdir(exist_ok=True)
        names = class_names(self._classes)
        lines = ["path: .", "train: images", "val: images", "names:"]
        lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]
        write_text_atomically(self._root / "data.yaml", "\n".join(lines) + "\n")

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        name = frame_file(self.context, result.frame_index)
        write_frame(self._images / f"{name}.jpg", frame)
        size = (self.context.width, self.context.height)
        lines = []
        for object_id, mask in zip(result.object_ids, result.masks, strict=True):
            if outlines := polygons_of(mask):
                shares = np.clip(joined(outlines) / size, 0, 1).ravel()
                number = self._classes[object_id].id - 1
                lines.append(" ".join([str(number), *(f"{share:.6f}" for share in shares)]) + "\n")
        write_text_atomically(self._labels / f"{name}.txt", "".join(lines))

    def close(self) -> None:
        """Do nothing: every file is complete once it is written."""
