"""An import file for CVAT."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import cv2
import numpy as np

from surgsam2.outputs.base import OutputContext, OutputWriter
from surgsam2.outputs.classes import classes_of
from surgsam2.outputs.streamed import StreamedFile
from surgsam2.results.frame_result import FrameResult


class CvatWriter(OutputWriter):
    """Writes ``annotations.cvat.xml`` in the format "CVAT for images 1.1".

    It is imported into a task that has the same frames, a video or images, and labels of these
    names. Every mask is a mask shape with all its pixels; the object id is its group.
    """

    def __init__(self, folder: Path, context: OutputContext) -> None:
        super().__init__(folder, context)
        self._classes = classes_of(context.objects)
        self._file = StreamedFile(self.folder / "annotations.cvat.xml")
        labels = {item.id: item for item in self._classes.values()}.values()
        described = "".join(
            f"<label><name>{escape(item.name)}</name><color>{item.color}</color>"
            "<type>mask</type><attributes></attributes></label>"
            for item in labels
        )
        self._file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><labels>{described}</labels></task></meta>\n"
        )

    def _write(self, frame: np.ndarray, result: FrameResult) -> None:
        index, context = result.frame_index, self.context
        name = context.frame_name(index) or f"frame_{index:06d}"
        lines = [
            f'<image id="{index}" name={quoteattr(name)} width="{context.width}" '
            f'height="{context.height}">\n'
        ]
        for order, i in enumerate(context.drawing_order(result)):
            x, y, width, height = cv2.boundingRect(result.masks[i].view(np.uint8))
            if not width:
                continue
            object_id = result.object_ids[i]
            runs = _runs(result.masks[i][y : y + height, x : x + width])
            lines.append(
                f'<mask label={quoteattr(self._classes[object_id].name)} source="auto" '
                f'occluded="0" rle="{", ".join(map(str, runs))}" left="{x}" top="{y}" '
                f'width="{width}" height="{height}" z_order="{order}" group_id="{object_id}">'
                "</mask>\n"
            )
        self._file.write("".join([*lines, "</image>\n"]))

    def close(self) -> None:
        """Complete the file and give it its final name."""
        if not self._file.closed:
            self._file.write("</annotations>\n")
            self._file.finish()


def _runs(mask: np.ndarray) -> list[int]:
    """Return the lengths of runs, row by row, of background and object in turn."""
    values = np.concatenate([[False], mask.ravel()])
    changes = np.flatnonzero(values[1:] != values[:-1])
    return [int(n) for n in np.diff(np.concatenate([[0], changes, [mask.size]]))]
