"""Label images, one PNG per frame, in the layout of DAVIS and VOC."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.label_image import LABELS, label_name, label_palette, write_labels


class LabelPngWriter(OutputWriter):
    """Writes ``masks/00000.png``, ...: the pixel value is the object id, 0 is background.

    Files are named after the frame index, with at least five digits. They are palette images
    of 8 bits with the objects' own colours if all ids are at most 255, and greyscale images of
    16 bits otherwise. Where masks overlap, the object that comes later in the set is on top.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._masks = self.folder / LABELS
        with writing(self._masks):
            self._masks.mkdir(exist_ok=True)
        self._palette = label_palette({item.id: item.rgb for item in context.objects})

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        labels = label_map(result, self.context)
        write_labels(self._masks / label_name(result.frame_index), labels, self._palette)

    def close(self) -> None:
        """Do nothing: every image is complete once it is written."""


def label_map(result: FrameResult, context: OutputContext) -> np.ndarray:
    """Return the object id of every pixel of a frame.

    Args:
        result: the result of the frame.
        context: the objects of the run.

    Returns:
        (H, W) uint8 if all ids are at most 255, else uint16; 0 is background. Where masks
        overlap, the object that comes later in the set is on top.
    """
    wide = any(item.id > 255 for item in context.objects)
    labels = np.zeros((context.height, context.width), np.uint16 if wide else np.uint8)
    for i in context.drawing_order(result):
        np.copyto(labels, result.object_ids[i], where=result.masks[i], casting="unsafe")
    return labels
