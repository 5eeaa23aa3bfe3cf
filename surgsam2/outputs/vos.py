"""A sequence in the layout of DAVIS and other video object segmentation data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.frame_images import frame_file, write_frame
from surgsam2.outputs.label_png import label_map
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.label_image import label_palette, write_labels

SEQUENCE = "video"
"""Name of the sequence's folders."""


class VosWriter(OutputWriter):
    """Writes ``vos/JPEGImages/video/00000.jpg`` and ``vos/Annotations/video/00000.png``.

    The label images are those of `LabelPngWriter`. Files are named after the source images if
    names are to be told.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        root = self.folder / "vos"
        self._frames = root / "JPEGImages" / SEQUENCE
        self._labels = root / "Annotations" / SEQUENCE
        with writing(root):
            self._frames.mkdir(parents=True, exist_ok=True)
            self._labels.mkdir(parents=True, exist_ok=True)
        self._palette = label_palette({item.id: item.rgb for item in context.objects})

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        name = frame_file(self.context, result.frame_index)
        write_frame(self._frames / f"{name}.jpg", frame)
        labels = label_map(result, self.context)
        write_labels(self._labels / f"{name}.png", labels, self._palette)

    def close(self) -> None:
        """Do nothing: every image is complete once it is written."""
